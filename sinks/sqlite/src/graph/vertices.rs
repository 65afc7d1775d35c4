//! Vertices with the out-edges that their references are.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension};
use tidemark_schemas::entity::FieldType;
use tidemark_schemas::{Cell, Entity, Key};
use tidemark_sink_core::SinkRow;
use tidemark_sink_core::graph::each_target;

use crate::owned::Owned;
use crate::properties::Object;
use crate::statement::{Binder, INSERT, Ladder, insert_or_replace};

/// The statements, shared by all entities.
#[derive(Debug)]
pub(super) struct Vertices {
    insert: Ladder,
    replace: Ladder,
    insert_edge: Ladder,
    replace_edge: Ladder,
}

/// The statements with one entity.
pub(super) struct OfEntity<'v> {
    statements: &'v Vertices,
    entity: &'v Entity,
    /// What an edge's source begins with.
    prefix: String,
}

/// The out-edges of some rows, their texts in one buffer.
struct Edges<'r> {
    texts: String,
    list: Vec<Edge<'r>>,
}

struct Edge<'r> {
    source: Range<usize>,
    kind: &'r str,
    target: Range<usize>,
    rank: i64,
}

impl Vertices {
    pub(super) fn new() -> Self {
        let vertex = "INTO vertex(vid, tag, version, deleted_at, props)";
        let edge = "INTO edge(src, type, dst, rank, props)";
        let sets = "tag = excluded.tag, version = excluded.version, deleted_at = excluded.deleted_at, props = excluded.props";
        Self {
            insert: Ladder::insert(&format!("{INSERT} {vertex}"), 5, "ON CONFLICT(vid) DO NOTHING"),
            replace: Ladder::insert(&format!("INSERT {vertex}"), 5, &format!("ON CONFLICT(vid) DO UPDATE SET {sets}")),
            insert_edge: Ladder::insert(&format!("{INSERT} {edge}"), 5, "ON CONFLICT(src, type, dst, rank) DO NOTHING"),
            replace_edge: Ladder::insert(&format!("INSERT OR REPLACE {edge}"), 5, ""),
        }
    }

    pub(super) fn of<'v>(&'v self, entity: &'v Entity) -> OfEntity<'v> {
        OfEntity { statements: self, entity, prefix: format!("{}:", entity.name) }
    }
}

impl OfEntity<'_> {
    fn vid(&self, row: &SinkRow<'_>, out: &mut String) {
        out.push_str(&self.prefix);
        out.push_str(&row.state.key);
    }

    /// The out-edges of the live ones of the rows.
    fn edges<'r>(&'r self, rows: &[&'r SinkRow<'_>]) -> Edges<'r> {
        let mut texts = String::new();
        let mut list = Vec::new();
        for &row in rows.iter().filter(|row| !row.state.deleted) {
            let start = texts.len();
            self.vid(row, &mut texts);
            let source = start..texts.len();
            for reference in &self.entity.references {
                each_target(reference, &row.state.row, |entity, code, rank| {
                    let start = texts.len();
                    texts.push_str(entity);
                    texts.push(':');
                    Key::write_part(&code, &mut texts);
                    let target = start..texts.len();
                    list.push(Edge { source: source.clone(), kind: &reference.reference.edge, target, rank });
                });
            }
        }
        Edges { texts, list }
    }

    fn bind(&self, binder: &mut Binder<'_, '_>, row: &SinkRow<'_>) -> Result<(), rusqlite::Error> {
        let state = &row.state;
        binder.written(|out| self.vid(row, out))?;
        binder.value(self.entity.name.as_str())?;
        binder.value(state.version.cast_signed())?;
        binder.moment(state.deleted.then_some(state.changed_at))?;
        binder.written(|out| write_scalars(self.entity, &state.row, out))
    }
}

impl Owned for OfEntity<'_> {
    fn insert(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<usize, rusqlite::Error> {
        self.statements.insert.run(connection, rows, |binder, row| self.bind(binder, row))
    }

    fn stored_version(&self, connection: &Connection, row: &SinkRow<'_>) -> Result<Option<i64>, rusqlite::Error> {
        let mut vid = String::new();
        self.vid(row, &mut vid);
        let mut statement = connection.prepare_cached("SELECT version FROM vertex WHERE vid = ?")?;
        statement.query_row([vid], |row| row.get(0)).optional()
    }

    fn replace(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error> {
        self.statements.replace.run(connection, rows, |binder, row| self.bind(binder, row)).map(|_| ())
    }

    /// Most updates change no reference: then the edges are read and left as they are.
    fn replace_owned(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error> {
        let mut stored = connection.prepare_cached("SELECT type, dst, rank FROM edge WHERE src = ? AND owner IS NULL")?;
        let mut remove = connection.prepare_cached("DELETE FROM edge WHERE src = ? AND owner IS NULL")?;
        let mut changed = Vec::new();
        for &row in rows {
            let edges = self.edges(&[row]);
            let mut source = String::new();
            self.vid(row, &mut source);
            if !edges.are(&mut stored.query([&source])?)? {
                remove.execute([&source])?;
                changed.push(row);
            }
        }
        self.insert_owned(connection, &changed)
    }

    fn insert_owned(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error> {
        let edges = self.edges(rows);
        let bind = |binder: &mut Binder<'_, '_>, edge: &Edge<'_>| {
            binder.value(edges.text(&edge.source))?;
            binder.value(edge.kind)?;
            binder.value(edges.text(&edge.target))?;
            binder.value(edge.rank)?;
            binder.value("{}")
        };
        insert_or_replace(&self.statements.insert_edge, &self.statements.replace_edge, connection, &edges.list, bind)
    }
}

impl Edges<'_> {
    fn text(&self, range: &Range<usize>) -> &str {
        &self.texts[range.clone()]
    }

    /// Whether the stored edges are these, in whatever order.
    fn are(&self, stored: &mut rusqlite::Rows<'_>) -> Result<bool, rusqlite::Error> {
        let mut count = 0;
        while let Some(row) = stored.next()? {
            let (kind, target, rank) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?, row.get::<_, i64>(2)?);
            let known = |edge: &Edge<'_>| edge.kind == kind && edge.rank == rank && self.text(&edge.target) == target;
            if !self.list.iter().any(known) {
                return Ok(false);
            }
            count += 1;
        }
        Ok(count == self.list.len())
    }
}

/// The scalar columns as a JSON object, nulls left out.
pub(super) fn write_scalars(entity: &Entity, row: &[Cell<'_>], out: &mut String) {
    let mut object = Object::begin(out);
    for column in &entity.columns {
        match column.path.get(row) {
            Cell::Array(_) | Cell::Null => {}
            cell @ Cell::Decimal(value) => {
                let kind = FieldType::Decimal { precision: 28, scale: value.scale() };
                object.cell(&column.name, &kind, cell);
            }
            cell => object.cell(&column.name, &FieldType::Bool, cell),
        }
    }
    object.end();
}
