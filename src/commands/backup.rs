//! `backup DIR`, `restore DIR`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tidemark_log::{LogIdentity, embedded};
use tidemark_sink_core::report::grouped;

use crate::arguments::Common;
use crate::commands::print_line;
use crate::configuration::stores::LogPlace;
use crate::exit::{Exit, UsageError};
use crate::locks::{self, Attempt};
use crate::workplace::Workplace;
use crate::{missing_log, stages};

/// Runs `backup`, beside whatever else runs.
pub(crate) async fn backup(common: &Common, directory: &Path) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    embedded_file(&workplace)?;
    let log = workplace.open_existing_log().await?.embedded.expect("what has a file is the embedded log");
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

/// The file of the embedded log; Kafka has its own ways.
fn embedded_file(workplace: &Workplace) -> Result<&Path> {
    match &workplace.configuration.log.place {
        LogPlace::Embedded(path) => Ok(path),
        LogPlace::Kafka(_) => {
            Err(UsageError("only the embedded log is a file to copy; on Kafka use its replicas and mirrors".to_owned()).into())
        }
    }
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
    let target = embedded_file(&workplace)?;
    let cache = workplace.data.join(stages::CACHE_FOLDER);
    // It must rise above every log that something here was filled from, or that would take an older one for the one that it knows:
    // a store that is switched off too, for it may be switched on again. One that cannot be read must be filled anew anyway.
    let seen: Vec<LogIdentity> = missing_log::filled(&workplace).await?.into_iter().map(|(_, log)| log).collect();
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
