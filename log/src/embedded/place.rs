//! The file itself: its path, whether it is still the one that was opened, and what its errors mean.
//!
//! Every error of SQLite becomes one of the port's here: what may pass by itself is `Unavailable`, what a person must mend is
//! `Damaged` with the file and the remedy, and whatever is not known is `Fatal`.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use crate::port::LogError;
use crate::sqlite::{ErrorClass, FileIdentity};

const REMEDY: &str = "stop tidemark, move the file away and put the last backup in its place with `tidemark restore DIR`";

/// The log's file.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    identity: FileIdentity,
}

impl Place {
    /// The file that is there now.
    pub(super) fn of(path: &Path) -> Result<Self, LogError> {
        let identity = FileIdentity::of(path).map_err(|error| file_error("opening", path, error))?;
        Ok(Self { path: path.to_owned(), identity })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails when the path no longer leads to the file that was opened: appending to it would be lost work.
    pub(super) fn still_there(&self) -> Result<(), LogError> {
        if FileIdentity::of(&self.path).is_ok_and(|found| found == self.identity) {
            return Ok(());
        }
        Err(LogError::Damaged(format!(
            "{}: the log was removed or replaced by another file while in use; stop tidemark, put the right file there, start again",
            self.path.display()
        )))
    }

    /// Something in the file is not as it was written.
    pub(super) fn damaged(&self, what: impl std::fmt::Display) -> LogError {
        damaged(&self.path, what)
    }

    /// What an error of SQLite means to the caller.
    pub(super) fn classify(&self, step: impl Into<String>, error: rusqlite::Error) -> LogError {
        classify(&self.path, step, error)
    }
}

pub(super) fn damaged(path: &Path, what: impl std::fmt::Display) -> LogError {
    LogError::Damaged(format!("{}: {what}; {REMEDY}", path.display()))
}

pub(super) fn classify(path: &Path, step: impl Into<String>, error: rusqlite::Error) -> LogError {
    let step = format!("{}: {}", path.display(), step.into());
    match error.sqlite_error().map_or(ErrorClass::Other, |error| ErrorClass::of(error.extended_code)) {
        ErrorClass::Passing => LogError::Unavailable { step, cause: Box::new(error) },
        ErrorClass::Damaged => LogError::Damaged(format!("{step}: the log is damaged ({error}); {REMEDY}")),
        ErrorClass::Other => LogError::Fatal { step, cause: Box::new(error) },
    }
}

/// A file operation beside SQLite failed: it may work later.
pub(super) fn file_error(step: &str, path: &Path, error: io::Error) -> LogError {
    LogError::Unavailable { step: format!("{}: {step}", path.display()), cause: Box::new(error) }
}

/// The same error once more, for each of those whose requests shared a transaction.
pub(super) fn repeat(error: &LogError) -> LogError {
    let text = |cause: &(dyn Error + Send + Sync)| -> Box<dyn Error + Send + Sync> { cause.to_string().into() };
    match error {
        LogError::Unavailable { step, cause } => LogError::Unavailable { step: step.clone(), cause: text(cause.as_ref()) },
        LogError::Fatal { step, cause } => LogError::Fatal { step: step.clone(), cause: text(cause.as_ref()) },
        LogError::Damaged(what) => LogError::Damaged(what.clone()),
        LogError::Settings(what) => LogError::Settings(what.clone()),
        LogError::NoSuchTopic(what) => LogError::NoSuchTopic(what.clone()),
        LogError::Stale { consumer, topic, partition, expected, found } => LogError::Stale {
            consumer: consumer.clone(),
            topic: topic.clone(),
            partition: *partition,
            expected: *expected,
            found: *found,
        },
    }
}
