//! Reading positions on all topics of one kind, and batches gathered from them.
//!
//! Guarantees: a batch holds at most one part of each partition, in offset order; no topic is starved by a busy one. A batch is
//! whatever is there: it is closed at once when nothing more is, and fills up to its limits under load.

use std::sync::Arc;

use tidemark_log::{Log, LogError, ReadLimit, RecordBatch, Share};
use tidemark_schemas::Entity;

use super::{BatchLimits, Pipeline};
use crate::status::StagePosition;

/// A reading position.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) entity: Arc<Entity>,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    /// Offset of the next record to be read.
    pub(crate) next: u64,
}

/// Records of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Index of its cursor.
    pub(crate) cursor: usize,
    /// Where the cursor stood before.
    pub(crate) from: u64,
    /// Where it stands after it.
    pub(crate) next: u64,
    pub(crate) records: Arc<RecordBatch>,
}

/// The reading positions of a stage.
#[derive(Debug)]
pub(crate) struct Cursors {
    pub(crate) list: Vec<Cursor>,
    /// The one to be read first next time.
    first: usize,
}

/// Which of an entity's topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Changes,
    State,
}

impl Cursors {
    /// One cursor for every partition of every entity's topic that the share holds, at 0.
    pub(crate) async fn of(pipeline: &Pipeline, side: Side, share: &Share) -> Result<Self, LogError> {
        let existing = pipeline.log.topics().await?;
        let mut list = Vec::new();
        for entity in pipeline.catalog.entities() {
            let topic = match side {
                Side::Changes => pipeline.topics.changes(&entity.name),
                Side::State => pipeline.topics.state(&entity.name),
            };
            let Some((_, partitions)) = existing.iter().find(|(name, _)| **name == *topic) else {
                return Err(LogError::NoSuchTopic(topic.to_string()));
            };
            for partition in (0..*partitions).filter(|partition| share.holds(*partition)) {
                list.push(Cursor { entity: Arc::clone(entity), topic: Arc::clone(&topic), partition, next: 0 });
            }
        }
        Ok(Self { list, first: 0 })
    }

    /// The next batch; empty when there is nothing more at the moment. The cursors stand behind it then.
    pub(crate) async fn gather(&mut self, log: &dyn Log, limits: BatchLimits) -> Result<Vec<Part>, LogError> {
        let mut parts = Vec::new();
        let mut limit = ReadLimit { records_max: limits.records_max, bytes_max: limits.bytes_max };
        let count = self.list.len();
        let first = self.first;
        for step in 0..count {
            if limit.records_max == 0 || limit.bytes_max == 0 {
                break;
            }
            let index = (first + step) % count;
            let cursor = &mut self.list[index];
            let records = log.read(&cursor.topic, cursor.partition, cursor.next, limit).await?;
            let Some(next) = records.next_offset() else { continue };
            limit.records_max = limit.records_max.saturating_sub(records.len());
            limit.bytes_max = limit.bytes_max.saturating_sub(records.bytes());
            parts.push(Part { cursor: index, from: cursor.next, next, records: Arc::new(records) });
            cursor.next = next;
            self.first = (index + 1) % count;
        }
        Ok(parts)
    }

    /// Takes out of the parts what stands at `offset` of this one and all behind it; it is read again.
    pub(crate) fn cut(&mut self, parts: &mut Vec<Part>, index: usize, offset: u64) {
        for later in parts.drain(index + 1..) {
            self.list[later.cursor].next = later.from;
        }
        let part = &mut parts[index];
        let is_whole = part.records.iter().next().is_some_and(|first| first.offset == offset);
        part.next = if is_whole { part.from } else { offset };
        self.list[part.cursor].next = part.next;
        if is_whole {
            parts.pop();
        }
    }

    /// Where the topics of the cursors end, in their order.
    pub(crate) async fn ends(&self, log: &dyn Log) -> Result<Vec<u64>, LogError> {
        let places: Vec<_> = self.list.iter().map(|cursor| (Arc::clone(&cursor.topic), cursor.partition)).collect();
        log.ends(&places).await
    }

    /// Topic, partition and next offset of each: what a stage says of itself.
    pub(crate) fn positions(&self) -> Vec<StagePosition> {
        self.list.iter().map(|cursor| (Arc::clone(&cursor.topic), cursor.partition, cursor.next)).collect()
    }
}

/// Records in all parts.
pub(crate) fn records_of(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.records.len()).sum()
}

/// Bytes in all parts.
pub(crate) fn bytes_of(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.records.bytes()).sum()
}

/// When the oldest of the records was appended, UTC microseconds.
pub(crate) fn oldest_of(parts: &[Part]) -> Option<i64> {
    parts.iter().filter(|part| !part.records.is_empty()).map(|part| part.records.get(0).timestamp).min()
}
