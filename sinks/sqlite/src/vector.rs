//! The vector store: `point(collection, entity, key, id, text_hash, version, deleted_at, payload, vector)`.
//!
//! A record of an entity with a vector template is a point. Its text is embedded only when it differs from the one that its
//! vector was made of (a hash over text and embedder says so); what changes beside it is written without. A deleted record keeps
//! its point, marked. Vectors are normalised f32, little endian.
//!
//! Relies on the embedder's identity being in each entity's fingerprint: another embedder reads every state again.

mod payload;
pub mod search;

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use tidemark_schemas::Catalog;
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::points::{self, PointKind, derivation, text_hash};
use tidemark_sink_core::{Role, SinkBatch, SinkError, SinkRow};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::failure::{Failure, fatal};
use crate::meta;
use crate::statement::Ladder;
use crate::store::Adapter;
use payload::write_payload;

/// Raised when the same row would be kept otherwise.
const FORMAT: u64 = 1;
/// Points per step: bounds the vectors in memory, and what a refusal must be looked for in.
const POINTS_PER_STEP: usize = 512;
/// A point is about 1.5 KB: larger pages waste less at their ends.
const PAGE_BYTES: u32 = 8_192;

/// The statement that makes the table: what a bare writer needs to compare itself with this store.
pub fn ddl() -> &'static str {
    "CREATE TABLE IF NOT EXISTS point(
  collection TEXT NOT NULL,
  entity TEXT NOT NULL,
  key TEXT NOT NULL,
  id TEXT NOT NULL,
  text_hash INTEGER NOT NULL,
  version INTEGER NOT NULL,
  deleted_at TEXT,
  payload TEXT NOT NULL,
  vector BLOB NOT NULL,
  PRIMARY KEY(entity, key)
)"
}

/// The adapter.
pub(crate) struct Vector {
    catalog: Arc<Catalog>,
    /// What is wrong with the templates is told when the store is opened.
    kinds: Result<BTreeMap<String, PointKind>, String>,
    embedder: Arc<dyn Embedder>,
    upsert: Ladder,
}

/// A row that is to be written.
struct Pending<'r, 'b> {
    row: &'r SinkRow<'b>,
    text: String,
    text_hash: i64,
    /// Where its vector is in the step's vectors; `None` = the stored one stays.
    vector: Option<usize>,
}

impl Vector {
    pub(crate) fn new(catalog: Arc<Catalog>, embedder: Arc<dyn Embedder>) -> Self {
        let head = "INSERT INTO point(collection, entity, key, id, text_hash, version, deleted_at, payload, vector)";
        let sets = "collection = excluded.collection, text_hash = excluded.text_hash, version = excluded.version, \
                    deleted_at = excluded.deleted_at, payload = excluded.payload, vector = excluded.vector";
        let upsert = Ladder::insert(head, 9, &format!("ON CONFLICT(entity, key) DO UPDATE SET {sets}"));
        Self { kinds: points::kinds(&catalog), catalog, embedder, upsert }
    }

    /// The rows that pass the gate, with the texts of those whose vector must be made.
    fn pending<'r, 'b>(
        &self,
        connection: &Connection,
        kind: &PointKind,
        rows: &'r [SinkRow<'b>],
        refreshing: bool,
    ) -> Result<Vec<Pending<'r, 'b>>, rusqlite::Error> {
        let mut stored = connection.prepare_cached("SELECT version, text_hash FROM point WHERE entity = ? AND key = ?")?;
        let identity = self.embedder.identity();
        let mut pending = Vec::with_capacity(rows.len());
        let mut vectors = 0;
        for row in rows {
            let version = row.state.version.cast_signed();
            let known: Option<(i64, i64)> = stored
                .query_row(params![kind.entity.name, row.state.key], |found| Ok((found.get(0)?, found.get(1)?)))
                .optional()?;
            if known.is_some_and(|(stored, _)| stored > version || (stored == version && !refreshing)) {
                continue;
            }
            let text = kind.text(&row.state);
            let text_hash = text_hash(&identity, &text);
            let kept = known.is_some_and(|(_, known)| known == text_hash);
            let vector = (!kept).then_some(vectors);
            vectors += usize::from(!kept);
            pending.push(Pending { row, text, text_hash, vector });
        }
        Ok(pending)
    }

    /// The vectors of all texts that need one, in order.
    fn embed(&self, batch: &SinkBatch, pending: &[Pending<'_, '_>]) -> Result<Vec<Vec<f32>>, SinkError> {
        let rows = pending.iter().filter(|row| row.vector.is_some());
        let rows: Vec<(&SinkRow<'_>, &str)> = rows.map(|pending| (pending.row, pending.text.as_str())).collect();
        Handle::current().block_on(points::embed(&*self.embedder, batch, &rows))
    }

    fn write_step(
        &self,
        connection: &Connection,
        kind: &PointKind,
        pending: &[Pending<'_, '_>],
        vectors: &[Vec<f32>],
    ) -> Result<(), Failure> {
        let made: Vec<(&Pending<'_, '_>, &Vec<f32>)> =
            pending.iter().filter_map(|row| Some((row, &vectors[row.vector?]))).collect();
        let mut bytes = Vec::new();
        self.upsert.run(connection, &made, |binder, (pending, vector)| {
            let state = &pending.row.state;
            bytes.clear();
            bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
            binder.value(kind.collection.as_str())?;
            binder.value(kind.entity.name.as_str())?;
            binder.value(state.key.as_ref())?;
            let id = kind.id(&state.key);
            binder.value(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))?;
            binder.value(pending.text_hash)?;
            binder.value(state.version.cast_signed())?;
            binder.moment(state.deleted.then_some(state.changed_at))?;
            binder.written(|out| write_payload(kind, state, out))?;
            binder.value(bytes.as_slice())
        })?;
        let sql = "UPDATE point SET collection = ?, version = ?, deleted_at = ?, payload = ? WHERE entity = ? AND key = ?";
        let mut keep = connection.prepare_cached(sql)?;
        let mut payload = String::new();
        for pending in pending.iter().filter(|row| row.vector.is_none()) {
            let state = &pending.row.state;
            payload.clear();
            write_payload(kind, state, &mut payload);
            let deleted_at = state.deleted.then(|| tidemark_schemas::json::timestamp_text(state.changed_at));
            let version = state.version.cast_signed();
            keep.execute(params![kind.collection, version, deleted_at, payload, kind.entity.name, state.key])?;
        }
        Ok(())
    }
}

impl Adapter for Vector {
    fn role(&self) -> Role {
        Role::Vector
    }

    fn page_bytes(&self) -> u32 {
        PAGE_BYTES
    }

    fn keeps(&self, entity: &str) -> bool {
        self.kinds.as_ref().is_ok_and(|kinds| kinds.contains_key(entity))
    }

    fn fingerprints(&self) -> Vec<(String, u64)> {
        let embedder = self.embedder.identity();
        self.catalog.entities().iter().map(|entity| (entity.name.clone(), derivation(entity, &embedder, FORMAT))).collect()
    }

    fn create(&self, connection: &Connection) -> Result<(), Failure> {
        if let Err(problem) = &self.kinds {
            return Err(fatal("making the vector store".to_owned(), problem.clone()).into());
        }
        connection.execute_batch(ddl())?;
        meta::set(connection, search::EMBEDDER, self.embedder.identity())?;
        Ok(())
    }

    fn write(&self, connection: &Connection, batch: &SinkBatch, rows: &[SinkRow<'_>], refreshing: bool) -> Result<u64, Failure> {
        let Some((row, kinds)) = rows.first().zip(self.kinds.as_ref().ok()) else { return Ok(0) };
        let Some(kind) = kinds.get(&batch.parts[row.part].entity.name) else { return Ok(0) };
        let mut written = 0;
        for step in rows.chunks(POINTS_PER_STEP) {
            let pending = self.pending(connection, kind, step, refreshing)?;
            let vectors = self.embed(batch, &pending)?;
            self.write_step(connection, kind, &pending, &vectors)?;
            written += pending.len() as u64;
        }
        Ok(written)
    }

    fn is_dear(&self) -> bool {
        true
    }

    fn tables(&self) -> Vec<String> {
        vec!["point".to_owned()]
    }
}
