//! Why one record is rejected: a short stable code for machines and counters, and a sentence for a person.

/// A record's problem. The reasons that there are:
///
/// | reason | when |
/// |---|---|
/// | `record_too_large`, `text_too_long`, `nul_character`, `bad_text` | bounds and contents of texts |
/// | `not_an_object`, `duplicate_field`, `bad_object`, `bad_list` | the shape of the record |
/// | `missing_key`, `malformed_key`, `key_change` | the key |
/// | `no_institution`, `institution_mismatch` | which institution it belongs to |
/// | `bad_date`, `bad_time`, `bad_number`, `bad_amount`, `bad_boolean`, `bad_code`, `out_of_range` | one value |
/// | `contradiction` | two names of one field disagree |
/// | `missing_field`, `required_null`, `no_field` | fields that must be there |
/// | `amount_mismatch`, `incomplete_line` | the arithmetic of an order |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable code.
    pub reason: &'static str,
    /// For a person: the field's path and, where it is not personal, the value.
    pub detail: String,
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// A rejected record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its key, where it has one that can be read.
    pub key: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// Longest value that is quoted in a sentence.
const QUOTE_CHARACTERS_MAX: usize = 60;

/// A value as quoted in a sentence: cut, and left out when it is personal.
pub(crate) fn quote(raw: &str, personal: Personal) -> String {
    if personal == Personal::Yes {
        return "the value".to_owned();
    }
    match raw.char_indices().nth(QUOTE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &raw[..end]),
        None => raw.to_owned(),
    }
}

/// Whether a value is personal data, which is never quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Personal {
    /// Never quoted.
    Yes,
    /// May be quoted.
    No,
}
