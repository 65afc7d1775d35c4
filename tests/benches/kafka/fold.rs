//! The fold, in transactions and without: the same stage over the same changes, each in a process of its own.
//!
//! Without means that its appends leave out its positions: then the log sends the same records by its idempotent producer and
//! waits for them, as a connector does. Nothing else differs, but that each record is copied once more on its way there, which
//! makes this side some hundredths of a microsecond a record dearer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use tidemark_log::kafka::KafkaLog;
use tidemark_log::{Append, Bounds, Log, LogError, LogIdentity, Membership, ReadLimit, RecordBatch, TopicSpec};
use tidemark_pipelines::engine::BatchLimits;
use tokio::sync::watch;

use crate::child::{self, Progress};
use crate::marks::Taken;
use crate::rows::{self, Kind};
use crate::topics::Topic;

const STAGE: &str = "fold";
/// How often the fold is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How the fold appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Transactions,
    Plain,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Plain => "plain",
        }
    }
}

/// Fills a log with so many inserts and as many updates of narrow rows, and folds them.
pub(crate) async fn measure(way: Way, brokers: &str, prefix: &str, keys: u64, batch: usize) -> Result<Taken> {
    let topic = Topic::open(brokers, prefix).await?;
    for revision in 0..2 {
        rows::append_changes(&topic, Kind::Narrow, keys, revision).await?;
    }
    drop(topic);
    let (changes, batch) = ((2 * keys).to_string(), batch.to_string());
    tokio::task::block_in_place(|| child::measure(&["fold", way.name(), brokers, prefix, &changes, &batch], None))
}

/// The child.
pub(crate) fn main(arguments: &[&str]) -> Result<()> {
    let [way, brokers, prefix, changes, batch] = arguments else { anyhow::bail!("a fold is told otherwise: {arguments:?}") };
    let limits = BatchLimits { records_max: batch.parse()?, ..BatchLimits::FOLD };
    let changes = changes.parse()?;
    // As the program's own (`src/main.rs`).
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(8).enable_all().build()?;
    runtime.block_on(async {
        let topic = Topic::open(brokers, prefix).await?;
        let log = Arc::clone(&topic.log);
        let log: Arc<dyn Log> = if *way == Way::Plain.name() { Arc::new(WithoutPositions(log)) } else { log };
        let pipeline = topic.pipeline(log);
        let folder = std::env::temp_dir().join(format!("{prefix}-{}", std::process::id()));
        let folding = tokio::spawn({
            let (pipeline, folder) = (pipeline.clone(), folder.clone());
            async move { pipeline.run_fold(folder, limits).await }
        });
        let mut progress = Progress::default();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let applied = pipeline.board.lines().get(STAGE).map_or(0, |line| line.applied);
            progress.done(applied)?;
            if applied >= changes {
                break;
            }
        }
        tokio::task::block_in_place(|| progress.finished(changes))?;
        pipeline.shutdown.cancel();
        folding.await.context("the fold")?;
        std::fs::remove_dir_all(&folder).context("removing the fold's cache")
    })
}

/// The log, with appends that move no positions.
#[derive(Debug)]
struct WithoutPositions(Arc<KafkaLog>);

#[async_trait]
impl Log for WithoutPositions {
    fn identity(&self) -> LogIdentity {
        self.0.identity()
    }

    fn batches_per_commit(&self) -> usize {
        self.0.batches_per_commit()
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.0.create_topics(topics).await
    }

    async fn topics(&self) -> Result<Vec<(String, u32)>, LogError> {
        self.0.topics().await
    }

    async fn append(&self, append: Append) -> Result<Vec<u64>, LogError> {
        let mut plain = Append::default();
        for record in append.records() {
            plain.record(record.topic, record.partition, record.key, |out| out.extend_from_slice(record.value));
        }
        self.0.append(plain).await
    }

    async fn read(&self, topic: &str, partition: u32, offset: u64, limit: ReadLimit) -> Result<RecordBatch, LogError> {
        self.0.read(topic, partition, offset, limit).await
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError> {
        self.0.bounds(topic, partition).await
    }

    async fn ends(&self, partitions: &[(Arc<str>, u32)]) -> Result<Vec<u64>, LogError> {
        self.0.ends(partitions).await
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError> {
        self.0.offset_at(topic, partition, time).await
    }

    async fn positions(&self, _consumer: &str) -> Result<Vec<(String, u32, u64)>, LogError> {
        Ok(Vec::new())
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.0.appended()
    }

    async fn join(&self, stage: &str) -> Result<Box<dyn Membership>, LogError> {
        self.0.join(stage).await
    }
}
