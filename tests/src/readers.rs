//! Reading what is live in the stores of a place, whatever keeps them, so that one comparison serves for all.
//!
//! Each reader speaks to its store as anybody could, by a client of others' making (SQLite, `sqlx`, the official clients), and gives
//! what [`crate::stores`] gives of the embedded store: texts for cells, JSON for properties and payloads.

mod clickhouse;
mod embedded;
mod nebula;
mod postgres;
mod qdrant;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::stores::{Cells, Edge, Point};

pub(crate) use clickhouse::ClickHouse;
pub(crate) use nebula::Nebula;
pub(crate) use postgres::Postgres;
pub(crate) use qdrant::Qdrant;

/// The tables of the relational and the analytics store.
pub trait Tables {
    /// Live rows of a table, or rows of a view, by the columns of its key.
    ///
    /// # Panics
    /// When a key stands there twice.
    fn rows(&self, table: &str, key: &[&str]) -> BTreeMap<Vec<String>, Cells>;
}

/// The graph store.
pub trait Graph {
    /// Live vertices: vid → (tag, properties).
    fn vertices(&self) -> BTreeMap<String, (String, Value)>;

    /// Live edges.
    fn edges(&self) -> BTreeSet<Edge>;
}

/// The vector store.
pub trait Points {
    /// Live points: (collection, key) → point.
    fn points(&self) -> BTreeMap<(String, String), Point>;
}

/// The stores of a place.
pub struct Readers {
    /// The relational one.
    pub relational: Box<dyn Tables>,
    /// The graph.
    pub graph: Box<dyn Graph>,
    /// The vector store.
    pub vector: Box<dyn Points>,
    /// The analytics store.
    pub analytics: Box<dyn Tables>,
}

impl Readers {
    /// The four files of a data folder.
    pub fn embedded(data: &Path) -> Self {
        let data = data.to_owned();
        Self {
            relational: Box::new(embedded::File { data: data.clone(), name: "relational.db" }),
            graph: Box::new(embedded::File { data: data.clone(), name: "graph.db" }),
            vector: Box::new(embedded::File { data: data.clone(), name: "vector.db" }),
            analytics: Box::new(embedded::File { data, name: "analytics.db" }),
        }
    }
}

/// Rows by the columns of their key.
fn by_key(table: &str, key: &[&str], rows: impl IntoIterator<Item = Cells>) -> BTreeMap<Vec<String>, Cells> {
    let mut found = BTreeMap::new();
    for cells in rows {
        let key: Vec<String> = key.iter().map(|column| cells.get(*column).cloned().unwrap_or_default()).collect();
        let before = found.insert(key, cells);
        assert!(before.is_none(), "table {table}: a key stands there twice: {before:?}");
    }
    found
}
