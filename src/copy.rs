//! What of a log goes into its copy on Kafka, and in which order.
//!
//! Guarantees: changes keep their offsets, so the fold's positions, its high-water marks and its dead letters mean there what they
//! meant here. Compacted topics close their gaps; what names an offset of one of them is translated or left out ([`record`]). A
//! partition that holds records already must hold the beginning of what is copied into it, and is gone on with behind them.
//! Relies on: a source that nobody writes to meanwhile, which is looked at once more at the end.
//! On failure: what was copied stays, and the next run goes on.

mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::kafka::CopyTarget;
use tidemark_log::{Append, ConsumerPosition, Log, ReadLimit, RecordRef, Retention, TopicSpec, Topics, crash};
use tidemark_pipelines::engine::schemas;
use tidemark_schemas::Catalog;

use crate::meter::Meter;
use crate::stages;
use record::{Kind, Receipts};

/// What is read, sent and acknowledged at once: larger gains nothing, smaller waits for the brokers more often.
const LIMIT: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 4 << 20 };

/// A copy under way.
pub(crate) struct Copying<'c> {
    source: &'c EmbeddedLog,
    target: &'c CopyTarget,
    topics: &'c Topics,
    parts: Vec<Part>,
}

/// One topic of the source.
struct Part {
    name: Arc<str>,
    kind: Kind,
    /// By partition: where it begins and ends.
    bounds: Vec<tidemark_log::Bounds>,
}

/// What a finished run has done.
pub(crate) struct Copied {
    /// The topics of the copy.
    pub(crate) specs: Vec<TopicSpec>,
    /// Records that this run has copied.
    pub(crate) records: u64,
}

/// How far a run is.
struct Progress<'m> {
    meter: &'m mut Meter,
    passed: u64,
    total: u64,
    records: u64,
    receipts: Receipts,
}

impl<'c> Copying<'c> {
    /// Looks what there is to copy.
    pub(crate) async fn new(source: &'c EmbeddedLog, target: &'c CopyTarget, topics: &'c Topics) -> Result<Self> {
        let mut parts = Vec::new();
        for (name, partitions) in source.topics().await? {
            let kind = Kind::of(&name, topics).with_context(|| {
                format!("the log holds the topic {name}, which is none of this program's under `log.prefix`; set the prefix that it was written with")
            })?;
            let mut bounds = Vec::new();
            for partition in 0..partitions {
                bounds.push(source.bounds(&name, partition).await?);
            }
            parts.push(Part { name: name.into(), kind, bounds });
        }
        // Receipts before the progress that speaks of their offsets; otherwise any order does.
        parts.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
        Ok(Self { source, target, topics, parts })
    }

    /// Where the source ends, summed over its partitions: it rises with every record.
    pub(crate) fn source_end(&self) -> u64 {
        self.parts.iter().flat_map(|part| &part.bounds).map(|bounds| bounds.end).sum()
    }

    /// Copies everything.
    pub(crate) async fn run(&self, catalog: &Catalog, meter: &mut Meter) -> Result<Copied> {
        let specs: Vec<TopicSpec> = self.parts.iter().map(Part::spec).collect();
        self.target.prepare(&specs).await?;
        schemas::declare_all(self.source, self.target.log(), self.topics, catalog).await?;
        let total = self.parts.iter().flat_map(|part| &part.bounds).map(|bounds| bounds.end - bounds.start).sum();
        let mut progress = Progress { meter, passed: 0, total, records: 0, receipts: Receipts::default() };
        for part in &self.parts {
            for number in 0..part.partitions() {
                self.copy_partition(part, number, &mut progress).await?;
            }
        }
        self.move_positions().await?;
        for part in &self.parts {
            for (number, bounds) in (0..).zip(&part.bounds) {
                if self.source.bounds(&part.name, number).await? != *bounds {
                    bail!("{} was written to while the log was copied; run the command again", part.name);
                }
            }
        }
        Ok(Copied { specs, records: progress.records })
    }

    async fn copy_partition(&self, part: &Part, number: u32, progress: &mut Progress<'_>) -> Result<()> {
        let bounds = part.bounds[number as usize];
        let there = self.target.log().bounds(&part.name, number).await?.end;
        // Of the source's records that are copied, the index of the next one: its offset there.
        let (mut index, mut offset) = (0, bounds.start);
        if part.kind == Kind::Changes {
            if bounds.start > 0 {
                bail!(
                    "the first {} changes of {}/{number} are gone; a log without them cannot be copied",
                    bounds.start,
                    part.name
                );
            }
            // What is there need not be counted; its last record is compared.
            offset = there.saturating_sub(1);
            index = offset;
        }
        let passed_before = progress.passed;
        loop {
            let batch = self.source.read(&part.name, number, offset, LIMIT).await?;
            let Some(next) = batch.next_offset() else { break };
            let (mut append, mut times, first) = (Append::default(), Vec::new(), index.max(there));
            for record in batch.iter() {
                if part.kind == Kind::Changes && record.offset != index {
                    bail!("{}/{number} has no change at offset {index}; `tidemark check --deep` says what is damaged", part.name);
                }
                let Some(value) = part.kind.copied(record, &mut progress.receipts) else { continue };
                if index >= there {
                    append.record(&part.name, number, record.key, |out| out.extend_from_slice(&value));
                    times.push(record.timestamp);
                } else if index + 1 == there {
                    self.expect_there(part, number, index, RecordRef { value: &value, ..record }).await?;
                }
                index += 1;
            }
            if !times.is_empty() {
                progress.records += times.len() as u64;
                self.target.put(append, times, first).await?;
                crash::point("log-copy.after-batch");
            }
            offset = next;
            progress.stands_at(passed_before + next - bounds.start);
        }
        if index < there {
            return Err(self.target.not_of_the_copy(&part.name, number).into());
        }
        progress.stands_at(passed_before + bounds.end - bounds.start);
        Ok(())
    }

    /// Refuses a partition whose last record is not the one that was copied there.
    async fn expect_there(&self, part: &Part, number: u32, offset: u64, expected: RecordRef<'_>) -> Result<()> {
        let found = self.target.log().read(&part.name, number, offset, ReadLimit { records_max: 1, bytes_max: 1 }).await?;
        let same = |found: RecordRef<'_>| {
            // Kafka counts milliseconds.
            let times = [found.timestamp, expected.timestamp].map(|time| time.div_euclid(1000));
            (found.offset, found.key, found.value, times[0]) == (offset, expected.key, expected.value, times[1])
        };
        match found.iter().next() {
            Some(found) if same(found) => Ok(()),
            _ => Err(self.target.not_of_the_copy(&part.name, number).into()),
        }
    }

    /// The fold goes on there where it stands here.
    async fn move_positions(&self) -> Result<()> {
        let log = self.target.log();
        let there = log.positions(stages::FOLD).await?;
        let mut appends: BTreeMap<u32, Append> = BTreeMap::new();
        for (topic, partition, next) in self.source.positions(stages::FOLD).await? {
            let stands = there.iter().find(|(other, number, _)| *other == topic && *number == partition);
            let from = stands.map_or(0, |(_, _, next)| *next);
            if from != next {
                let consumer = stages::FOLD.to_owned();
                appends.entry(partition).or_default().position(ConsumerPosition { consumer, topic, partition, from, next });
            }
        }
        for append in appends.into_values() {
            log.append(append).await?;
        }
        Ok(())
    }
}

impl Part {
    fn partitions(&self) -> u32 {
        u32::try_from(self.bounds.len()).unwrap_or(u32::MAX)
    }

    fn spec(&self) -> TopicSpec {
        let retention = if self.kind == Kind::Changes { Retention::Keep } else { Retention::Compact };
        TopicSpec { name: self.name.to_string(), partitions: self.partitions(), retention }
    }
}

impl Progress<'_> {
    fn stands_at(&mut self, passed: u64) {
        self.passed = passed;
        self.meter.stands_at(passed, self.total);
    }
}
