//! A log on Kafka that a run reads, used through the log's library as a source and the fold would.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use tidemark_log::{Log, LogIdentity, Topics};
use tidemark_pipelines::engine::Pipeline;
use tidemark_pipelines::status::StatusBoard;
use tidemark_schemas::{Catalog, Entity};
use tokio_util::sync::CancellationToken;

use crate::rows::{Kind, NARROW};

/// Of every topic: what is measured is the road of one partition, and the n-th record is the n-th that a stage applies.
pub(crate) const PARTITIONS: u32 = 1;

/// The log of one run.
pub(crate) struct Topic {
    pub(crate) log: Arc<KafkaLog>,
    pub(crate) identity: LogIdentity,
    pub(crate) topics: Topics,
    pub(crate) catalog: Arc<Catalog>,
}

impl Topic {
    /// Opens the log of this prefix, making it where it is not there yet.
    pub(crate) async fn open(brokers: &str, prefix: &str) -> Result<Self> {
        let log = KafkaLog::open(KafkaOptions::new(brokers, prefix)).await.context("opening the log")?;
        let topic =
            Self { identity: log.identity(), log: Arc::new(log), topics: Topics::new(prefix), catalog: Arc::new(catalog()?) };
        topic.pipeline(Arc::clone(&topic.log) as Arc<dyn Log>).prepare(PARTITIONS).await.context("preparing the topics")?;
        Ok(topic)
    }

    /// What stages share, on this log or on one that wraps it.
    pub(crate) fn pipeline(&self, log: Arc<dyn Log>) -> Pipeline {
        Pipeline {
            log,
            topics: self.topics.clone(),
            catalog: Arc::clone(&self.catalog),
            board: StatusBoard::default(),
            shutdown: CancellationToken::new(),
        }
    }

    pub(crate) fn entity(&self, kind: Kind) -> Result<Arc<Entity>> {
        self.catalog.entity(kind.name()).cloned().with_context(|| format!("no entity {}", kind.name()))
    }
}

/// What the program knows that reads the folder with the added entity.
pub(crate) fn catalog() -> Result<Catalog> {
    let (name, text) = NARROW;
    Catalog::with_files(&[(name.to_owned(), text.to_owned())]).map_err(|problems| anyhow!("{problems:?}"))
}
