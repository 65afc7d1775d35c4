//! A log that another one is copied into: records with the times and, where nothing was compacted away, the offsets that they had.
//!
//! Guarantees: until [`CopyTarget::finish`] every other opening of this log refuses, since half a log is none; a copy that was broken
//! off is gone on with; a prefix that another log has is left alone. Records go out without transactions, whose ends would take
//! offsets, and each must get the offset that it is to have. Schemas that were declared before frame them.
//! Relies on: nobody else appending, which the unfinished copy itself sees to.
//! On failure: what is there stays, and the next copy goes on behind it.
//! Deliberately not here: what is copied, and how far a partition agrees with the one that it comes from. The caller knows both logs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::ANSWER;
use super::identity::{CopyRecord, Facts, Inner};
use super::topics::{self, RecordTime};
use super::{KafkaLog, KafkaOptions, Opening};
use crate::blocking::blocking;
use crate::port::{Log, LogError, LogIdentity, TopicSpec};
use crate::record::Append;
use crate::refusal::check_sizes;

/// A copy that was killed may have had records under way: with the ends unmoved for so long they have arrived or are lost. Should
/// one come later still, the offsets of what follows it give it away.
const QUIET: Duration = Duration::from_secs(3);
/// Between two looks at the ends.
const LOOK: Duration = Duration::from_millis(200);

/// The log that is copied into.
#[derive(Debug)]
pub struct CopyTarget {
    log: KafkaLog,
    finished: Option<u64>,
    begun_before: bool,
}

impl CopyTarget {
    /// Begins the copy of the log with this id, under this generation, or goes on with it under this generation at least. Refuses a
    /// prefix that holds another log.
    pub async fn open(options: KafkaOptions, identity: LogIdentity) -> Result<Self, LogError> {
        let (log, found) = KafkaLog::start(options, Opening::CopyOf(identity)).await?;
        let finished = found.record.and_then(|record| record.finished);
        Ok(Self { log, finished, begun_before: found.begun_before })
    }

    /// Where the copied log ended, summed over its partitions, when a copy of it was finished here before.
    pub fn finished(&self) -> Option<u64> {
        self.finished
    }

    /// The log as it is so far. Appending to it is for consumers' positions and schemas alone.
    pub fn log(&self) -> &KafkaLog {
        &self.log
    }

    /// Makes the topics that are missing, and lets the writer say the times of all. Nothing comes into them by another copy any more
    /// when this returns.
    pub async fn prepare(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        let there = self.log.topics().await?;
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let known: Vec<&str> = names.iter().copied().filter(|name| there.iter().any(|(topic, _)| topic == name)).collect();
        topics::keep_time(&self.log.settings, &known, RecordTime::OfWriter).await?;
        let KafkaLog { settings, broker, options, .. } = &self.log;
        topics::create(settings, broker, options.replication, RecordTime::OfWriter, specs).await?;
        if self.begun_before { self.wait_until_quiet(specs).await } else { Ok(()) }
    }

    async fn wait_until_quiet(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        let of = |spec: &TopicSpec| {
            let name: Arc<str> = spec.name.as_str().into();
            (0..spec.partitions).map(move |partition| (Arc::clone(&name), partition))
        };
        let partitions: Vec<_> = specs.iter().flat_map(of).collect();
        let started = Instant::now();
        let (mut ends, mut since) = (self.log.ends(&partitions).await?, Instant::now());
        while since.elapsed() < QUIET {
            if started.elapsed() > ANSWER {
                let step = format!("waiting until nothing is written to the topics of `{}`", self.log.options.prefix);
                return Err(LogError::Unavailable { step, cause: "another process copies into them".into() });
            }
            tokio::time::sleep(LOOK).await;
            let now = self.log.ends(&partitions).await?;
            if now != ends {
                (ends, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Appends records of one partition with their times (UTC microseconds; kept in milliseconds); the first gets the offset `next`.
    pub async fn put(&self, mut append: Append, times: Vec<i64>, next: u64) -> Result<(), LogError> {
        check_sizes(&append)?;
        self.log.frames.frame(&mut append);
        let (plain, broker, options) = (Arc::clone(&self.log.plain), Arc::clone(&self.log.broker), self.log.options.clone());
        blocking("copying records", move || {
            let offsets = plain.append(&append, &times)?;
            for ((record, offset), expected) in append.records().zip(offsets).zip(next..) {
                if offset != expected {
                    return Err(not_of_the_copy(&options, record.topic, record.partition));
                }
                broker.raise(record.topic, record.partition, offset + 1);
            }
            Ok(())
        })
        .await
    }

    /// What to say of a partition that holds what the copied log does not.
    pub fn not_of_the_copy(&self, topic: &str, partition: u32) -> LogError {
        not_of_the_copy(&self.log.options, topic, partition)
    }

    /// Opens the log to everybody: the brokers tell the time again, and the copy counts as finished. `source_end` is where the copied
    /// log ended, summed over its partitions.
    pub async fn finish(self, specs: &[TopicSpec], source_end: u64) -> Result<LogIdentity, LogError> {
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        topics::keep_time(&self.log.settings, &names, RecordTime::OfBrokers).await?;
        self.log.create_topics(specs).await?;
        let identity = self.log.identity;
        self.log.inner.put_copy(CopyRecord { log: identity.id, finished: Some(source_end) }).await?;
        Ok(identity)
    }
}

/// What an opening found of a copy.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) record: Option<CopyRecord>,
    pub(super) begun_before: bool,
}

/// The facts of a log that `wanted` is copied into, which is begun here where there is none.
pub(super) async fn look_or_begin(
    inner: &Inner,
    options: &KafkaOptions,
    wanted: LogIdentity,
) -> Result<(Facts, LogIdentity, Found), LogError> {
    let mut facts = inner.look(None).await?;
    let begun_before = facts.identity.is_some();
    if !begun_before {
        inner.begin_copy(wanted).await?;
        // somebody else may have been first
        facts = inner.look(None).await?;
    }
    let mut identity = facts.identity.ok_or_else(|| LogError::Unavailable {
        step: format!("reading {}", inner.topic()),
        cause: "the record that was just written is not there".into(),
    })?;
    let copy = facts.copy_of(wanted.id).filter(|_| identity.id == wanted.id).cloned();
    let Some(record) = copy else {
        let KafkaOptions { brokers, prefix, .. } = options;
        return Err(LogError::Settings(format!(
            "under the prefix `{prefix}` on {brokers} there is a log already ({}), which is no copy of this one; name other brokers in \
             `log.brokers`, or, if nobody needs that log, {}",
            identity.id,
            take_away(options)
        )));
    };
    if record.finished.is_none() && identity.generation < wanted.generation {
        inner.raise(wanted).await?;
        identity.generation = wanted.generation;
    }
    Ok((facts, identity, Found { record: Some(record), begun_before }))
}

/// Refuses a log that is not copied whole.
pub(super) fn refuse_unfinished(options: &KafkaOptions, facts: &Facts, identity: LogIdentity) -> Result<(), LogError> {
    if facts.copy_of(identity.id).is_none_or(|copy| copy.finished.is_some()) {
        return Ok(());
    }
    let KafkaOptions { brokers, prefix, .. } = options;
    Err(LogError::Settings(format!(
        "a copy into the log under the prefix `{prefix}` on {brokers} is not finished; run `tidemark log copy --from embedded --to \
         kafka` again, with the data folder that it comes from"
    )))
}

fn not_of_the_copy(options: &KafkaOptions, topic: &str, partition: u32) -> LogError {
    LogError::Settings(format!(
        "{topic}/{partition} on {} holds records that are not the beginning of what is copied there: somebody else has written to it, \
         or the log that is copied was used after the copy had begun. The copy must begin anew: {}",
        options.brokers,
        take_away(options)
    ))
}

fn take_away(options: &KafkaOptions) -> String {
    let KafkaOptions { brokers, prefix, .. } = options;
    let pattern = prefix.replace('.', "\\.");
    format!("take its topics away: kafka-topics.sh --bootstrap-server {brokers} --delete --topic '{pattern}\\..*'")
}
