//! A store in a folder of its own, and looks into it by plain SQL.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;
use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tidemark_sink_core::contract::points::VectorHarness;
use tidemark_sink_core::contract::{StoreHarness, StoredRow};
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_sink_core::search::Search;

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Relational,
    Graph,
    Vector,
    Analytics,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Relational, Kind::Graph, Kind::Vector, Kind::Analytics];

pub(crate) struct Store {
    kind: Kind,
    folder: TempDir,
    pub(crate) catalog: Arc<Catalog>,
}

impl Store {
    pub(crate) fn fresh(kind: Kind, catalog: &Arc<Catalog>) -> Self {
        Self { kind, folder: tempfile::tempdir().unwrap(), catalog: Arc::clone(catalog) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// All rows of a query, each as its values joined by `|`.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        let connection = self.connection();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values: Vec<String> = (0..columns).map(|index| shown(&row.get(index).unwrap())).collect();
            Ok(values.join("|"))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn has_table(&self, name: &str) -> bool {
        self.query(&format!("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '{name}'")) == ["1"]
    }
}

pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => format!("{value:?}"),
        Value::Text(value) => value.clone(),
        Value::Blob(value) => format!("{:016x}", xxhash_rust::xxh3::xxh3_64(value)),
    }
}

#[async_trait]
impl StoreHarness for Store {
    fn sink(&self) -> Box<dyn Sink> {
        let (path, catalog) = (self.path(), Arc::clone(&self.catalog));
        match self.kind {
            Kind::Relational => crate::relational(path, catalog),
            Kind::Graph => crate::graph(path, catalog),
            Kind::Vector => crate::vector(path, catalog, Arc::new(NgramEmbedder)),
            Kind::Analytics => crate::analytics(path, catalog, vip_levels(), 8 * 3600),
        }
    }

    async fn rows(&self, entity: &str) -> BTreeMap<String, StoredRow> {
        let prefix = entity.len() + 2;
        let of_table = format!("SELECT key, version, deleted_at IS NOT NULL FROM {entity}");
        let whole = format!("SELECT key, * FROM {entity}");
        let (keys, contents) = match self.kind {
            Kind::Relational => (of_table, vec![whole]),
            Kind::Graph => (
                format!("SELECT substr(vid, {prefix}), version, deleted_at IS NOT NULL FROM vertex WHERE tag = '{entity}'"),
                vec![
                    format!("SELECT substr(vid, {prefix}), * FROM vertex WHERE tag = '{entity}'"),
                    format!(
                        "SELECT substr(src, {prefix}), * FROM edge WHERE src LIKE '{entity}:%' ORDER BY src, type, dst, rank"
                    ),
                ],
            ),
            Kind::Vector => (
                format!("SELECT key, version, deleted_at IS NOT NULL FROM point WHERE entity = '{entity}'"),
                vec![format!("SELECT key, * FROM point WHERE entity = '{entity}'")],
            ),
            Kind::Analytics if entity == "consumption" => {
                (of_table, vec![whole, "SELECT key, * FROM consumption_line ORDER BY key, position".to_owned()])
            }
            Kind::Analytics => (of_table, vec![whole]),
        };
        let mut rows = BTreeMap::new();
        let table = match self.kind {
            Kind::Graph => "vertex",
            Kind::Vector => "point",
            _ => entity,
        };
        if !self.has_table(table) {
            return rows;
        }
        for line in self.query(&keys) {
            let mut parts = line.rsplitn(3, '|');
            let (deleted, version, key) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            let row = StoredRow { version: version.parse().unwrap(), deleted: deleted == "1", content: String::new() };
            rows.insert(key.to_owned(), row);
        }
        for line in contents.iter().flat_map(|sql| self.query(sql)) {
            let (key, content) = line.split_once('|').unwrap();
            let row = rows.get_mut(key).unwrap();
            row.content.push_str(content);
            row.content.push('\n');
        }
        rows
    }
}

impl VectorHarness for Store {
    fn sink_by(&self, embedder: Arc<dyn Embedder>) -> Box<dyn Sink> {
        crate::vector(self.path(), Arc::clone(&self.catalog), embedder)
    }

    fn search_by(&self, embedder: Arc<dyn Embedder>) -> Box<dyn Search> {
        crate::search(self.path(), embedder)
    }
}

fn vip_levels() -> Vec<String> {
    ["GOLD", "PLATINUM", "DIAMOND"].map(str::to_owned).to_vec()
}
