//! A wall clock that is set back while everything runs: the whole pipeline in this process, on clocks that the test moves.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tidemark_connector_file::{Clock, FileConnector, FileOptions};
use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::{Log, ReadLimit, Topics};
use tidemark_pipelines::engine::{BatchLimits, Pipeline};
use tidemark_pipelines::status::StatusBoard;
use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_tests::files::{code, customer, envelope, pending};
use tidemark_tests::generator::Operation::{Delete, Insert, Update};
use tidemark_tests::stores::{self, FILES};
use tidemark_tests::{results, wait};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const SINKS: [&str; 4] = ["sink.relational", "sink.graph", "sink.vector", "sink.analytics"];
const HOUR: i64 = 3_600_000_000;

/// A data folder, and the clock that is on its wall.
struct House {
    folder: TempDir,
    wall: Arc<AtomicI64>,
}

/// All stages, until they are dropped.
struct Stages {
    pipeline: Pipeline,
    tasks: JoinSet<()>,
    runtime: Runtime,
}

impl House {
    fn data(&self) -> &Path {
        self.folder.path()
    }

    fn import(&self) -> PathBuf {
        self.data().join("import")
    }

    fn wall(&self) -> Arc<dyn Fn() -> i64 + Send + Sync> {
        let wall = Arc::clone(&self.wall);
        Arc::new(move || wall.load(Ordering::SeqCst))
    }

    fn set_back(&self, micros: i64) {
        self.wall.fetch_sub(micros, Ordering::SeqCst);
    }

    fn sinks(&self, catalog: &Arc<Catalog>) -> [Box<dyn Sink>; 4] {
        let [relational, graph, vector, analytics] = FILES.map(|file| self.data().join(file));
        [
            tidemark_sink_sqlite::relational(relational, Arc::clone(catalog)),
            tidemark_sink_sqlite::graph(graph, Arc::clone(catalog)),
            tidemark_sink_sqlite::vector(vector, Arc::clone(catalog), Arc::new(NgramEmbedder)),
            tidemark_sink_sqlite::analytics(analytics, Arc::clone(catalog), Vec::new(), 8 * 3600),
        ]
    }

    fn start(&self) -> Stages {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let catalog = Arc::new(Catalog::built_in());
        let mut options = EmbeddedOptions::new(self.data().join("log.db"));
        options.clock = self.wall();
        let log: Arc<dyn Log> = Arc::new(runtime.block_on(EmbeddedLog::open(options)).unwrap());
        let topics = Topics::new("tidemark");
        let (board, shutdown) = (StatusBoard::default(), CancellationToken::new());
        let pipeline = Pipeline { log: Arc::clone(&log), topics: topics.clone(), catalog: Arc::clone(&catalog), board, shutdown };
        runtime.block_on(pipeline.prepare(1)).unwrap();
        let mut options = FileOptions::new(self.import());
        (options.scan_interval, options.settle) = (Duration::from_millis(20), Duration::from_millis(100));
        let clock = Clock { wall: self.wall(), monotonic: Clock::system().monotonic };
        let connector = Box::new(FileConnector::new(log, topics, Arc::clone(&catalog), options, clock));
        let mut tasks = JoinSet::new();
        let (mine, cache) = (pipeline.clone(), self.data().join("state"));
        tasks.spawn_on(async move { mine.run_fold(cache, BatchLimits::FOLD).await }, runtime.handle());
        let mine = pipeline.clone();
        tasks.spawn_on(async move { mine.run_connector(connector).await }, runtime.handle());
        for sink in self.sinks(&catalog) {
            let mine = pipeline.clone();
            tasks.spawn_on(async move { mine.run_sink(sink, BatchLimits::SINK).await }, runtime.handle());
        }
        Stages { pipeline, tasks, runtime }
    }

    /// Drops a file and waits until it is decided and in all stores; its counts as (inserted, updated, deleted, unchanged).
    fn take_in(&self, stages: &Stages, name: &str, text: &str) -> (u64, u64, u64, u64) {
        let known: BTreeSet<PathBuf> = results::all(&self.import()).into_iter().map(|result| result.path).collect();
        let path = self.import().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        let result = wait::until("the file to be decided", wait::PATIENCE, || {
            results::all(&self.import()).into_iter().find(|result| !known.contains(&result.path))
        });
        let awaited: Vec<&str> = std::iter::once("fold").chain(SINKS).collect();
        assert!(stages.runtime.block_on(stages.pipeline.caught_up(&awaited)).unwrap());
        let counts = result.counts;
        assert_eq!(counts.rejected, 0, "{:#}", result.document);
        (counts.inserted, counts.updated, counts.deleted, counts.unchanged)
    }

    fn names(&self) -> Vec<String> {
        let rows = stores::rows(self.data(), "relational.db", "customer", &["person_name"]);
        rows.into_values().map(|row| row["person_name"].clone()).collect()
    }
}

impl Stages {
    fn stop(mut self) {
        self.pipeline.shutdown.cancel();
        self.runtime.block_on(async { while self.tasks.join_next().await.transpose().unwrap().is_some() {} });
    }

    /// Record times of all changes of customers, in the order of the log.
    fn times(&self) -> Vec<i64> {
        let topic = self.pipeline.topics.changes("customer");
        let limit = ReadLimit { records_max: 1_000, bytes_max: 1 << 20 };
        let batch = self.runtime.block_on(self.pipeline.log.read(&topic, 0, 0, limit)).unwrap();
        batch.iter().map(|record| record.timestamp).collect()
    }
}

#[test]
fn a_clock_that_is_set_back_changes_no_count_and_no_row() {
    let house = House { folder: tempfile::tempdir().unwrap(), wall: Arc::new(AtomicI64::new(1_800_000_000_000_000)) };
    let stages = house.start();
    let update = |name: &str| json!({"customer_code": code(1), "updates": {"person": {"name": name}}});
    let both = [customer(1, "甲"), customer(2, "乙")];
    assert_eq!(house.take_in(&stages, &pending("customers_add.json"), &envelope(Insert, &both)), (2, 0, 0, 0));
    house.set_back(24 * HOUR);
    assert_eq!(house.take_in(&stages, &pending("customers_update.json"), &envelope(Update, &[update("丙")])), (0, 1, 0, 0));
    // Also across a restart, and by more than everything so far has lasted.
    stages.stop();
    house.set_back(10_000 * HOUR);
    let stages = house.start();
    assert_eq!(
        house.take_in(&stages, "incremental/pending/2026-01-16/customers_update.json", &envelope(Update, &[update("丁")])),
        (0, 1, 0, 0)
    );
    house.set_back(HOUR);
    let gone = [json!({"customer_code": code(2)})];
    assert_eq!(house.take_in(&stages, &pending("customers_delete.json"), &envelope(Delete, &gone)), (0, 0, 1, 0));

    assert_eq!(house.names(), ["丁"]);
    assert_eq!(stores::points(house.data()).len(), 1);
    let times = stages.times();
    assert_eq!(times.len(), 5);
    assert!(times.is_sorted(), "the log's time never falls: {times:?}");
    stages.stop();
}
