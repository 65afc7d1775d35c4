//! What is done now and then while the fold runs: the log's compaction and retention, and the end of closed dead letters.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use tidemark_log::Topics;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_pipelines::dead_letters;
use tokio_util::sync::CancellationToken;

/// Dead letters that one round removes at most: more cost memory (their ids are held meanwhile), fewer let a flood of them last for
/// more rounds.
const FORGOTTEN_MAX: usize = 10_000;

/// What is kept how long, and how often that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Upkeep {
    /// Between two rounds.
    pub(crate) interval: Duration,
    /// How long a closed dead letter is kept; `None` = for ever.
    pub(crate) dead_letters_kept: Option<Duration>,
}

/// Runs until shutdown, which cuts a round short: each of its removals is whole. A round that fails is reported and tried again at the
/// next one: nothing depends on it at once.
pub(crate) async fn run(log: Arc<EmbeddedLog>, topics: Topics, upkeep: Upkeep, shutdown: CancellationToken) -> Result<()> {
    let mut rounds = tokio::time::interval_at(tokio::time::Instant::now() + upkeep.interval, upkeep.interval);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let done = tokio::select! {
            done = round(&log, &topics, &upkeep) => done,
            () = shutdown.cancelled() => return Ok(()),
        };
        if let Err(error) = done {
            let error = format!("{error:#}");
            tracing::warn!(error, "maintaining the log failed and is tried again later");
        }
    }
}

async fn round(log: &EmbeddedLog, topics: &Topics, upkeep: &Upkeep) -> Result<()> {
    let removed = log.maintain().await?;
    let mut forgotten = 0;
    if let Some(kept) = upkeep.dead_letters_kept {
        let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::now().as_microsecond().saturating_sub(kept);
        let past = dead_letters::closed_before(log, topics, before, FORGOTTEN_MAX).await;
        let past = past.context("looking for closed dead letters")?;
        forgotten = log.forget(&topics.dead_letters, 0, &past).await?;
    }
    tracing::debug!(compacted = removed.compacted, expired = removed.expired, forgotten, "maintained the log");
    Ok(())
}
