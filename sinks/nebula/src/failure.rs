//! NebulaGraph's errors by class.
//!
//! The server gives nearly every fault of its storage the same number, so the message alone tells what it is: the fragments
//! below are those of its source, the same that its own import tools look for. What may pass by itself is unavailable (also a
//! schema that was made just now and has not spread yet: a new opening would make it if it were missing); what is wrong with one
//! row is refused; what is wrong with a statement is a bug of ours; the rest needs a person.

use tidemark_sink_core::{Role, SinkError};

use crate::client::ClientError;

/// How the store is built anew.
pub(crate) const REBUILD: &str = Role::Graph.remedy();

const SYNTAX: i32 = -1004;
const PERMISSION: i32 = -1008;
const TOO_MANY_CONNECTIONS: i32 = -1010;
const CLIENT_VERSION: i32 = -3061;
const SESSION_LOST: [i32; 2] = [-1002, -1003];

/// Passes by itself: leaders move, schemas spread, locks are let go, memory and disks are given room.
const PASSING: [&str; 26] = [
    "not the leader",
    "leader has changed",
    "leader changed",
    "retry later",
    "rpc failure",
    "request to storage failed",
    "more than one request trying to",
    "atomic operation failed",
    "no schema found",
    "tag not found",
    "edge not found",
    "tagnotfound",
    "edgenotfound",
    "space not found",
    "spacenotfound",
    "space was not chosen",
    "unknown column",
    "not existed",
    // A storaged that has not heard of the space yet says so of every row.
    "invalid space vid len",
    "prop not found",
    "not found in space",
    // The store was emptied: a new opening makes its records anew.
    "vertex or edge not found",
    "memoryexceeded",
    "write wal failed",
    "host not enough",
    "conflict",
];

/// Wrong with a value of a row.
const POISON: [&str; 7] = [
    "the vid must be",
    "data type does not meet",
    "invalid field value",
    "not null field",
    "out of range",
    "could not be null",
    "wrong value type",
];

/// What can be done about an answer of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Try again later.
    Passing,
    /// A row is at fault.
    Poison,
    /// The statement is at fault.
    Bug,
    /// The user may not do it.
    Permission,
    /// Nothing is known about it.
    Other,
}

/// The class of an answer.
pub(crate) fn class_of(code: i32, message: &str) -> Class {
    let message = message.to_lowercase();
    let has = |fragments: &[&str]| fragments.iter().any(|fragment| message.contains(fragment));
    match code {
        SYNTAX => Class::Bug,
        PERMISSION => Class::Permission,
        TOO_MANY_CONNECTIONS => Class::Passing,
        code if SESSION_LOST.contains(&code) => Class::Passing,
        _ if has(&POISON) => Class::Poison,
        _ if has(&PASSING) => Class::Passing,
        _ => Class::Other,
    }
}

/// The error of a step, by class. A step that writes rows takes the poison out first.
pub(crate) fn classify(error: ClientError, step: &str) -> SinkError {
    let (code, message) = match &error {
        ClientError::Unreachable(_) | ClientError::Broken { .. } => {
            return SinkError::Unavailable { step: step.to_owned(), cause: error.into() };
        }
        ClientError::Login { .. } => {
            let step = format!("{step}: correct `user` and `password` of the graph store in the configuration");
            return SinkError::Fatal { step, cause: error.into() };
        }
        ClientError::Server { code, message } => (*code, message.as_str()),
    };
    let step = match class_of(code, message) {
        Class::Passing => return SinkError::Unavailable { step: step.to_owned(), cause: error.into() },
        Class::Permission => format!("{step}: grant the user the role ADMIN on the space (`GRANT ROLE ADMIN ON … TO …`)"),
        Class::Bug => format!("{step}: NebulaGraph does not understand a statement of tidemark; report this as a bug"),
        Class::Other if code == CLIENT_VERSION => {
            format!("{step}: the server does not take clients of 3.x; run NebulaGraph 3.x")
        }
        Class::Poison | Class::Other => step.to_owned(),
    };
    SinkError::Fatal { step, cause: error.into() }
}

/// A fault that has no cause below it.
pub(crate) fn fatal(step: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
    SinkError::Fatal { step, cause: cause.into() }
}

/// Something that is not as it was left; a new opening looks again.
pub(crate) fn unavailable(step: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
    SinkError::Unavailable { step: step.to_owned(), cause: cause.into() }
}

#[cfg(test)]
mod tests {
    use super::{Class, class_of};

    #[test]
    fn messages_have_their_class() {
        let table = [
            (-1005, "Storage Error: Not the leader of 3. Please retry later.", Class::Passing),
            (-1005, "Storage Error: The leader has changed. Try again later", Class::Passing),
            (-1005, "Storage Error: RPC failure, probably timeout.", Class::Passing),
            (
                -1005,
                "Storage Error: More than one request trying to add/update/delete one edge/vertex at the same time.",
                Class::Passing,
            ),
            (-1005, "Storage Error: Atomic operation failed.", Class::Passing),
            (-1009, "SemanticError: No schema found for `customer'", Class::Passing),
            (-1005, "Storage Error: Tag not found.", Class::Passing),
            (-1005, "SpaceNotFound: ", Class::Passing),
            (
                -1005,
                "Storage Error: The VID must be a 64-bit integer or a string fitting space vertex id length limit.",
                Class::Poison,
            ),
            (-1005, "Storage Error: The data type does not meet the requirements. Use the correct type of data.", Class::Poison),
            (-1005, "Storage Error: The not null field cannot be null.", Class::Poison),
            (-1005, "Storage Error: Out of range value.", Class::Poison),
            (-2600, "GraphMemoryExceeded: (-2600)", Class::Passing),
            (-1004, "SyntaxError: syntax error near `x'", Class::Bug),
            (-1008, "PermissionError: No permission to write data.", Class::Permission),
            (-1010, "Too many connections", Class::Passing),
            (-1002, "Session not existed", Class::Passing),
            (-1005, "Storage Error: part: 3, error: E_UNKNOWN", Class::Other),
        ];
        for (code, message, class) in table {
            assert_eq!(class_of(code, message), class, "{message}");
        }
    }
}
