//! `log copy --from embedded --to kafka`: the data folder's log moves to Kafka.
//!
//! Holds the locks of all stages meanwhile. The embedded log is only read, so a copy can be given up at any moment; the log on Kafka
//! opens to others when it is whole. It has the id of the embedded one under a raised generation: whoever has seen the old one (the
//! stores, the fold's cache) notices.

use anyhow::{Context, Result, bail};
use serde_json::json;
use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::kafka::CopyTarget;
use tidemark_log::{Log, LogIdentity};
use tidemark_sink_core::report::grouped;

use crate::arguments::{Common, LogCopy, LogKind};
use crate::commands::print_line;
use crate::configuration::stores::LogPlace;
use crate::copy::Copying;
use crate::exit::{Exit, UsageError};
use crate::meter::Meter;
use crate::missing_log;
use crate::signals::Signals;
use crate::stages::{self, Claims};
use crate::view::View;
use crate::workplace::{Workplace, partitions_of};

/// What was done.
struct Done {
    identity: LogIdentity,
    /// Records that this run has copied; `None` = the copy had been finished before.
    records: Option<u64>,
}

/// Runs it.
pub(crate) async fn run(common: &Common, command: &LogCopy, view: &View) -> Result<Exit> {
    if (command.from, command.to) != (LogKind::Embedded, LogKind::Kafka) {
        return Err(UsageError("a log is copied from `embedded` to `kafka` only".to_owned()).into());
    }
    let workplace = Workplace::load(common)?;
    if let Some(problem) = workplace.configuration.log.kafka.problems().first() {
        return Err(UsageError(format!("log.properties: {problem}")).into());
    }
    let path = &workplace.configuration.log.path;
    if !path.exists() {
        bail!("there is no log at {} to copy; `--data` names another folder", path.display());
    }
    let mut signals = Signals::catch()?;
    let _claims = Claims::take(&workplace, &stages::NAMES)?.all_or_error()?;
    let done = tokio::select! {
        () = signals.next() => None,
        done = copy(&workplace, view) => Some(done?),
    };
    let Some(done) = done else {
        view.say("interrupted: the same command goes on with it; until then nothing else opens the log on Kafka");
        return Ok(Exit::Interrupted);
    };
    let Done { identity, records } = done;
    if command.json {
        let (log, generation, finished_before) = (identity.id, identity.generation, records.is_none());
        let line =
            json!({"log": log, "generation": generation, "records": records.unwrap_or(0), "finished_before": finished_before});
        print_line(&line.to_string())?;
    } else {
        say(&workplace, &done)?;
    }
    Ok(Exit::Done)
}

/// A copy has the partitions of its source; what is configured must open it afterwards.
async fn expect_partitions(source: &EmbeddedLog, workplace: &Workplace) -> Result<()> {
    let wanted = workplace.configuration.log.partitions;
    let topics = source.topics().await?;
    for entity in workplace.catalog.entities() {
        let there = partitions_of(&topics, &workplace.topics.changes(&entity.name));
        if there != 0 && there != wanted {
            bail!("the log has {there} partitions, and a copy keeps them: set log.partitions = {there} instead of {wanted}");
        }
    }
    Ok(())
}

async fn copy(workplace: &Workplace, view: &View) -> Result<Done> {
    let settings = &workplace.configuration.log;
    let opening = || format!("opening the log {}", settings.path.display());
    let source = EmbeddedLog::open_existing(EmbeddedOptions::new(&settings.path)).await.with_context(opening)?;
    expect_partitions(&source, workplace).await?;
    // Above all that a store was filled from, or it would take what it has for what the copy holds.
    let seen: Vec<LogIdentity> = missing_log::filled(workplace).await?.into_iter().map(|(_, log)| log).collect();
    let identity =
        source.identity().raised_above(&seen).context("the log was moved and restored so often that its versions are used up")?;
    let place = LogPlace::Kafka(settings.kafka.clone());
    let target = CopyTarget::open(settings.kafka.clone(), identity).await.with_context(|| format!("opening the log {place}"))?;
    let copying = Copying::new(&source, &target, &workplace.topics).await?;
    let source_end = copying.source_end();
    if let Some(finished) = target.finished() {
        if finished != source_end {
            bail!(
                "the copy {place} was finished, but {} has been written to since (offsets up to {} then, {} now): what came in since \
                 is in the file alone. Go on with `log.kind = \"kafka\"` and drop those files again from processed/; or, if nothing has \
                 run on Kafka yet, take the copy's topics away (kafka-topics.sh --delete) and copy anew",
                settings.path.display(),
                grouped(finished),
                grouped(source_end),
            );
        }
        return Ok(Done { identity: target.log().identity(), records: None });
    }
    let mut meter = Meter::new(view, "log copy", "offsets");
    let copied = copying
        .run(&workplace.catalog, &mut meter)
        .await
        .with_context(|| format!("copying {} to the log {place}", settings.path.display()))?;
    let identity = target.finish(&copied.specs, source_end).await.context("finishing the copy")?;
    Ok(Done { identity, records: Some(copied.records) })
}

fn say(workplace: &Workplace, done: &Done) -> Result<()> {
    let settings = &workplace.configuration.log;
    let (place, LogIdentity { id, generation }) = (LogPlace::Kafka(settings.kafka.clone()), done.identity);
    print_line(&match done.records {
        Some(records) => {
            format!("the log {place} is {id} of generation {generation}: copied, {} records in this run", grouped(records))
        }
        None => format!("the log {place} is {id} of generation {generation}: the copy was finished before, nothing was changed"),
    })?;
    print_line(&format!(
        "next: set `log.kind = \"kafka\"` (TIDEMARK__LOG__KIND), then `tidemark init --force-rebuild` empties the stores, which were \
         filled from the log in the file, and `tidemark up` fills them from Kafka; {} is not written to any more: keep it until then",
        settings.path.display()
    ))
}
