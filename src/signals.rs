//! Ctrl-C and SIGTERM: the first one drains, a second one ends at once.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::INTERRUPTED;

/// Both signals, caught from here on.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts to catch them.
    pub(crate) fn catch() -> Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("catching SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("catching SIGTERM")?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Ends the process at the next one, whatever it is doing: all that is committed stays, nothing else counts.
    pub(crate) async fn end_at_next(&mut self) {
        self.next().await;
        std::process::exit(INTERRUPTED.into());
    }
}
