//! Failures as the engine sees them: what went wrong in words, and by which class it is retried.
//!
//! Adapters have classified their errors already; here the classes of all ports become one. What is in no class is fatal.

use tidemark_connector_core::ConnectorError;
use tidemark_log::LogError;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::report::told;

use crate::fold::cache::CacheError;

/// How a failure is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It may work later: soon, then less often.
    Unavailable,
    /// A fault: the stage is started anew, less and less often.
    Fatal,
    /// Only a person can mend it: looked at again now and then.
    Operator,
    /// Another process has taken over: this one must not go on.
    Superseded,
}

/// Why a stage could not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// For a person: the causes in one line, with the remedy.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(class: Class, text: String) -> Self {
        Self { class, text }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let class = match &error {
            LogError::Unavailable { .. } => Class::Unavailable,
            LogError::Stale { .. } => Class::Superseded,
            LogError::Damaged(_) | LogError::Settings(_) => Class::Operator,
            LogError::NoSuchTopic(_) | LogError::Fatal { .. } => Class::Fatal,
        };
        Self::new(class, told(&error))
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        let class = match error {
            SinkError::Log(error) => return error.into(),
            SinkError::Unavailable { .. } => Class::Unavailable,
            SinkError::Stale(_) => Class::Superseded,
            SinkError::ForeignLog(_) => Class::Operator,
            SinkError::Rejected(_) | SinkError::Fatal { .. } => Class::Fatal,
        };
        Self::new(class, told(&error))
    }
}

impl From<ConnectorError> for Failure {
    fn from(error: ConnectorError) -> Self {
        let class = match error {
            ConnectorError::Log(error) => return error.into(),
            ConnectorError::Unavailable { .. } => Class::Unavailable,
            ConnectorError::Fenced(_) => Class::Superseded,
            ConnectorError::Fatal(_) => Class::Fatal,
        };
        Self::new(class, told(&error))
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::new(Class::Unavailable, told(&error))
    }
}
