//! Reading the four stores as anybody could: SQLite, read-only, by the tables and columns that the documentation names.
//!
//! Two views of a store: [`dump`] is every cell of every table that holds content, for "byte for byte"; [`rows`], [`vertices`],
//! [`edges`] and [`points`] are what is live, for comparison with expected rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// The files of the four stores.
pub const FILES: [&str; 4] = ["relational.db", "graph.db", "vector.db", "analytics.db"];

/// Columns that hold when something was taken in: the only ones in which two runs over the same files may differ.
pub const INGESTION_COLUMNS: [&str; 3] = ["changed_at", "deleted_at", "ingested_at"];

/// A live row: column → value as text (numbers in decimal, null left out).
pub type Cells = BTreeMap<String, String>;

/// A live edge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// `customer:BJ-HA-001-C0001`.
    pub source: String,
    /// The other end.
    pub target: String,
    /// `belongs_to_institution`.
    pub kind: String,
    /// Tells two edges of the same kind between the same ends apart.
    pub rank: i64,
}

/// A live point.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its vector.
    pub vector: Vec<f32>,
    /// Its payload.
    pub payload: Value,
}

/// Opens a store's file without ever writing to it.
///
/// # Panics
/// When it is not there.
pub fn open(data: &Path, file: &str) -> Connection {
    let path = data.join(file);
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    connection.busy_timeout(std::time::Duration::from_secs(10)).expect("a plain setting");
    connection
}

/// Names of the tables that hold content: those with a version, so not the stores' own book-keeping.
pub fn content_tables(connection: &Connection) -> Vec<String> {
    let sql = "SELECT m.name FROM sqlite_master m WHERE m.type = 'table' AND EXISTS \
               (SELECT 1 FROM pragma_table_info(m.name) WHERE name = 'version') ORDER BY m.name";
    let mut statement = connection.prepare(sql).expect("the master table can be read");
    statement.query_map([], |row| row.get(0)).expect("a query without parameters").map(|name| name.expect("a text")).collect()
}

/// Table → sorted lines.
pub type Dump = BTreeMap<String, Vec<String>>;

/// Says the first difference of two stores instead of printing everything.
///
/// # Panics
/// At that difference, or when there are fewer than `rows_min` rows to compare.
pub fn assert_same(found: &Dump, expected: &Dump, rows_min: usize, when: &str) {
    assert!(expected.values().map(Vec::len).sum::<usize>() >= rows_min, "{when}: hardly anything to compare");
    for (table, rows) in expected {
        let others = found.get(table).unwrap_or_else(|| panic!("{when}: no table {table}"));
        for (one, two) in others.iter().zip(rows) {
            assert_eq!(one, two, "{when}: {table}");
        }
        assert_eq!(others.len(), rows.len(), "{when}: rows of {table}");
    }
    assert_eq!(found.len(), expected.len(), "{when}: tables");
}

/// Every cell of every content table of a store but those of `without`.
pub fn dump(data: &Path, file: &str, without: &[&str]) -> Dump {
    let connection = open(data, file);
    let tables = content_tables(&connection);
    tables.into_iter().map(|table| (table.clone(), dump_table(&connection, &table, without))).collect()
}

fn dump_table(connection: &Connection, table: &str, without: &[&str]) -> Vec<String> {
    let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).expect("a table's name");
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = statement.query([]).expect("a query without parameters");
    let mut lines = Vec::new();
    while let Some(row) = rows.next().expect("a readable store") {
        let mut line = String::new();
        for (index, column) in columns.iter().enumerate() {
            let value = row.get_ref(index).expect("a column of this row");
            let shown = if column == "deleted_at" && without.contains(&"deleted_at") {
                (if value == ValueRef::Null { "live" } else { "deleted" }).to_owned()
            } else if without.contains(&column.as_str()) {
                continue;
            } else {
                format!("{value:?}")
            };
            line.push_str(column);
            line.push('=');
            line.push_str(&shown);
            line.push(' ');
        }
        lines.push(line);
    }
    lines.sort();
    lines
}

fn text_of(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(format!("REAL {number}")),
        ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).expect("SQLite's text is UTF-8")),
        ValueRef::Blob(bytes) => Some(format!("BLOB of {} bytes", bytes.len())),
    }
}

/// Live rows of an entity's table, by the columns of its key; of a table without deleted ones, all.
pub fn rows(data: &Path, file: &str, table: &str, key: &[&str]) -> BTreeMap<Vec<String>, Cells> {
    let connection = open(data, file);
    let marked = "SELECT count(*) FROM pragma_table_info(?) WHERE name = 'deleted_at'";
    let is_marked: bool = connection.query_row(marked, [table], |row| row.get(0)).expect("a table's columns can be asked for");
    let sql = format!("SELECT * FROM \"{table}\"{}", if is_marked { " WHERE deleted_at IS NULL" } else { "" });
    let mut statement = connection.prepare(&sql).unwrap_or_else(|error| panic!("{file}, table {table}: {error}"));
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = statement.query([]).expect("a query without parameters");
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next().expect("a readable store") {
        let cells: Cells = columns
            .iter()
            .enumerate()
            .filter_map(|(index, column)| Some((column.clone(), text_of(row.get_ref(index).expect("a column"))?)))
            .collect();
        let key = key.iter().map(|column| cells.get(*column).cloned().unwrap_or_default()).collect();
        assert!(found.insert(key, cells).is_none(), "{file}, table {table}: a key stands there twice");
    }
    found
}

/// Live vertices: vid → (tag, properties).
pub fn vertices(data: &Path) -> BTreeMap<String, (String, Value)> {
    let connection = open(data, "graph.db");
    let mut statement =
        connection.prepare("SELECT vid, tag, props FROM vertex WHERE deleted_at IS NULL").expect("the table of vertices");
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?));
    let rows = statement.query_map([], read).expect("a query without parameters");
    rows.map(|row| {
        let (vid, tag, properties) = row.expect("texts");
        (vid, (tag, serde_json::from_str(&properties).expect("properties are JSON")))
    })
    .collect()
}

/// Live edges.
pub fn edges(data: &Path) -> BTreeSet<Edge> {
    let connection = open(data, "graph.db");
    let mut statement =
        connection.prepare("SELECT src, dst, type, rank FROM edge WHERE deleted_at IS NULL").expect("the table of edges");
    let read =
        |row: &rusqlite::Row<'_>| Ok(Edge { source: row.get(0)?, target: row.get(1)?, kind: row.get(2)?, rank: row.get(3)? });
    statement.query_map([], read).expect("a query without parameters").map(|edge| edge.expect("an edge")).collect()
}

/// Live points: (collection, key) → point.
pub fn points(data: &Path) -> BTreeMap<(String, String), Point> {
    let connection = open(data, "vector.db");
    let mut statement = connection
        .prepare("SELECT collection, key, vector, payload FROM point WHERE deleted_at IS NULL")
        .expect("the table of points");
    let mut rows = statement.query([]).expect("a query without parameters");
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next().expect("a readable store") {
        let place = (row.get(0).expect("a collection"), row.get(1).expect("a key"));
        let vector = read_vector(&row.get::<_, Vec<u8>>(2).expect("a live point has a vector"));
        let payload: String = row.get(3).expect("a payload");
        let point = Point { vector, payload: serde_json::from_str(&payload).expect("a payload is JSON") };
        assert!(found.insert(place, point).is_none(), "a point stands there twice");
    }
    found
}

/// 256 numbers: four bytes each (little-endian floats), or one (the float times 127).
fn read_vector(bytes: &[u8]) -> Vec<f32> {
    match bytes.len() {
        1024 => bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect(),
        256 => bytes.iter().map(|byte| f32::from(byte.cast_signed()) / 127.0).collect(),
        other => panic!("a vector of {other} bytes is neither 256 floats nor 256 bytes"),
    }
}
