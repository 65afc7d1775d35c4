//! What is done now and then while the fold runs: the log is compacted, and what is past its retention goes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tidemark_log::embedded::EmbeddedLog;
use tokio_util::sync::CancellationToken;

use crate::workplace::Workplace;

/// Runs until shutdown. A round that fails is reported and tried again at the next one: nothing depends on it at once.
pub(crate) async fn run(workplace: Arc<Workplace>, log: Arc<EmbeddedLog>, shutdown: CancellationToken) -> Result<()> {
    let interval = workplace.configuration.maintenance_interval;
    let mut rounds = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        if let Err(error) = round(&workplace, &log).await {
            let error = format!("{error:#}");
            tracing::warn!(error, "a round of maintenance failed and is tried again later");
        }
    }
}

async fn round(workplace: &Workplace, log: &EmbeddedLog) -> Result<()> {
    let removed = log.maintain().await.context("maintaining the log")?;
    tracing::debug!(compacted = removed.compacted, expired = removed.expired, "maintained the log");
    let (file, keep) = (&workplace.configuration.file, workplace.configuration.keep_processed);
    if let (Some(file), Some(keep)) = (file, keep) {
        let processed = file.root.join("incremental").join("processed");
        let gone = tokio::task::spawn_blocking(move || remove_old_days(&processed, keep, SystemTime::now()));
        let gone = gone.await.context("clearing processed/")??;
        if gone > 0 {
            tracing::info!(days = gone, "removed old folders of processed files");
        }
    }
    Ok(())
}

/// Removes the day folders that nothing was put into for so long; says how many.
fn remove_old_days(processed: &Path, keep: Duration, now: SystemTime) -> Result<usize> {
    let days = match std::fs::read_dir(processed) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        days => days.with_context(|| format!("reading {}", processed.display()))?,
    };
    let mut gone = 0;
    for day in days {
        let path = day?.path();
        // A link is not followed: it may lead out of the tree.
        let about = std::fs::symlink_metadata(&path).with_context(|| format!("looking at {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let old = now.duration_since(about.modified()?).is_ok_and(|age| age > keep);
        if about.is_dir() && old && name.parse::<jiff::civil::Date>().is_ok() {
            std::fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
            gone += 1;
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_day_folders_go() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        for name in ["2026-01-15", "2026-01-16", "notes"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(outside.path(), root.path().join("2026-01-17")).unwrap();
        let later = SystemTime::now() + Duration::from_secs(100);
        assert_eq!(remove_old_days(root.path(), Duration::from_secs(200), later).unwrap(), 0, "none is old enough");
        assert_eq!(remove_old_days(root.path(), Duration::from_secs(50), later).unwrap(), 2);
        assert!(root.path().join("notes").exists() && root.path().join("2026-01-17").exists() && outside.path().exists());
        assert_eq!(remove_old_days(&root.path().join("nowhere"), Duration::ZERO, later).unwrap(), 0);
    }
}
