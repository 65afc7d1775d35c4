//! The graph store: `vertex(vid, tag, props, version, deleted_at)` and `edge(src, dst, type, rank, props, version, deleted_at)`.
//!
//! A record is a vertex `<entity>:<key>`; each of its references is an edge from it. Such an edge belongs to the record that
//! holds the reference (`owner` is null: it is `src`): it is replaced whenever that record is, goes when it is deleted, and
//! stays when its target is deleted or was never there. It has no version of its own (null: its holder's counts), so an update
//! that changes no reference writes no edge. An entity that *is* an edge has no vertex; its edge is known by its
//! owning record (`owner`), keeps its own version, and when deleted stays, marked, so that a late event cannot revive it.
//!
//! There is no index on `dst`: nothing here reads edges backwards, and it would cost as much as the edges themselves.

mod edges;
mod vertices;

use std::sync::Arc;

use rusqlite::Connection;
use tidemark_schemas::Catalog;
use tidemark_schemas::attributes::Graph as Shape;
use tidemark_sink_core::{Role, SinkBatch, SinkRow};

use crate::failure::Failure;
use crate::owned;
use crate::store::Adapter;
use edges::EntityEdges;
use vertices::Vertices;

/// Raised when the same row would be kept otherwise.
const FORMAT: u64 = 1;

/// The statements that make both tables: what a bare writer needs to compare itself with this store.
pub fn ddl() -> Vec<String> {
    let vertex = "CREATE TABLE IF NOT EXISTS vertex(\n  vid TEXT PRIMARY KEY NOT NULL,\n  tag TEXT NOT NULL,\n  \
                  version INTEGER NOT NULL,\n  deleted_at TEXT,\n  props TEXT NOT NULL\n)";
    let edge = "CREATE TABLE IF NOT EXISTS edge(\n  src TEXT NOT NULL,\n  type TEXT NOT NULL,\n  dst TEXT NOT NULL,\n  \
                rank INTEGER NOT NULL,\n  version INTEGER,\n  deleted_at TEXT,\n  props TEXT NOT NULL,\n  owner TEXT,\n  \
                PRIMARY KEY(src, type, dst, rank)\n) WITHOUT ROWID";
    let owner = "CREATE UNIQUE INDEX IF NOT EXISTS edge_owner ON edge(owner) WHERE owner IS NOT NULL";
    vec![vertex.to_owned(), edge.to_owned(), owner.to_owned()]
}

/// The adapter.
#[derive(Debug)]
pub(crate) struct Graph {
    catalog: Arc<Catalog>,
    vertices: Vertices,
    edges: EntityEdges,
}

impl Graph {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, vertices: Vertices::new(), edges: EntityEdges::new() }
    }
}

impl Adapter for Graph {
    fn role(&self) -> Role {
        Role::Graph
    }

    fn keeps(&self, entity: &str) -> bool {
        self.catalog.entity(entity).is_some()
    }

    fn fingerprints(&self) -> Vec<(String, u64)> {
        self.catalog.entities().iter().map(|entity| (entity.name.clone(), entity.derivation ^ FORMAT)).collect()
    }

    fn create(&self, connection: &Connection) -> Result<(), Failure> {
        for statement in ddl() {
            connection.execute_batch(&statement)?;
        }
        Ok(())
    }

    fn write(&self, connection: &Connection, batch: &SinkBatch, rows: &[SinkRow<'_>], refreshing: bool) -> Result<u64, Failure> {
        let Some(first) = rows.first() else { return Ok(0) };
        let entity = &batch.parts[first.part].entity;
        let written = match &entity.graph {
            Shape::Vertex => owned::write(&self.vertices.of(entity), connection, rows, refreshing)?,
            Shape::Edge(shape) => self.edges.write(connection, entity, shape, rows, refreshing)?,
        };
        Ok(written)
    }

    fn tables(&self) -> Vec<String> {
        vec!["vertex".to_owned(), "edge".to_owned()]
    }
}
