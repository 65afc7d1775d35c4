//! Qdrant's errors by class: what may work later, which a point is to blame for, and what needs a person.
//!
//! A connection that broke is told as `Unknown`, one that was refused as `Internal`, and the server says `Internal` of its own
//! troubles (a full disk, a shard that is not there): all of that passes. What it takes for wrong input it calls
//! `InvalidArgument`: of an upsert that is a point. Everything unclassified is fatal.

use qdrant_client::QdrantError;
use tidemark_sink_core::{Role, SinkError};

/// How the store is built anew.
pub(crate) const REBUILD: &str = Role::Vector.remedy();

/// Longest text of the server that is passed on.
const TEXT_CHARACTERS: usize = 400;

/// gRPC's numbers.
const CANCELLED: i32 = 1;
const UNKNOWN: i32 = 2;
const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const NOT_FOUND: i32 = 5;
const ALREADY_EXISTS: i32 = 6;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
/// The storage is locked, or a shard is not ready.
const FAILED_PRECONDITION: i32 = 9;
const ABORTED: i32 = 10;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It may work later.
    Passing,
    /// A collection is not there.
    Gone,
    /// It is there already.
    Exists,
    /// The input is wrong: of an upsert, a point.
    Data,
    /// Somebody must act.
    Fatal,
}

/// An error of the server, or of the way to it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub(crate) struct ServerError {
    pub(crate) class: Class,
    text: String,
}

impl ServerError {
    fn of_status(code: i32, message: &str) -> Self {
        let mut text = format!("{}: {}", name_of(code), shortened(message));
        if let Some(remedy) = remedy(code, message) {
            text = format!("{text}; {remedy}");
        }
        Self { class: class_of(code, message), text }
    }

    /// The same with something to try.
    pub(crate) fn with_hint(self, hint: &str) -> Self {
        Self { text: format!("{}; {hint}", self.text), ..self }
    }

    /// As the error of a step.
    pub(crate) fn during(self, step: String) -> SinkError {
        match self.class {
            Class::Passing | Class::Gone => SinkError::Unavailable { step, cause: self.into() },
            Class::Exists | Class::Data | Class::Fatal => SinkError::Fatal { step, cause: self.into() },
        }
    }
}

impl From<QdrantError> for ServerError {
    fn from(error: QdrantError) -> Self {
        match &error {
            QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
                Self::of_status(i32::from(status.code()), status.message())
            }
            QdrantError::Io(_) => Self { class: Class::Passing, text: shortened(&error.to_string()) },
            _ => Self { class: Class::Fatal, text: shortened(&error.to_string()) },
        }
    }
}

/// A fault that has no cause below it.
pub(crate) fn fatal(step: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
    SinkError::Fatal { step, cause: cause.into() }
}

/// Something that is not as it was left; a new opening looks again.
pub(crate) fn unavailable(step: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
    SinkError::Unavailable { step, cause: cause.into() }
}

fn class_of(code: i32, message: &str) -> Class {
    match code {
        _ if is_full(message) => Class::Passing,
        NOT_FOUND => Class::Gone,
        ALREADY_EXISTS => Class::Exists,
        INVALID_ARGUMENT => Class::Data,
        CANCELLED | UNKNOWN | DEADLINE_EXCEEDED | RESOURCE_EXHAUSTED | FAILED_PRECONDITION | ABORTED | INTERNAL | UNAVAILABLE => {
            Class::Passing
        }
        _ => Class::Fatal,
    }
}

/// A limit on a whole collection: nothing is wrong with the point that meets it.
fn is_full(message: &str) -> bool {
    message.contains("size limit of") || message.contains("points count limit of")
}

fn remedy(code: i32, message: &str) -> Option<&'static str> {
    match code {
        _ if is_full(message) => Some("raise that limit of the collection's strict mode; the sink waits"),
        UNAUTHENTICATED | PERMISSION_DENIED => {
            Some("correct `api_key` of the vector sink in the configuration: it must be allowed to manage collections")
        }
        UNIMPLEMENTED => Some("update the server, and name its gRPC port (6334 by default) in `url`"),
        _ => None,
    }
}

fn name_of(code: i32) -> String {
    let name = match code {
        CANCELLED => "Cancelled",
        UNKNOWN => "Unknown",
        INVALID_ARGUMENT => "InvalidArgument",
        DEADLINE_EXCEEDED => "DeadlineExceeded",
        NOT_FOUND => "NotFound",
        ALREADY_EXISTS => "AlreadyExists",
        PERMISSION_DENIED => "PermissionDenied",
        RESOURCE_EXHAUSTED => "ResourceExhausted",
        FAILED_PRECONDITION => "FailedPrecondition",
        ABORTED => "Aborted",
        UNIMPLEMENTED => "Unimplemented",
        INTERNAL => "Internal",
        UNAVAILABLE => "Unavailable",
        UNAUTHENTICATED => "Unauthenticated",
        other => return format!("code {other}"),
    };
    name.to_owned()
}

/// On one line, and not for ever.
fn shortened(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(TEXT_CHARACTERS) {
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{Class, ServerError};

    #[test]
    fn codes_have_their_classes() {
        let table = [
            (1, "Cancelled", Class::Passing),
            (2, "transport error", Class::Passing),
            (3, "Wrong input: Vector dimension error: expected dim: 4, got 3", Class::Data),
            (4, "Timeout expired", Class::Passing),
            (5, "Not found: Collection `x` doesn't exist!", Class::Gone),
            (6, "Wrong input: Collection `x` already exists!", Class::Exists),
            (7, "Forbidden: Write access to collection x is required", Class::Fatal),
            (8, "Rate limiting exceeded: retry later", Class::Passing),
            (9, "Storage is locked", Class::Passing),
            (10, "", Class::Passing),
            (11, "", Class::Fatal),
            (12, "", Class::Fatal),
            (13, "Failed to connect to http://127.0.0.1:1/", Class::Passing),
            (14, "", Class::Passing),
            (15, "", Class::Fatal),
            (16, "Must provide an API key or an Authorization bearer token", Class::Fatal),
            (3, "Bad request: Max vector storage size limit of 1MB reached!. Help: Raise it.", Class::Passing),
            (7, "Forbidden: Max payload storage size limit of 1MB reached!", Class::Passing),
            (3, "Bad request: Max points count limit of 10 reached!", Class::Passing),
        ];
        for (code, message, class) in table {
            assert_eq!(ServerError::of_status(code, message).class, class, "{code} {message}");
        }
    }

    #[test]
    fn what_a_person_must_do_is_said() {
        let denied = ServerError::of_status(16, "Must provide an API key").to_string();
        assert!(denied.contains("Unauthenticated: Must provide an API key; correct `api_key`"), "{denied}");
        let full = ServerError::of_status(3, "Max vector storage size limit of 1MB reached!").to_string();
        assert!(full.contains("strict mode"), "{full}");
        let long = ServerError::of_status(13, &"很".repeat(1000)).to_string();
        assert!(long.chars().count() < 430, "{long}");
    }
}
