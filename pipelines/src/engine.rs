//! The engine: runs connectors, the fold and sinks, each in a supervised task of its own.

use std::path::PathBuf;
use std::sync::Arc;

use tidemark_connector_core::Connector;
use tidemark_log::{Log, Topics};
use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tokio_util::sync::CancellationToken;

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
    /// Bytes per batch.
    pub bytes_max: usize,
}

impl Pipeline {
    /// Creates the topics, publishes this process's writer schemas on the progress topic and learns those found there.
    pub async fn prepare(&self, partitions: u32) -> Result<(), tidemark_log::LogError> {
        let _ = partitions;
        todo!()
    }

    /// Runs a connector until shutdown. Stage name `connector.<source>`.
    pub async fn run_connector(&self, connector: Box<dyn Connector>) {
        let _ = connector;
        todo!()
    }

    /// Runs the fold until shutdown, its cache under `cache`. Stage name `fold`.
    pub async fn run_fold(&self, cache: PathBuf, limits: BatchLimits) {
        let _ = (cache, limits);
        todo!()
    }

    /// Runs a sink until shutdown. Stage name `sink.<role>`.
    pub async fn run_sink(&self, sink: Box<dyn Sink>, limits: BatchLimits) {
        let _ = (sink, limits);
        todo!()
    }
}
