//! What an envelope says, and whether it may: operation, time, institution.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tidemark_schemas::Operation;

use crate::convert::time;
use crate::fields;
use crate::forms;
use crate::forms::notes::Notes;

/// An envelope as read, or what stands for one where a file has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// `INSERT`, `UPDATE`, `DELETE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
    /// As it stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<String>,
    /// UTC microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) occurred_at: Option<i64>,
    /// Institution code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) institution: Option<String>,
}

impl Envelope {
    /// Takes in a field; the error fails the file.
    pub(crate) fn take(&mut self, name: &str, value: &str, zone: &TimeZone, notes: &mut Notes) -> Result<(), String> {
        let text = || fields::text(value).filter(|text| text.len() <= 1000).map(std::borrow::Cow::into_owned);
        match name {
            "operation" => {
                let given = text().map(|word| word.trim().to_uppercase());
                match given.as_deref() {
                    Some("INSERT" | "UPDATE" | "DELETE") => self.operation = given,
                    _ => return Err("`operation` of the envelope must be \"INSERT\", \"UPDATE\" or \"DELETE\"".to_owned()),
                }
            }
            "timestamp" if value != "null" => {
                let given = text().unwrap_or_default();
                let Some(moment) = time::timestamp(&given, zone) else {
                    return Err("`timestamp` of the envelope must be a time like \"2026-01-15T10:30:00\"".to_owned());
                };
                self.occurred_at = Some(moment);
                self.timestamp = Some(given);
            }
            "institution_code" if value != "null" => match text().filter(|code| !code.trim().is_empty()) {
                Some(code) => self.institution = Some(code),
                None => return Err("`institution_code` of the envelope must be a text".to_owned()),
            },
            "timestamp" | "institution_code" => {}
            name if name.starts_with('_') => {}
            name => notes.unknown_key(&format!("(envelope).{name}")),
        }
        Ok(())
    }

    /// The operation, which an envelope must name and the file's name must not contradict.
    pub(crate) fn check(&self, file: &str) -> Result<Operation, String> {
        let Some(operation) = self.parsed() else {
            return Err("the envelope names no `operation`; add \"INSERT\", \"UPDATE\" or \"DELETE\"".to_owned());
        };
        match forms::hint(file) {
            Some(hint) if hint != operation => {
                Err(format!("the file's name says {hint:?}, its envelope {operation:?}; rename the file or correct `operation`"))
            }
            _ => Ok(operation),
        }
    }

    /// The operation, if there is one.
    pub(crate) fn parsed(&self) -> Option<Operation> {
        match self.operation.as_deref()? {
            "INSERT" => Some(Operation::Insert),
            "UPDATE" => Some(Operation::Update),
            _ => Some(Operation::Delete),
        }
    }
}
