//! Raw JSON scalars to cells: numbers from their text, dates, time stamps, booleans.
//!
//! Guarantees: exact or refused, never rounded; nothing passes through a float. Pure. What a field makes of the result
//! (ranges, vocabularies, formats) is in [`crate::forms`].

pub(crate) mod number;
pub(crate) mod time;

/// A raw value as boolean: JSON's own, 1 and 0, and the words that clinics use.
pub(crate) fn boolean(raw: &str) -> Option<bool> {
    let word = match raw {
        "true" | "1" => return Some(true),
        "false" | "0" => return Some(false),
        _ => crate::fields::text(raw)?,
    };
    match word.trim().to_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "是" | "新" | "新客" => Some(true),
        "false" | "0" | "no" | "n" | "否" | "老" | "老客" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::boolean;

    #[test]
    fn booleans_in_their_spellings() {
        for raw in ["true", "1", "\"TRUE\"", "\"是\"", "\"新客\"", "\"Y\""] {
            assert_eq!(boolean(raw), Some(true), "{raw}");
        }
        for raw in ["false", "0", "\"no\"", "\"老客\""] {
            assert_eq!(boolean(raw), Some(false), "{raw}");
        }
        for raw in ["2", "\"\"", "[true]", "\"perhaps\""] {
            assert_eq!(boolean(raw), None, "{raw}");
        }
    }
}
