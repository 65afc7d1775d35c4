//! The seeded fault plan: delays and faults of the log and the stores, and the trace of what happened.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidemark_log::memory::{Fault, FaultHook, MemoryLog, Operation};
use tidemark_log::{Append, Bounds, Log, LogError, LogIdentity, ReadLimit, RecordBatch, TopicSpec};
use tokio::sync::watch;

/// A small seeded generator: splitmix64.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
}

/// The plan of one run.
#[derive(Debug)]
pub(crate) struct Chaos {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: Random,
    /// Percent of operations that fail.
    faults: u64,
    trace: Vec<String>,
}

impl Chaos {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let mut random = Random::new(seed);
        let faults = random.below(12);
        Arc::new(Self { state: Mutex::new(State { random, faults, trace: Vec::new() }) })
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Random) -> T) -> T {
        work(&mut self.state.lock().unwrap().random)
    }

    /// From now on everything works.
    pub(crate) fn calm(&self) {
        self.state.lock().unwrap().faults = 0;
    }

    /// The fate of one operation.
    pub(crate) fn fault(&self, what: &str) -> Fault {
        let mut state = self.state.lock().unwrap();
        let faults = state.faults;
        let fault = match state.random.below(100) {
            number if number < faults / 2 => Fault::Before,
            number if number < faults => Fault::After,
            _ => Fault::None,
        };
        state.trace.push(format!("{what} {fault:?}"));
        fault
    }

    pub(crate) fn note(&self, what: String) {
        self.state.lock().unwrap().trace.push(what);
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.state.lock().unwrap().trace.clone()
    }

    /// Lets others go first, for a random while.
    pub(crate) async fn delay(&self) {
        match self.with(|random| random.below(8)) {
            0..4 => {}
            4..6 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_micros(self.with(|random| random.below(3_000)))).await,
        }
    }

    /// What the log in memory asks before each operation.
    pub(crate) fn hook(self: &Arc<Self>) -> FaultHook {
        let chaos = Arc::clone(self);
        Arc::new(move |operation| match operation {
            Operation::Append(append) => {
                let (records, positions) = (append.len(), append.positions().len());
                chaos.fault(&format!("append {records} {positions}"))
            }
            Operation::Read(topic, partition) => chaos.fault(&format!("read {topic} {partition}")),
            other => chaos.fault(&format!("{other:?}")),
        })
    }
}

/// The log in memory, where each operation may take its time before and after its effect, and may be cut short there.
pub(crate) struct SlowLog {
    pub(crate) inner: Arc<MemoryLog>,
    pub(crate) chaos: Arc<Chaos>,
}

#[async_trait]
impl Log for SlowLog {
    fn identity(&self) -> LogIdentity {
        self.inner.identity()
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.inner.create_topics(topics).await
    }

    async fn topics(&self) -> Result<Vec<(String, u32)>, LogError> {
        self.inner.topics().await
    }

    async fn append(&self, append: Append) -> Result<Vec<u64>, LogError> {
        self.chaos.delay().await;
        let result = self.inner.append(append).await;
        self.chaos.delay().await;
        result
    }

    async fn read(&self, topic: &str, partition: u32, offset: u64, limit: ReadLimit) -> Result<RecordBatch, LogError> {
        let result = self.inner.read(topic, partition, offset, limit).await;
        if result.as_ref().is_ok_and(|records| !records.is_empty()) {
            self.chaos.delay().await;
        }
        result
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError> {
        self.inner.bounds(topic, partition).await
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError> {
        self.inner.offset_at(topic, partition, time).await
    }

    async fn positions(&self, consumer: &str) -> Result<Vec<(String, u32, u64)>, LogError> {
        self.inner.positions(consumer).await
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.inner.appended()
    }
}
