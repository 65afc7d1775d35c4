//! Entities that are edges: one edge for each record, known by the record that owns it.
//!
//! Its ends and type may change with the record, so the old edge is found by its owner. A record that lacks an end is kept as
//! an edge from nowhere, marked deleted: its version still refuses what comes late.

use rusqlite::{Connection, params};
use tidemark_schemas::attributes::EdgeShape;
use tidemark_schemas::{Entity, text};
use tidemark_sink_core::SinkRow;
use tidemark_sink_core::graph::{EdgeFields, EntityEdge, owner_rank};

use super::vertices::write_scalars;

/// Writes such entities, a row at a time: they are the catalog's relations, hundreds rather than millions.
#[derive(Debug)]
pub(super) struct EntityEdges {
    remove_newer: &'static str,
    remove_not_older: &'static str,
    insert: &'static str,
}

impl EntityEdges {
    pub(super) fn new() -> Self {
        Self {
            remove_newer: "DELETE FROM edge WHERE owner = ? AND version < ?",
            remove_not_older: "DELETE FROM edge WHERE owner = ? AND version <= ?",
            // An owner whose edge was not removed has a newer one: the unique index on the owner keeps it.
            insert: "INSERT INTO edge(src, type, dst, rank, version, deleted_at, props, owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
                     ON CONFLICT DO NOTHING",
        }
    }

    /// Writes the rows behind the gate; returns how many.
    pub(super) fn write(
        &self,
        connection: &Connection,
        entity: &Entity,
        shape: &EdgeShape,
        rows: &[SinkRow<'_>],
        refreshing: bool,
    ) -> Result<u64, rusqlite::Error> {
        let fields = EdgeFields::of(entity, shape);
        let mut remove = connection.prepare_cached(if refreshing { self.remove_not_older } else { self.remove_newer })?;
        let mut insert = connection.prepare_cached(self.insert)?;
        let mut written = 0;
        for row in rows {
            let state = &row.state;
            let owner = format!("{}:{}", entity.name, state.key);
            let version = state.version.cast_signed();
            remove.execute(params![owner, version])?;
            let EntityEdge { source, target, kind } = fields.read(&state.row);
            let gone = state.deleted || source.is_none() || target.is_none();
            let mut deleted_at = String::new();
            text::write_timestamp(state.changed_at, &mut deleted_at);
            let mut props = String::new();
            write_scalars(entity, &state.row, &mut props);
            let changed = insert.execute(params![
                source.unwrap_or_default(),
                kind,
                target.unwrap_or_default(),
                owner_rank(&owner),
                version,
                gone.then_some(deleted_at),
                props,
                owner
            ])?;
            written += changed as u64;
        }
        Ok(written)
    }
}
