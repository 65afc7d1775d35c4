//! The log port: what every log adapter does, small enough for Kafka and for one SQLite file.
//!
//! Relies on: one owner per consumer name (the engine's stage lock, or the consumer group).
//! On failure: an `Unavailable` error left nothing behind or its outcome is unknown to the caller, who may only repeat what is
//! idempotent; `Stale` means that another owner moved the position, and this one must stop.
//! Deliberately not here: how workers agree on their shares, which each adapter does in its own way.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use crate::membership::{Alone, Membership};
use crate::record::{Append, RecordBatch};

/// Versions are generation × 2^40 + offset + 1 and stay below 2^53, which some stores compare as doubles.
const GENERATION_MAX: u32 = (1 << 13) - 1;

/// Which log this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogIdentity {
    /// Random, made with the log.
    pub id: Uuid,
    /// Rises when the log is moved, restored or repartitioned.
    pub generation: u32,
}

impl LogIdentity {
    /// The version of the after-image made by the change at `offset`: generation × 2^40 + offset + 1.
    pub fn version(&self, offset: u64) -> u64 {
        (u64::from(self.generation) << 40) + offset + 1
    }

    /// The same log under a generation above its own and above all of it that was `seen`; `None` when no version is left above them.
    pub fn raised_above(&self, seen: &[LogIdentity]) -> Option<Self> {
        let seen = seen.iter().filter(|seen| seen.id == self.id).map(|seen| seen.generation).max();
        let used = self.generation.max(seen.unwrap_or(0));
        (used < GENERATION_MAX).then_some(Self { generation: used + 1, ..*self })
    }
}

/// How long a topic keeps its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// For ever.
    Keep,
    /// The last record of each key.
    Compact,
    /// At least this long.
    Age(Duration),
}

/// A topic to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Full name.
    pub name: String,
    /// Partition count.
    pub partitions: u32,
    /// Retention.
    pub retention: Retention,
}

/// By which schema records of a topic are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSchema {
    /// Full name.
    pub topic: Arc<str>,
    /// The schema as JSON text.
    pub schema: String,
}

/// Offsets that a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// First offset that may still be there.
    pub start: u64,
    /// Offset of the next record to be appended; on Kafka the end of what is committed.
    pub end: u64,
}

/// How much one read returns at the most; the first record is returned whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Records.
    pub records_max: usize,
    /// Bytes of keys and values.
    pub bytes_max: usize,
}

/// Where a consumer stands on one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerPosition {
    /// Stage name: `fold`.
    pub consumer: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset that it stood at before (0 for a new one): a mismatch is [`LogError::Stale`].
    pub from: u64,
    /// Offset of the next record it wants.
    pub next: u64,
}

/// Why the log did not do it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It may work later: locked, full disk, broker away.
    #[error("{step}: unavailable")]
    Unavailable {
        /// What was tried, with its subject.
        step: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another owner moved this consumer's position.
    #[error("`{consumer}` stands at {found} on {topic}/{partition}, not at {expected}: another process has taken over")]
    Stale {
        /// Consumer.
        consumer: String,
        /// Topic.
        topic: String,
        /// Partition.
        partition: u32,
        /// What the caller believed.
        expected: u64,
        /// What is stored.
        found: u64,
    },
    /// The file or record is damaged, newer than this program, or not a log; the text names the file and the remedy.
    #[error("{0}")]
    Damaged(String),
    /// Something beside the program is set otherwise than the promise needs (a topic, a schema registry); the text names it, what was
    /// found, and the remedy.
    #[error("{0}")]
    Settings(String),
    /// A topic or partition that is not there.
    #[error("no such topic or partition: {0}")]
    NoSuchTopic(String),
    /// Anything else: do not repeat.
    #[error("{step}")]
    Fatal {
        /// What was tried.
        step: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The log.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Which log this is.
    fn identity(&self) -> LogIdentity;

    /// Makes the topics that are missing; an existing one with another partition count is an error.
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError>;

    /// All topics: name and partition count.
    async fn topics(&self) -> Result<Vec<(String, u32)>, LogError>;

    /// Appends all records and moves all positions. Returns, per record, its offset. Durable when it returns. Appends of several
    /// callers may share one commit.
    ///
    /// With positions it is all or nothing; they belong to one consumer, and on Kafka to one partition number. Without positions
    /// a failure may leave some records on Kafka, of no partition a later one without the earlier ones, and of the progress topic
    /// none before all others are there: who repeats the append repeats all of it. The embedded log leaves nothing in either case.
    async fn append(&self, append: Append) -> Result<Vec<u64>, LogError>;

    /// Records from `offset` on, in order; empty at the end. Offsets may have gaps (compaction, ends of transactions), and a batch
    /// without records may still pass some: [`RecordBatch::next_offset`] is where to read on.
    async fn read(&self, topic: &str, partition: u32, offset: u64, limit: ReadLimit) -> Result<RecordBatch, LogError>;

    /// Makes later reads of this partition by this handle return everything that anybody had appended when this was called: what
    /// stands behind an append with positions that is still under way is waited for.
    async fn include_pending(&self, topic: &str, partition: u32) -> Result<(), LogError> {
        let _ = (topic, partition);
        Ok(())
    }

    /// First and next offset; the next one is behind everything that can be read now.
    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError>;

    /// The first offset whose record time is at or after `time` (UTC microseconds); the end if there is none.
    async fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError>;

    /// Stored positions of a consumer: (topic, partition, next offset). Waits for appends under way that may still move one.
    async fn positions(&self, consumer: &str) -> Result<Vec<(String, u32, u64)>, LogError>;

    /// The next offsets of several partitions, as `bounds` says them one by one.
    async fn ends(&self, partitions: &[(Arc<str>, u32)]) -> Result<Vec<u64>, LogError> {
        let mut ends = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            ends.push(self.bounds(topic, *partition).await?.end);
        }
        Ok(ends)
    }

    /// How many ordinary batches one append with positions should hold while there is more to do: above 1 where a commit takes a
    /// time of its own, whatever is in it.
    fn batches_per_commit(&self) -> usize {
        1
    }

    /// Changes whenever somebody, in whatever process, has appended: what a follower waits for between reads.
    fn appended(&self) -> watch::Receiver<u64>;

    /// Makes the caller the only one that may move the consumer's positions on this partition number of all topics: what a
    /// former owner has under way is ended, and what it tries later is `Stale`. Returns the positions there as they are then; what
    /// is under way on other numbers is not waited for. A log whose stages are locked against other processes only looks.
    async fn take_over(&self, consumer: &str, partition: u32) -> Result<Vec<(String, u32, u64)>, LogError> {
        let mut stored = self.positions(consumer).await?;
        stored.retain(|(_, number, _)| *number == partition);
        Ok(stored)
    }

    /// Says by which schemas records are written, before the first of them is. A log whose records others read through a schema
    /// registry has them registered when this returns; to repeat it costs nothing. Values stay what they are for everybody here.
    async fn declare_schemas(&self, schemas: &[TopicSchema]) -> Result<(), LogError> {
        let _ = schemas;
        Ok(())
    }

    /// Schemas (JSON texts) of records that this handle has come across and that a registry explains, whoever wrote them.
    fn foreign_schemas(&self) -> Vec<String> {
        Vec::new()
    }

    /// Joins the workers of a stage, in whatever process they are. A log with one worker for each stage gives it everything.
    async fn join(&self, stage: &str) -> Result<Box<dyn Membership>, LogError> {
        let _ = stage;
        Ok(Box::new(Alone::default()))
    }
}
