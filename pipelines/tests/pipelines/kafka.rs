//! Several workers on one log on Kafka, whose broker's address is in `TIDEMARK_TEST_KAFKA`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use tidemark_log::{Append, Log, Topics, partition};
use tidemark_pipelines::dead_letters;
use tidemark_pipelines::engine::{BatchLimits, Pipeline};
use tidemark_pipelines::status::{StageState, StatusBoard};
use tidemark_schemas::codec::encode_change;
use tidemark_sink_core::Role;
use tidemark_test_support::Kind;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::chaos::Chaos;
use crate::store::{Content, MemorySink};
use crate::thing::{catalog, insert, thing};

pub(crate) const PARTITIONS: u32 = 3;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process of its own as far as the log can tell: fold and one sink.
pub(crate) struct Worker {
    pub(crate) pipeline: Pipeline,
    pub(crate) running: JoinHandle<()>,
    _cache: tempfile::TempDir,
}

impl Worker {
    pub(crate) async fn start(broker: &str, prefix: &str, content: &Arc<Mutex<Content>>) -> Self {
        let chaos = Chaos::new(0);
        chaos.calm();
        Self::with(broker, prefix, Some(Box::new(MemorySink::new(Role::Relational, content, &chaos)))).await
    }

    pub(crate) async fn fold_alone(broker: &str, prefix: &str) -> Self {
        Self::with(broker, prefix, None).await
    }

    async fn with(broker: &str, prefix: &str, sink: Option<Box<MemorySink>>) -> Self {
        let log = KafkaLog::open(KafkaOptions::new(broker, prefix)).await.unwrap();
        let pipeline = Pipeline {
            log: Arc::new(log),
            topics: Topics::new(prefix),
            catalog: catalog(),
            board: StatusBoard::default(),
            shutdown: CancellationToken::new(),
        };
        pipeline.prepare(PARTITIONS).await.unwrap();
        let cache = tempfile::tempdir().unwrap();
        let (works, state) = (pipeline.clone(), cache.path().join("state"));
        let running = tokio::spawn(async move {
            let delivering = async {
                if let Some(sink) = sink {
                    works.run_sink(sink, BatchLimits::SINK).await;
                }
            };
            tokio::join!(works.run_fold(state, BatchLimits::FOLD), delivering);
        });
        Self { pipeline, running, _cache: cache }
    }

    /// Partition numbers of the fold and of the sink.
    pub(crate) fn shares(&self) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let positions = self.pipeline.board.positions().borrow().clone();
        let numbers = |stage: &str| {
            let stands = positions.get(stage).cloned().unwrap_or_default();
            stands.iter().map(|(_, number, _)| *number).collect()
        };
        (numbers("fold"), numbers("sink.relational"))
    }

    pub(crate) async fn stop(self) {
        self.pipeline.shutdown.cancel();
        self.running.await.unwrap();
    }
}

/// Publishes changes and knows what must come of them.
#[derive(Default)]
pub(crate) struct Author {
    sequence: u64,
    expected: BTreeMap<String, String>,
}

impl Author {
    pub(crate) async fn publish(&mut self, pipeline: &Pipeline, count: u64) {
        let entity = thing(&pipeline.catalog);
        let topic = pipeline.topics.changes("thing");
        let mut append = Append::default();
        for _ in 0..count {
            self.sequence += 1;
            let (code, value) = (format!("K{}", self.sequence % 97), self.sequence.to_string());
            let mut spec = insert("file", json!({"code": code, "name": "n", "a": value}));
            spec.source_seq = self.sequence;
            let change = spec.change(entity);
            let number = partition::of(change.key.as_bytes(), PARTITIONS);
            append.record(&topic, number, change.key.as_bytes(), |out| encode_change(entity, &change, out));
            self.expected.insert(code, value);
        }
        pipeline.log.append(append).await.unwrap();
    }

    fn differs(&self, content: &Mutex<Content>) -> Option<String> {
        let content = content.lock().unwrap();
        self.expected.iter().find_map(|(code, value)| {
            let found = content.rows.get(&("thing".to_owned(), code.clone())).map(|(_, _, row)| row["a"].clone());
            (found != Some(json!(value))).then(|| format!("{code}: {found:?} is not {value}"))
        })
    }

    /// Waits until the store has what was published.
    pub(crate) async fn arrived(&self, what: &str, content: &Mutex<Content>, workers: &[&Worker]) {
        let started = Instant::now();
        while let Some(difference) = self.differs(content) {
            let lines = || workers.iter().map(|worker| worker.pipeline.board.lines()).collect::<Vec<_>>();
            assert!(started.elapsed() < PATIENCE, "{what}: {difference}; {:?}", lines());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        eprintln!("{what}: {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_the_partitions_and_hand_over() {
    let Some(broker) = Kind::Kafka.address("two_workers_share_the_partitions_and_hand_over") else { return };
    let prefix = format!("test-{}", Uuid::new_v4().simple());
    let content: Arc<Mutex<Content>> = Arc::default();
    let mut author = Author::default();

    let first = Worker::start(&broker, &prefix, &content).await;
    author.publish(&first.pipeline, 500).await;
    author.arrived("one worker", &content, &[&first]).await;
    author.publish(&first.pipeline, 1).await;
    author.arrived("a single change", &content, &[&first]).await;

    // a second worker comes while changes are under way
    author.publish(&first.pipeline, 2_000).await;
    let second = Worker::start(&broker, &prefix, &content).await;
    for _ in 0..20 {
        author.publish(&first.pipeline, 200).await;
    }
    author.arrived("two workers", &content, &[&first, &second]).await;
    let started = Instant::now();
    loop {
        let ((fold, sink), (other_fold, other_sink)) = (first.shares(), second.shares());
        let shared = |one: &BTreeSet<u32>, other: &BTreeSet<u32>| {
            !one.is_empty() && !other.is_empty() && one.is_disjoint(other) && one.len() + other.len() == PARTITIONS as usize
        };
        if shared(&fold, &other_fold) && shared(&sink, &other_sink) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{fold:?} {sink:?} and {other_fold:?} {other_sink:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    author.publish(&first.pipeline, 1_000).await;
    author.arrived("both at work", &content, &[&first, &second]).await;

    // whoever is overtaken in the middle of its work goes on with what it should hold
    let intruder = KafkaLog::open(KafkaOptions::new(&broker, &prefix)).await.unwrap();
    for number in 0..PARTITIONS {
        intruder.take_over("fold", number).await.unwrap();
        author.publish(&first.pipeline, 200).await;
    }
    author.arrived("after fencing", &content, &[&first, &second]).await;
    let retried = |worker: &Worker| worker.pipeline.board.lines()["fold"].retried;
    assert!(retried(&first) + retried(&second) > 0, "a fenced fold says so");

    // the first one goes, the second one has it all
    author.publish(&second.pipeline, 1_000).await;
    let publisher = second.pipeline.clone();
    first.stop().await;
    author.publish(&publisher, 1_000).await;
    author.arrived("the second worker alone", &content, &[&second]).await;

    assert!(publisher.caught_up(&["fold", "sink.relational"]).await.unwrap());
    for (stage, line) in publisher.board.lines() {
        assert_eq!(line.state, StageState::Running, "{stage}");
    }
    assert_eq!(dead_letters::list(&*publisher.log, &publisher.topics).await.unwrap(), []);
    second.stop().await;
}
