//! Entities that are edges: one edge for each record, known by the record that owns it.
//!
//! Its ends and type may change with the record, so the old edge is found by its owner. A record that lacks an end is kept as
//! an edge from nowhere, marked deleted: its version still refuses what comes late.

use rusqlite::{Connection, params};
use tidemark_schemas::attributes::EdgeShape;
use tidemark_schemas::entity::FieldPath;
use tidemark_schemas::{Cell, Entity, text};
use tidemark_sink_core::SinkRow;

use super::owner_rank;
use super::vertices::{code_of, write_key, write_scalars};

/// Writes such entities, a row at a time: they are the catalog's relations, hundreds rather than millions.
#[derive(Debug)]
pub(super) struct EntityEdges {
    remove_newer: &'static str,
    remove_not_older: &'static str,
    insert: &'static str,
}

/// The fields that name an edge's ends and type.
struct Ends<'e> {
    from: (&'e FieldPath, &'e FieldPath),
    to: (&'e FieldPath, &'e FieldPath),
    kind: Option<&'e FieldPath>,
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
        let ends = Ends::of(entity, shape);
        let mut remove = connection.prepare_cached(if refreshing { self.remove_not_older } else { self.remove_newer })?;
        let mut insert = connection.prepare_cached(self.insert)?;
        let mut written = 0;
        for row in rows {
            let state = &row.state;
            let owner = format!("{}:{}", entity.name, state.key);
            let version = state.version.cast_signed();
            remove.execute(params![owner, version])?;
            let (source, target) = (vid(&state.row, ends.from), vid(&state.row, ends.to));
            let kind = ends.kind.and_then(|path| path.get(&state.row).as_text());
            let kind = kind.map_or_else(|| entity.name.clone(), str::to_lowercase);
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

impl<'e> Ends<'e> {
    fn of(entity: &'e Entity, shape: &EdgeShape) -> Self {
        let path = |name: &String| {
            let column = entity.columns.iter().find(|column| column.path.dotted == *name);
            &column.expect("a schema whose edge names anything but a text field of its own does not compile").path
        };
        let pair = |(kind, code): &(String, String)| (path(kind), path(code));
        Self { from: pair(&shape.from), to: pair(&shape.to), kind: shape.edge_type.as_ref().map(path) }
    }
}

/// `<lower(type)>:<code>`; nothing when a part is null.
fn vid(row: &[Cell<'_>], (kind, code): (&FieldPath, &FieldPath)) -> Option<String> {
    let mut vid = kind.get(row).as_text()?.to_lowercase();
    vid.push(':');
    write_key(&code_of(code.get(row))?, &mut vid);
    Some(vid)
}
