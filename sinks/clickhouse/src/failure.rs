//! ClickHouse's errors by class: what may work later, which the rows themselves are to blame for, and what needs a person.
//!
//! The client gives the server's error as text that begins with `Code: N.`; an answer without it comes from something in between.
//! The text of an error about data may quote the data, and that of a query the keys in it: of those only code and name are told.
//! Everything unclassified is fatal.

use std::time::Duration;

use clickhouse::error::Error;
use tidemark_sink_core::report::told;
use tidemark_sink_core::{Role, SinkError};

/// How the store is built anew.
pub(crate) const REBUILD: &str = Role::Analytics.remedy();

/// Longest text of the server that is passed on.
const TEXT_CHARACTERS: usize = 400;

/// Server codes that pass: too many parts, memory, time, read-only, too many queries, network, disk, replicas, keeper, cancelled.
const PASSING: [u32; 30] = [
    3, 159, 160, 164, 198, 202, 203, 209, 210, 225, 236, 241, 242, 243, 244, 252, 254, 279, 285, 286, 319, 341, 394, 415, 425,
    439, 473, 517, 999, 1000,
];
/// Server codes that speak of a row's values.
const OF_DATA: [u32; 17] = [6, 25, 26, 27, 33, 41, 53, 69, 70, 72, 117, 128, 131, 321, 349, 407, 469];
/// Thrown by a view of somebody's own that hangs on a table: it speaks of rows too.
const THROWN: u32 = 395;
const UNKNOWN_TABLE: u32 = 60;
const UNKNOWN_DATABASE: u32 = 81;
const TABLE_IS_DROPPED: u32 = 218;
const UNKNOWN_SETTING: u32 = 115;
const ACCESS_DENIED: u32 = 497;
const AUTHENTICATION: [u32; 4] = [192, 193, 194, 516];
const TOO_MANY_PARTS: u32 = 252;

/// How the TLS library says that it does not trust the server.
const UNTRUSTED: &str = "invalid peer certificate";

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It may work later.
    Passing,
    /// A table or the database is not there.
    Gone,
    /// Some row is to blame.
    Data,
    /// Somebody must act.
    Fatal,
}

/// An error of the server, or of the way to it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub(crate) struct StoreError {
    pub(crate) code: Option<u32>,
    pub(crate) class: Class,
    text: String,
}

impl StoreError {
    pub(crate) fn too_slow(limit: Duration) -> Self {
        Self { code: None, class: Class::Passing, text: format!("no answer within {} s", limit.as_secs()) }
    }

    pub(crate) fn fatal(text: String) -> Self {
        Self { code: None, class: Class::Fatal, text }
    }

    fn of_server(text: &str) -> Self {
        let Some(code) = code_of(text) else {
            let text = format!("answered without a code of ClickHouse: {}", shortened(text));
            return Self { code: None, class: Class::Passing, text };
        };
        let class = class_of(code);
        let mut text = match class {
            Class::Data => format!("Code: {code}{}", name_of(text).map_or_else(String::new, |name| format!(" ({name})"))),
            _ => shortened(text),
        };
        if let Some(remedy) = remedy(code) {
            text = format!("{text}; {remedy}");
        }
        Self { code: Some(code), class, text }
    }

    /// The same without the server's words, which may quote keys.
    pub(crate) fn without_words(self) -> Self {
        let text = self.code.map_or_else(|| self.text.clone(), |code| format!("Code: {code}"));
        Self { text, ..self }
    }

    /// Names the step and the place.
    pub(crate) fn during(self, step: &str, place: &str) -> SinkError {
        let step = format!("{step} {place}");
        match self.class {
            Class::Passing | Class::Gone => SinkError::Unavailable { step, cause: self.into() },
            Class::Data | Class::Fatal => SinkError::Fatal { step, cause: self.into() },
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            Error::BadResponse(text) => Self::of_server(&text),
            Error::Network(_) | Error::TimedOut | Error::NotEnoughData => {
                let text = told(&error);
                let remedy =
                    if text.contains(UNTRUSTED) { "; name its authority in `sinks.analytics.tls_authorities`" } else { "" };
                Self { code: None, class: Class::Passing, text: format!("{text}{remedy}") }
            }
            other => Self::fatal(shortened(&told(&other))),
        }
    }
}

/// What stopped a step: the server, or something with a class already.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl Failure {
    /// Gives the error its class and names the place.
    pub(crate) fn classify(self, step: &str, place: &str) -> SinkError {
        match self {
            Self::Sink(error) => error,
            Self::Store(error) => error.during(step, place),
        }
    }
}

/// A fault that has no cause below it.
pub(crate) fn fatal(step: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
    SinkError::Fatal { step, cause: cause.into() }
}

fn class_of(code: u32) -> Class {
    match code {
        UNKNOWN_TABLE | UNKNOWN_DATABASE | TABLE_IS_DROPPED => Class::Gone,
        THROWN => Class::Data,
        _ if PASSING.contains(&code) => Class::Passing,
        _ if OF_DATA.contains(&code) => Class::Data,
        _ => Class::Fatal,
    }
}

fn remedy(code: u32) -> Option<&'static str> {
    match code {
        TOO_MANY_PARTS => Some("the server merges more slowly than it is written to; the sink waits"),
        UNKNOWN_SETTING => Some("the server is older than tidemark needs; update it"),
        ACCESS_DENIED => {
            Some("grant the user CREATE, ALTER, DROP, SELECT and INSERT on the database, and SELECT on system tables")
        }
        _ if AUTHENTICATION.contains(&code) => Some("correct user and password of the analytics sink in the configuration"),
        _ => None,
    }
}

/// `N` of `Code: N.`
fn code_of(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The server's name of its code: the last `(LIKE_THIS)`.
fn name_of(text: &str) -> Option<&str> {
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    text.split('(').skip(1).filter_map(|rest| rest.split(')').next()).filter(is_name).last()
}

fn shortened(text: &str) -> String {
    let mut short: String =
        text.chars().take(TEXT_CHARACTERS).map(|character| if character == '\n' { ' ' } else { character }).collect();
    if text.chars().nth(TEXT_CHARACTERS).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use clickhouse::error::Error;

    use super::{Class, StoreError};

    fn of(text: &str) -> StoreError {
        StoreError::from(Error::BadResponse(text.to_owned()))
    }

    #[test]
    fn codes_have_their_classes() {
        let classes = [
            (252, Class::Passing),
            (241, Class::Passing),
            (159, Class::Passing),
            (164, Class::Passing),
            (202, Class::Passing),
            (60, Class::Gone),
            (81, Class::Gone),
            (469, Class::Data),
            (395, Class::Data),
            (497, Class::Fatal),
            (516, Class::Fatal),
            (62, Class::Fatal),
            (115, Class::Fatal),
        ];
        for (code, class) in classes {
            let error = of(&format!("Code: {code}. DB::Exception: words. (NAME_OF_IT) (version 26.9.2.1)"));
            assert_eq!((error.code, error.class), (Some(code), class), "{code}");
        }
    }

    #[test]
    fn what_is_no_answer_of_clickhouse_may_pass() {
        assert_eq!(of("502 Bad Gateway").class, Class::Passing);
        assert_eq!(StoreError::from(Error::TimedOut).class, Class::Passing);
        assert_eq!(StoreError::from(Error::Network("refused".into())).class, Class::Passing);
        assert_eq!(StoreError::from(Error::Unsupported("https".into())).class, Class::Fatal);
    }

    #[test]
    fn an_error_about_data_quotes_none() {
        let error =
            of("Code: 469. DB::Exception: Constraint `c` for table t is violated at row 2. Expression: (x). Column values: \
             person_name = '张三'. (VIOLATED_CONSTRAINT) (version 26.9.2.1)");
        assert_eq!(error.to_string(), "Code: 469 (VIOLATED_CONSTRAINT)");
        let lookup = of("Code: 62. DB::Exception: Syntax error near 'C1'. (SYNTAX_ERROR)").without_words();
        assert_eq!(lookup.to_string(), "Code: 62");
    }
}
