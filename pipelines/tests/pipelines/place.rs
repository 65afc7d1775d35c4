//! A pipeline over a log in memory that can be told to fail, and changes published by hand.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemark_log::memory::{Fault, MemoryLog, MemoryOptions, Operation};
use tidemark_log::{Append, Log, LogIdentity, Topics};
use tidemark_pipelines::engine::{BatchLimits, Pipeline};
use tidemark_pipelines::status::{StageState, StageStatus, StatusBoard};
use tidemark_schemas::codec::encode_change;
use tidemark_sink_core::Role;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::chaos::Chaos;
use crate::store::{Content, MemorySink};
use crate::thing::{Spec, catalog, thing};

pub(crate) const IDENTITY: LogIdentity = LogIdentity { id: Uuid::from_u128(9), generation: 1 };

pub(crate) struct Place {
    pub(crate) pipeline: Pipeline,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) cache: tempfile::TempDir,
    pub(crate) chaos: Arc<Chaos>,
    /// The next append that moves a position happens, and says that it failed.
    pub(crate) lose_answer: Arc<AtomicBool>,
    /// Bytes of the largest append that moved a position.
    pub(crate) largest: Arc<AtomicUsize>,
    pub(crate) sequence: Mutex<u64>,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with_identity(IDENTITY).await
    }

    pub(crate) async fn with_identity(identity: LogIdentity) -> Self {
        let lose_answer = Arc::new(AtomicBool::new(false));
        let largest = Arc::new(AtomicUsize::new(0));
        let (lose, largest_seen) = (Arc::clone(&lose_answer), Arc::clone(&largest));
        let options = MemoryOptions {
            identity,
            fault: Arc::new(move |operation| match operation {
                Operation::Append(append) if !append.positions().is_empty() => {
                    largest_seen.fetch_max(append.bytes(), Ordering::SeqCst);
                    if lose.swap(false, Ordering::SeqCst) { Fault::After } else { Fault::None }
                }
                _ => Fault::None,
            }),
            ..MemoryOptions::default()
        };
        let log = Arc::new(MemoryLog::new(options));
        let chaos = Chaos::new(0);
        chaos.calm();
        let pipeline = Pipeline {
            log: Arc::clone(&log) as Arc<dyn Log>,
            topics: Topics::new("t"),
            catalog: catalog(),
            board: StatusBoard::default(),
            shutdown: CancellationToken::new(),
        };
        pipeline.prepare(1).await.unwrap();
        let cache = tempfile::tempdir().unwrap();
        Self { pipeline, log, cache, chaos, lose_answer, largest, sequence: Mutex::new(0) }
    }

    /// Publishes changes, with numbers that rise.
    pub(crate) async fn publish(&self, specs: &[Spec]) {
        let entity = thing(&self.pipeline.catalog);
        let mut append = Append::default();
        for spec in specs {
            let mut spec = spec.clone();
            *self.sequence.lock().unwrap() += 1;
            spec.source_seq = *self.sequence.lock().unwrap();
            let change = spec.change(entity);
            let topic = self.pipeline.topics.changes("thing");
            append.record(&topic, 0, change.key.as_bytes(), |out| encode_change(entity, &change, out));
        }
        self.log.append(append).await.unwrap();
    }

    pub(crate) fn sink(&self, role: Role, content: &Arc<Mutex<Content>>) -> Box<MemorySink> {
        Box::new(MemorySink::new(role, content, &self.chaos))
    }

    /// Runs the fold and this sink until both have passed everything, then stops them.
    pub(crate) async fn drain(&self, role: Role, content: &Arc<Mutex<Content>>) {
        self.drain_within(BatchLimits::FOLD, role, content).await;
    }

    /// The same with other batches of the fold.
    pub(crate) async fn drain_within(&self, limits: BatchLimits, role: Role, content: &Arc<Mutex<Content>>) {
        let mut pipeline = self.pipeline.clone();
        pipeline.shutdown = CancellationToken::new();
        let stage = format!("sink.{}", role.name());
        let work = async {
            assert!(pipeline.caught_up(&["fold", &stage]).await.unwrap());
            pipeline.shutdown.cancel();
        };
        futures::join!(
            pipeline.run_fold(self.cache.path().join("state"), limits),
            pipeline.run_sink(self.sink(role, content), BatchLimits::SINK),
            work,
        );
    }

    /// Waits until a stage's line is as wanted.
    pub(crate) async fn line(&self, stage: &str, wanted: impl Fn(&StageStatus) -> bool) -> StageStatus {
        for _ in 0..100_000 {
            if let Some(line) = self.pipeline.board.lines().remove(stage)
                && wanted(&line)
            {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{stage} never came to it: {:?}", self.pipeline.board.lines().remove(stage));
    }
}

pub(crate) fn degraded(line: &StageStatus) -> Option<&str> {
    match &line.state {
        StageState::Degraded(text) => Some(text),
        _ => None,
    }
}
