//! Exit statuses, and the errors that lead to each.

use std::process::ExitCode;

use tidemark_log::LogError;
use tidemark_replay::ReplayError;
use tidemark_sink_core::SinkError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; also when records were rejected by `up`.
    Done,
    /// Wrong usage or configuration.
    Usage,
    /// A part stayed unavailable.
    Unavailable,
    /// `import` or `check` found something rejected or wrong.
    Findings,
    /// A signal came before a command that ends by itself was done; as shells report an interrupted program.
    Interrupted,
}

/// Exit status of what was interrupted; also after a second signal.
pub(crate) const INTERRUPTED: u8 = 130;

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Usage => 2,
            Exit::Unavailable => 3,
            Exit::Findings => 4,
            Exit::Interrupted => INTERRUPTED,
        })
    }
}

/// An error that is the caller's: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// A part stayed unavailable for the time allowed: exit status 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UnavailableError(pub(crate) String);

/// The status of an error; anything that is not known better is a fault.
pub(crate) fn status_of(error: &anyhow::Error) -> ExitCode {
    if error.is::<UsageError>() || error.is::<crate::configuration::Problems>() {
        return Exit::Usage.into();
    }
    let unavailable = error.is::<UnavailableError>()
        || error.chain().any(|cause| {
            matches!(cause.downcast_ref(), Some(LogError::Unavailable { .. }))
                || matches!(cause.downcast_ref(), Some(SinkError::Unavailable { .. }))
                || matches!(
                    cause.downcast_ref(),
                    Some(ReplayError::Log(LogError::Unavailable { .. }) | ReplayError::Store(SinkError::Unavailable { .. }))
                )
        });
    if unavailable { Exit::Unavailable.into() } else { ExitCode::from(1) }
}
