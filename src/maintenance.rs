//! What is done now and then while the fold runs: the log's compaction and retention.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidemark_log::embedded::EmbeddedLog;
use tokio_util::sync::CancellationToken;

/// Runs until shutdown. A round that fails is reported and tried again at the next one: nothing depends on it at once.
pub(crate) async fn run(log: Arc<EmbeddedLog>, interval: Duration, shutdown: CancellationToken) -> Result<()> {
    let mut rounds = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        match log.maintain().await {
            Ok(removed) => tracing::debug!(compacted = removed.compacted, expired = removed.expired, "maintained the log"),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(error, "maintaining the log failed and is tried again later");
            }
        }
    }
}
