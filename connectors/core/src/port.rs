//! The connector port: one source, driven by the engine step by step.
//!
//! The engine calls `open` once, then `step` until it says `Idle`, then `wait`. It retries `Unavailable` with back-off and
//! reopens after a fatal error. A connector never sleeps to retry; `wait` is the only place where it waits, for its source.

use async_trait::async_trait;
use tidemark_log::LogError;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was done; call again at once.
    Progress,
    /// Nothing to do at the moment, and everything that was taken in is decided.
    Quiet,
    /// Nothing to do at the moment, but something is under way (a young file, receipts not there yet): not quiet.
    Waiting,
}

/// Why a step failed. What it had made durable stays.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// It may work later.
    #[error("{step}")]
    Unavailable {
        /// What was tried, with its subject.
        step: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer instance of this source has taken over.
    #[error("another process runs the source `{0}`")]
    Fenced(String),
    /// Somebody must act; the text names the remedy.
    #[error("{0}")]
    Fatal(String),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Counts since the connector was opened, for status lines and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectorCounts {
    /// Records read from the source.
    pub read: u64,
    /// Changes published.
    pub published: u64,
    /// Records rejected by the connector itself.
    pub rejected: u64,
}

/// A source.
#[async_trait]
pub trait Connector: Send + 'static {
    /// Source name: `file`.
    fn source(&self) -> &str;

    /// Takes a new epoch, finds open claims, gets ready. Idempotent; called again after every failure.
    async fn open(&mut self) -> Result<(), ConnectorError>;

    /// Does one bounded piece of work (one batch, one settlement, one scan).
    async fn step(&mut self) -> Result<Step, ConnectorError>;

    /// Returns when there may be something to do. Cancel-safe.
    async fn wait(&mut self);

    /// Counts since `open`.
    fn counts(&self) -> ConnectorCounts;
}
