//! SQLite's errors by class: what may work later, and what needs a person.
//!
//! A locked file, a full disk, a disk that fails or a file that cannot be opened may be mended from outside, so the engine
//! retries. A damaged file does not heal by itself, and the store is only a projection: the remedy is always to build it anew
//! from the log. Everything unclassified is fatal.

use std::path::Path;

use tidemark_log::sqlite::ErrorClass;
use tidemark_sink_core::{Role, SinkError};

/// What stopped a job: SQLite, or something with a class already.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl Failure {
    /// Whether the disk is full.
    pub(crate) fn is_want_of_room(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }

    /// Gives the error its class and names the file.
    pub(crate) fn classify(self, role: Role, path: &Path, step: &str) -> SinkError {
        let error = match self {
            Self::Sink(error) => return error,
            Self::Sqlite(error) => error,
        };
        let file = path.display();
        match class_of(&error) {
            ErrorClass::Passing => SinkError::Unavailable { step: format!("{step} {file}"), cause: error.into() },
            ErrorClass::Damaged => SinkError::Fatal {
                step: format!("{step} {file}: the file is damaged or no SQLite file; {}", role.remedy()),
                cause: error.into(),
            },
            ErrorClass::Other => SinkError::Fatal { step: format!("{step} {file}"), cause: error.into() },
        }
    }
}

/// What can be done about an error of SQLite.
pub(crate) fn class_of(error: &rusqlite::Error) -> ErrorClass {
    error.sqlite_error().map_or(ErrorClass::Other, |error| ErrorClass::of(error.extended_code))
}

/// A fault that has no cause below it.
pub(crate) fn fatal(step: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
    SinkError::Fatal { step, cause: cause.into() }
}
