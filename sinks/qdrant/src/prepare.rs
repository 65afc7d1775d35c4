//! Rows made ready to be sent: which of them are newer than what is stored, with their vectors.
//!
//! Of a stored point the version says whether the row is written, and the hash whether its vector still fits: then it is read back
//! and written again with the rest, so that a point is always written whole. All other texts go to the embedder together. Nothing is
//! read for a row above all that was ever sent ([`tidemark_sink_core::versions`]) where its text costs less to embed again.

use std::collections::HashMap;

use qdrant_client::qdrant::{PointId, PointStruct, RetrievedPoint};
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::points::{PointKind, embed, text_hash};
use tidemark_sink_core::{SinkBatch, SinkError, SinkRow};

use crate::client::{Client, Order, Wanted};
use crate::collections::gone;
use crate::payload::{self, Stored, TEXT_HASH, TURN, VERSION};
use crate::write::epoch_of;

/// A row with its entity.
pub(crate) type Row<'r, 'b> = (&'r SinkRow<'b>, &'r PointKind);

/// What rows are held against.
pub(crate) struct Gate<'g> {
    pub(crate) client: &'g Client,
    pub(crate) order: Order,
    pub(crate) embedder: &'g dyn Embedder,
    pub(crate) epoch: u64,
    /// For each part of the batch: whether rows are written that are not older.
    pub(crate) refreshing: &'g [bool],
    /// For each part of the batch: the lowest version that was never sent to the store.
    pub(crate) unused: &'g [u64],
}

/// A point that is to be written, for a row.
pub(crate) struct Prepared<'r, 'b> {
    pub(crate) row: &'r SinkRow<'b>,
    pub(crate) point: PointStruct,
}

/// A row that passes the gate.
struct Passing<'r, 'b> {
    row: &'r SinkRow<'b>,
    kind: &'r PointKind,
    id: PointId,
    text: String,
    text_hash: i64,
    vector: Option<Vec<f32>>,
}

impl Gate<'_> {
    /// The points of those rows that are written, as request `turn` writes them.
    pub(crate) async fn prepare<'r, 'b>(
        &self,
        batch: &SinkBatch,
        collection: &str,
        rows: &[Row<'r, 'b>],
        turn: u64,
    ) -> Result<Vec<Prepared<'r, 'b>>, SinkError> {
        let (mut passing, kept) = self.pass(collection, rows).await?;
        self.read_vectors(collection, &mut passing, &kept).await?;
        let without: Vec<usize> = (0..passing.len()).filter(|index| passing[*index].vector.is_none()).collect();
        let texts: Vec<(&SinkRow<'_>, &str)> =
            without.iter().map(|index| (passing[*index].row, passing[*index].text.as_str())).collect();
        let vectors = embed(self.embedder, batch, &texts).await?;
        for (index, vector) in without.into_iter().zip(vectors) {
            passing[index].vector = Some(vector);
        }
        let prepared = passing.into_iter().map(|Passing { row, kind, text_hash, vector, .. }| Prepared {
            row,
            point: payload::point(kind, &row.state, text_hash, turn, vector.expect("all that had none were embedded")),
        });
        Ok(prepared.collect())
    }

    /// The rows that are newer than what is stored, and which of them have a stored vector that may fit.
    async fn pass<'r, 'b>(
        &self,
        collection: &str,
        rows: &[Row<'r, 'b>],
    ) -> Result<(Vec<Passing<'r, 'b>>, Vec<usize>), SinkError> {
        let ids: Vec<PointId> = rows.iter().map(|(row, kind)| payload::id(kind, &row.state.key)).collect();
        let wanted = Wanted { fields: &[VERSION, TEXT_HASH, TURN], vectors: false };
        let is_above = |row: &SinkRow<'_>| row.state.version >= self.unused[row.part];
        let looked_at = rows.iter().zip(&ids).filter(|((row, _), _)| !(self.embedder.is_at_hand() && is_above(row)));
        let found = self.read(collection, looked_at.map(|(_, id)| id.clone()).collect(), wanted).await?;
        let stored: HashMap<&PointId, Stored> =
            found.iter().filter_map(|point| Some((payload::id_of(point)?, Stored::of(point)))).collect();
        let identity = self.embedder.identity();
        let (mut passing, mut kept) = (Vec::with_capacity(rows.len()), Vec::new());
        for ((row, kind), id) in rows.iter().zip(ids) {
            let known = stored.get(&id);
            if let Some(owner) = known.map(|known| epoch_of(known.turn)).filter(|owner| *owner > self.epoch) {
                let text = format!("{} has points of writer epoch {owner}, this writer has {}", self.client.place, self.epoch);
                return Err(SinkError::Stale(text));
            }
            let version = row.state.version;
            let refreshing = self.refreshing[row.part];
            if known.is_some_and(|known| known.version > version || (known.version == version && !refreshing)) {
                continue;
            }
            let text = kind.text(&row.state);
            let text_hash = text_hash(&identity, &text);
            if known.is_some_and(|known| known.text_hash == Some(text_hash)) {
                kept.push(passing.len());
            }
            passing.push(Passing { row, kind, id, text, text_hash, vector: None });
        }
        Ok((passing, kept))
    }

    /// Reads the vectors that still fit; what changed in between is embedded.
    async fn read_vectors(&self, collection: &str, passing: &mut [Passing<'_, '_>], kept: &[usize]) -> Result<(), SinkError> {
        if kept.is_empty() {
            return Ok(());
        }
        let ids = kept.iter().map(|index| passing[*index].id.clone()).collect();
        let wanted = Wanted { fields: &[TEXT_HASH], vectors: true };
        let found = self.read(collection, ids, wanted).await?;
        let mut vectors: HashMap<PointId, (Option<i64>, Vec<f32>)> = HashMap::new();
        for point in found {
            let (hash, vector) = (Stored::of(&point).text_hash, payload::vector_of(&point));
            if let (Some(id), Some(vector)) = (point.id, vector) {
                vectors.insert(id, (hash, vector));
            }
        }
        for index in kept {
            let row = &mut passing[*index];
            let fits = |(hash, vector): &(Option<i64>, Vec<f32>)| {
                *hash == Some(row.text_hash) && vector.len() == self.embedder.dimensions()
            };
            row.vector = vectors.remove(&row.id).filter(fits).map(|(_, vector)| vector);
        }
        Ok(())
    }

    async fn read(&self, collection: &str, ids: Vec<PointId>, wanted: Wanted<'_>) -> Result<Vec<RetrievedPoint>, SinkError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.client.points(collection, ids, wanted, self.order).await?.ok_or_else(|| gone(self.client, collection))
    }
}
