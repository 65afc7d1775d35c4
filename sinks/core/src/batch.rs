//! Batches of after-images on their way into a store.
//!
//! A batch carries raw records, cheap to hand to the store's own thread, which decodes them there, borrowed. Within a batch
//! only the last version of a key is written ([`SinkBatch::collapse`]).

use std::collections::HashSet;
use std::sync::Arc;

use tidemark_log::RecordBatch;
use tidemark_schemas::{Catalog, Entity, State};

use crate::port::RejectedRow;

/// State records of one partition of one entity.
#[derive(Debug, Clone)]
pub struct TopicBatch {
    /// The entity.
    pub entity: Arc<Entity>,
    /// The partition.
    pub partition: u32,
    /// Where the store stands before it.
    pub from: u64,
    /// Where it stands after it.
    pub next: u64,
    /// The records.
    pub records: Arc<RecordBatch>,
}

/// What is applied in one go.
#[derive(Debug, Clone)]
pub struct SinkBatch {
    /// Decodes the records.
    pub catalog: Arc<Catalog>,
    /// Never two parts of the same entity and partition.
    pub parts: Vec<TopicBatch>,
    /// Records that were refused before: (entity, partition, offset).
    pub excluded: HashSet<(String, u32, u64)>,
}

/// One after-image to be written.
#[derive(Debug)]
pub struct SinkRow<'b> {
    /// Index into [`SinkBatch::parts`].
    pub part: usize,
    /// Offset on the state topic.
    pub offset: u64,
    /// The decoded record.
    pub state: State<'b>,
}

impl SinkBatch {
    /// The last version of each key, by part, then key ascending (stores take sorted keys more cheaply), and the number of
    /// records that were superseded within the batch. Undecodable records are returned as refused.
    #[allow(
        clippy::type_complexity,
        reason = "a pair of results; naming it would say less"
    )]
    pub fn collapse(&self) -> Result<(Vec<SinkRow<'_>>, u64), Vec<RejectedRow>> {
        todo!()
    }
}
