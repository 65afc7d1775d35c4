//! `backup DIR`, `restore DIR`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tidemark_log::{LogIdentity, embedded};
use tidemark_pipelines::fold::cache;

use crate::arguments::Common;
use crate::commands::print_line;
use crate::exit::Exit;
use crate::locks::{self, Attempt};
use crate::view::grouped;
use crate::workplace::Workplace;
use crate::{stages, stores};

/// Runs `backup`, beside whatever else runs.
pub(crate) async fn backup(common: &Common, directory: &Path) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let log = workplace.open_existing_log().await?;
    let backup = log.backup(directory).await.with_context(|| format!("the backup into {}", directory.display()))?;
    let records: u64 = backup.topics.iter().map(|end| end.end).sum();
    print_line(&format!(
        "{} holds log {} of generation {} with offsets up to {} in {} partitions",
        directory.display(),
        backup.log_id,
        backup.generation,
        grouped(records),
        backup.topics.len()
    ))?;
    Ok(Exit::Done)
}

/// Runs `restore`; no stage may run meanwhile.
pub(crate) async fn restore(common: &Common, directory: &Path) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    workplace.make_data_folder()?;
    let mut held = Vec::new();
    for stage in stages::NAMES {
        match locks::acquire(&workplace.data, stage)? {
            Attempt::Held(lock) => held.push(lock),
            Attempt::Taken(holder) => bail!("`{stage}` is run by {holder}; stop it first"),
        }
    }
    let target = &workplace.configuration.log.path;
    let cache = workplace.data.join(stages::CACHE_FOLDER);
    let seen = logs_seen(&workplace, &cache).await?;
    let identity = embedded::restore(directory, target, &seen).await.context("the restore")?;
    // The fold's cache belongs to the log that was there before.
    if cache.exists() {
        std::fs::remove_dir_all(&cache).with_context(|| format!("removing {}", cache.display()))?;
    }
    print_line(&format!("{} is log {} of generation {}", target.display(), identity.id, identity.generation))?;
    print_line(
        "stores that were filled before refuse it; `tidemark init --force-rebuild` empties them, so that `up` fills them anew",
    )?;
    Ok(Exit::Done)
}

/// The logs that the stores and the fold's cache were filled from: the one that is restored must rise above them, or they would
/// take an older log for the one that they know.
async fn logs_seen(workplace: &Workplace, cache: &Path) -> Result<Vec<LogIdentity>> {
    let mut seen: Vec<LogIdentity> = cache::log_of(cache).into_iter().collect();
    for role in workplace.configuration.sinks.keys() {
        match stores::sink(workplace, *role)?.filled_from().await {
            Ok(log) => seen.extend(log),
            // A store that cannot be read must be filled anew anyway, and must not stand in the way of the log.
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(store = role.name(), error, "not asked which log it has seen; empty it before `tidemark up`");
            }
        }
    }
    Ok(seen)
}
