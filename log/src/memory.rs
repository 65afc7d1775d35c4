//! The log in memory, for simulations and unit tests: same semantics as the embedded one, deterministic, with injected faults.
//!
//! Guarantees: nothing but its arguments decides what it does. Time comes from the given clock; before every operation the fault
//! hook is asked what shall happen to it. An operation is one step: two tasks never see half of one.
//! On failure: `Before` leaves nothing; `After` does the work and then says that it failed, the unknown outcome of a broken
//! connection. Both are `Unavailable`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use crate::Clock;
use crate::port::{Bounds, Log, LogError, LogIdentity, ReadLimit, Retention, TopicSpec};
use crate::record::{Append, RecordBatch};
use crate::refusal::{check_positions, check_sizes, check_spec, no_such, refused_partitions};

/// What is about to be done.
#[derive(Debug)]
pub enum Operation<'o> {
    /// `create_topics`.
    CreateTopics(&'o [TopicSpec]),
    /// `topics`.
    Topics,
    /// `append`.
    Append(&'o Append),
    /// `read`, `bounds` or `offset_at` of a topic and partition.
    Read(&'o str, u32),
    /// `positions` of a consumer.
    Positions(&'o str),
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It works.
    None,
    /// It fails and leaves nothing.
    Before,
    /// It has its effect and fails all the same.
    After,
}

/// Decides the fate of each operation, in the order in which they come.
pub type FaultHook = Arc<dyn Fn(&Operation<'_>) -> Fault + Send + Sync>;

/// What makes one log in memory differ from another.
#[derive(Clone)]
pub struct MemoryOptions {
    /// Which log it is.
    pub identity: LogIdentity,
    /// Gives new records their time, UTC microseconds.
    pub clock: Clock,
    /// Injected faults.
    pub fault: FaultHook,
}

impl Default for MemoryOptions {
    /// A fixed identity, a clock that stands still, no faults.
    fn default() -> Self {
        Self {
            identity: LogIdentity { id: Uuid::from_u128(0x7469_6465), generation: 0 },
            clock: Arc::new(|| 0),
            fault: Arc::new(|_| Fault::None),
        }
    }
}

/// The log in memory.
pub struct MemoryLog {
    options: MemoryOptions,
    state: Mutex<State>,
    appended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Topic>,
    positions: BTreeMap<(String, String, u32), u64>,
}

struct Topic {
    retention: Retention,
    partitions: Vec<Partition>,
}

#[derive(Default, Clone)]
struct Partition {
    records: Vec<Record>,
    next: u64,
    last_time: i64,
}

#[derive(Clone)]
struct Record {
    offset: u64,
    time: i64,
    key: Box<[u8]>,
    value: Box<[u8]>,
}

// === impl MemoryLog ===

impl MemoryLog {
    /// An empty log.
    pub fn new(options: MemoryOptions) -> Self {
        Self { options, state: Mutex::default(), appended: watch::Sender::new(0) }
    }

    /// Removes what compaction and retention by age need not keep.
    pub fn maintain(&self) {
        let now = (self.options.clock)();
        let mut state = self.lock();
        let State { topics, positions } = &mut *state;
        for (name, topic) in topics {
            for (number, partition) in topic.partitions.iter_mut().enumerate() {
                match topic.retention {
                    Retention::Keep => {}
                    Retention::Compact => partition.compact(),
                    Retention::Age(age) => {
                        let before = now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
                        let stands = |(_, topic, at): &(String, String, u32)| topic == name && *at as usize == number;
                        let slowest = positions.iter().filter(|(key, _)| stands(key)).map(|(_, next)| *next).min();
                        let limit = partition.offset_at(before).min(slowest.unwrap_or(u64::MAX));
                        partition.records.retain(|record| record.offset >= limit);
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation as the fault hook wants it.
    fn run<T>(
        &self,
        step: &str,
        operation: &Operation<'_>,
        work: impl FnOnce(&mut State) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let unavailable = |text: &str| LogError::Unavailable { step: step.to_owned(), cause: text.into() };
        let mut state = self.lock();
        match (self.options.fault)(operation) {
            Fault::None => work(&mut state),
            Fault::Before => Err(unavailable("injected fault, before the effect")),
            Fault::After => work(&mut state).and(Err(unavailable("injected fault, after the effect"))),
        }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new(MemoryOptions::default())
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryLog").field("identity", &self.options.identity).finish_non_exhaustive()
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn identity(&self) -> LogIdentity {
        self.options.identity
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.run("creating topics", &Operation::CreateTopics(topics), |state| state.create(topics))
    }

    async fn topics(&self) -> Result<Vec<(String, u32)>, LogError> {
        self.run("listing topics", &Operation::Topics, |state| {
            Ok(state.topics.iter().map(|(name, topic)| (name.clone(), topic.count())).collect())
        })
    }

    async fn append(&self, append: Append) -> Result<Vec<u64>, LogError> {
        let now = (self.options.clock)();
        self.run("appending", &Operation::Append(&append), |state| {
            let offsets = state.append(&append, now)?;
            if !offsets.is_empty() {
                self.appended.send_modify(|total| *total += offsets.len() as u64);
            }
            Ok(offsets)
        })
    }

    async fn read(&self, topic: &str, partition: u32, offset: u64, limit: ReadLimit) -> Result<RecordBatch, LogError> {
        self.run("reading", &Operation::Read(topic, partition), |state| {
            Ok(state.partition(topic, partition)?.read(offset, limit))
        })
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError> {
        self.run("reading bounds", &Operation::Read(topic, partition), |state| {
            let partition = state.partition(topic, partition)?;
            let start = partition.records.first().map_or(partition.next, |record| record.offset);
            Ok(Bounds { start, end: partition.next })
        })
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError> {
        self.run("searching by time", &Operation::Read(topic, partition), |state| {
            Ok(state.partition(topic, partition)?.offset_at(time))
        })
    }

    async fn positions(&self, consumer: &str) -> Result<Vec<(String, u32, u64)>, LogError> {
        self.run("reading positions", &Operation::Positions(consumer), |state| {
            let own = state.positions.iter().filter(|((name, ..), _)| name == consumer);
            Ok(own.map(|((_, topic, partition), next)| (topic.clone(), *partition, *next)).collect())
        })
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }
}

// === impl State ===

impl State {
    fn create(&mut self, specs: &[TopicSpec]) -> Result<(), LogError> {
        for spec in specs {
            check_spec(spec)?;
            if let Some(topic) = self.topics.get(&spec.name)
                && topic.count() != spec.partitions
            {
                return Err(refused_partitions(spec, topic.count()));
            }
        }
        for spec in specs {
            let partitions = || vec![Partition::default(); spec.partitions as usize];
            let topic = self
                .topics
                .entry(spec.name.clone())
                .or_insert_with(|| Topic { retention: spec.retention, partitions: partitions() });
            topic.retention = spec.retention;
        }
        Ok(())
    }

    fn append(&mut self, append: &Append, now: i64) -> Result<Vec<u64>, LogError> {
        check_sizes(append)?;
        for record in append.records() {
            self.partition(record.topic, record.partition)?;
        }
        for position in append.positions() {
            self.partition(&position.topic, position.partition)?;
        }
        check_positions(append.positions(), |key| self.positions.get(key).copied())?;
        let mut offsets = Vec::with_capacity(append.len());
        for record in append.records() {
            let partition = self.partition(record.topic, record.partition)?;
            offsets.push(partition.push(now, record.key, record.value));
        }
        for position in append.positions() {
            self.positions.insert(position.key(), position.next);
        }
        Ok(offsets)
    }

    fn partition(&mut self, topic: &str, partition: u32) -> Result<&mut Partition, LogError> {
        let found = self.topics.get_mut(topic).and_then(|topic| topic.partitions.get_mut(partition as usize));
        found.ok_or_else(|| no_such(topic, partition))
    }
}

impl Topic {
    fn count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("made from a u32")
    }
}

// === impl Partition ===

impl Partition {
    fn push(&mut self, now: i64, key: &[u8], value: &[u8]) -> u64 {
        let offset = self.next;
        self.next += 1;
        self.last_time = self.last_time.max(now);
        self.records.push(Record { offset, time: self.last_time, key: key.into(), value: value.into() });
        offset
    }

    fn read(&self, offset: u64, limit: ReadLimit) -> RecordBatch {
        let mut batch = RecordBatch::default();
        let from = self.records.partition_point(|record| record.offset < offset);
        for record in self.records[from..].iter().take(limit.records_max.max(1)) {
            let bytes = batch.bytes() + record.key.len() + record.value.len();
            if !batch.is_empty() && bytes > limit.bytes_max {
                break;
            }
            batch.push(record.offset, record.time, &record.key, &record.value);
        }
        batch
    }

    fn offset_at(&self, time: i64) -> u64 {
        let index = self.records.partition_point(|record| record.time < time);
        self.records.get(index).map_or(self.next, |record| record.offset)
    }

    fn compact(&mut self) {
        let last: BTreeMap<Box<[u8]>, u64> = self.records.iter().map(|record| (record.key.clone(), record.offset)).collect();
        self.records.retain(|record| last[&record.key] == record.offset);
    }
}
