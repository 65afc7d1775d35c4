//! Records in arenas: one buffer for many records, so that reading and appending allocate per batch and not per record.

use std::ops::Range;
use std::sync::Arc;

use crate::port::ConsumerPosition;

/// Largest record (key and value), on topics and clients: what Kafka brokers are set to as well.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Records read from one partition, in offset order.
#[derive(Debug, Default, Clone)]
pub struct RecordBatch {
    buffer: Vec<u8>,
    entries: Vec<Entry>,
    /// Everything below was looked at, though the last offsets may hold no records.
    passed: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    offset: u64,
    timestamp: i64,
    key: Range<usize>,
    value: Range<usize>,
}

/// One record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'b> {
    /// Offset in its partition.
    pub offset: u64,
    /// When it was appended, UTC microseconds; never falls within a partition.
    pub timestamp: i64,
    /// Key, UTF-8.
    pub key: &'b [u8],
    /// Value.
    pub value: &'b [u8],
}

impl RecordBatch {
    /// Adds a record behind the others.
    pub fn push(&mut self, offset: u64, timestamp: i64, key: &[u8], value: &[u8]) {
        self.push_headed(offset, timestamp, key, &[], value);
    }

    /// The same for a value whose header stands elsewhere than the rest of it.
    pub(crate) fn push_headed(&mut self, offset: u64, timestamp: i64, key: &[u8], header: &[u8], rest: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(key);
        let middle = self.buffer.len();
        self.buffer.extend_from_slice(header);
        self.buffer.extend_from_slice(rest);
        self.entries.push(Entry { offset, timestamp, key: start..middle, value: middle..self.buffer.len() });
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The record at this index.
    pub fn get(&self, index: usize) -> RecordRef<'_> {
        let entry = &self.entries[index];
        RecordRef {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: &self.buffer[entry.key.clone()],
            value: &self.buffer[entry.value.clone()],
        }
    }

    /// All records in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.entries.len()).map(|index| self.get(index))
    }

    /// Says that the offsets below `next` were looked at and hold no more records: what ends transactions takes offsets too.
    pub fn pass(&mut self, next: u64) {
        self.passed = next;
    }

    /// Where to read on: the offset after the last record, or behind offsets that hold none. `None` when nothing was there.
    pub fn next_offset(&self) -> Option<u64> {
        let behind = self.entries.last().map(|entry| entry.offset + 1);
        behind.max((self.passed > 0).then_some(self.passed))
    }
}

/// What is appended in one go: records for several topics, and consumer positions.
#[derive(Debug, Default, Clone)]
pub struct Append {
    buffer: Vec<u8>,
    entries: Vec<NewEntry>,
    positions: Vec<ConsumerPosition>,
}

#[derive(Debug, Clone)]
struct NewEntry {
    topic: Arc<str>,
    partition: u32,
    key: Range<usize>,
    value: Range<usize>,
}

/// One record to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Topic.
    pub topic: &'a Arc<str>,
    /// Partition.
    pub partition: u32,
    /// Key.
    pub key: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

impl Append {
    /// Adds a record whose value `write` puts at the end of the given buffer.
    pub fn record(&mut self, topic: &Arc<str>, partition: u32, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(key);
        let middle = self.buffer.len();
        write(&mut self.buffer);
        let value = middle..self.buffer.len();
        self.entries.push(NewEntry { topic: Arc::clone(topic), partition, key: start..middle, value });
    }

    /// Moves a consumer's position with the records.
    pub fn position(&mut self, position: ConsumerPosition) {
        self.positions.push(position);
    }

    /// The records in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = NewRecord<'_>> {
        self.entries.iter().map(|entry| NewRecord {
            topic: &entry.topic,
            partition: entry.partition,
            key: &self.buffer[entry.key.clone()],
            value: &self.buffer[entry.value.clone()],
        })
    }

    /// Lets every value be changed in place; `change` says how many bytes at its start are left away then.
    pub(crate) fn change_values(&mut self, mut change: impl FnMut(&mut [u8]) -> usize) {
        for entry in &mut self.entries {
            let unused = change(&mut self.buffer[entry.value.clone()]);
            entry.value.start += unused;
        }
    }

    /// The positions.
    pub fn positions(&self) -> &[ConsumerPosition] {
        &self.positions
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.positions.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }
}

/// Checksum of a record as adapters store it: over its place, its time, and where its key ends as well.
pub(crate) fn crc(offset: u64, timestamp: i64, key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&timestamp.to_le_bytes());
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}
