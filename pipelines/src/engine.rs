//! The engine: runs connectors, the fold and sinks, each in a supervised task of its own.
//!
//! Guarantees: every stage reads, applies and moves its position last; what failed is repeated by class with back-off, and a
//! failed stage starts anew by itself and says on the board why; all queues are bounded in bytes (a batch in hand and one read
//! ahead); shutdown ends a stage between two batches.
//! Relies on idempotent adapters: whatever has an unknown outcome is done again from the committed positions.
//! Does not do: locks against other processes (the binary holds them), or end the process.

pub(crate) mod caught_up;
pub(crate) mod connector;
pub(crate) mod cursors;
pub(crate) mod failure;
pub(crate) mod membership;
pub(crate) mod report;
mod retry;
pub mod schemas;
pub(crate) mod sink;
pub(crate) mod supervise;

use std::path::PathBuf;
use std::sync::Arc;

use tidemark_connector_core::Connector;
use tidemark_log::{Log, LogError, Topics};
use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tokio_util::sync::CancellationToken;

use self::cursors::Part;
use crate::fold::shared::FoldStage;
use crate::status::StatusBoard;

/// What all stages share.
#[derive(Clone)]
pub struct Pipeline {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Topic names.
    pub topics: Topics,
    /// Entities.
    pub catalog: Arc<Catalog>,
    /// Where stages report.
    pub board: StatusBoard,
    /// Cancelled to drain and stop.
    pub shutdown: CancellationToken,
}

/// Bounds of one stage's batches and queue.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Records per batch.
    pub records_max: usize,
    /// Bytes read per batch; one batch is in hand and one is read ahead (by the fold decided already).
    pub bytes_max: usize,
}

impl BatchLimits {
    /// Of the fold: larger batches share a commit among more records, but keep a single record waiting longer under load.
    pub const FOLD: Self = Self { records_max: 8_000, bytes_max: 8 << 20 };
    /// Of a sink: larger transactions save the stores little, except where an adapter says so.
    pub const SINK: Self = Self { records_max: 8_000, bytes_max: 8 << 20 };

    /// The same for so many batches at once: more records within the same bytes, which are what memory depends on.
    pub(crate) fn holding(self, batches: usize) -> Self {
        Self { records_max: self.records_max.saturating_mul(batches), ..self }
    }

    /// Whether a batch is so large that there is probably more: it fills at least half.
    pub(crate) fn are_near(self, parts: &[Part]) -> bool {
        2 * cursors::records_of(parts) >= self.records_max || 2 * cursors::bytes_of(parts) >= self.bytes_max
    }
}

impl Pipeline {
    /// Creates the topics, publishes this process's writer schemas on the progress topic and learns those found there.
    pub async fn prepare(&self, partitions: u32) -> Result<(), LogError> {
        let names = self.catalog.entities().iter().map(|entity| entity.name.as_str());
        self.log.create_topics(&self.topics.specs(names, partitions)).await?;
        schemas::publish_and_learn(self).await
    }

    /// Tells the log by which schemas this process writes, so that a schema registry beside it knows them. Every stage does so
    /// itself before it runs.
    pub async fn declare_schemas(&self) -> Result<(), LogError> {
        schemas::declare(&*self.log, &self.topics, &self.catalog).await
    }

    /// Runs a connector until shutdown. Stage name `connector.<source>`.
    pub async fn run_connector(&self, connector: Box<dyn Connector>) {
        let stage = format!("connector.{}", connector.source());
        supervise::run(self, &stage, connector::ConnectorStage::new(self, connector)).await;
    }

    /// Runs the fold until shutdown, its cache under `cache` (where workers share the partitions, `cache/<p>` for each number).
    /// Stage name `fold`.
    pub async fn run_fold(&self, cache: PathBuf, limits: BatchLimits) {
        supervise::run(self, "fold", FoldStage::new(self, cache, limits)).await;
    }

    /// Runs a sink until shutdown. Stage name `sink.<role>`.
    pub async fn run_sink(&self, sink: Box<dyn Sink>, limits: BatchLimits) {
        let stage = format!("sink.{}", sink.role().name());
        supervise::run(self, &stage, sink::SinkStage::new(self, sink, limits)).await;
    }

    /// Waits until the stages have passed what stands in the log now: the fold (`fold`) the ends of all changes, then the
    /// sinks among them (`sink.<role>`) the ends of all states as they are then. Stages of this process only, but for the
    /// fold, whose positions are in the log. `false` when shutdown came first.
    ///
    /// Connectors are not waited for: their line on the board is `quiet` when all that they took in is decided.
    pub async fn caught_up(&self, stages: &[&str]) -> Result<bool, LogError> {
        caught_up::wait(self, stages).await
    }
}

/// Runs work that computes for long or waits for the disk, without holding up the other tasks of a multi-thread runtime.
/// On a single-thread one (simulations) it just runs, so that what happens when stays the same.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}
