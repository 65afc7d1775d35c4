//! The bare rate: the very rows that the stores hold, ready in memory, written into four equal SQLite files by plain multi-row
//! statements: the same tables and indexes, the same pragmas, a thread a file.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;
use tidemark_tests::stores::{FILES, content_tables};

use crate::positions;

/// Rows in one statement, fewer where a table is so wide that SQLite's bound on parameters is near.
const STATEMENT_ROWS: usize = 100;
/// Rows in one transaction.
const TRANSACTION_ROWS: usize = 10_000;
/// Largest number of parameters in one statement.
const PARAMETERS_MAX: usize = 30_000;

/// The stores' own settings (`sinks/sqlite/src/store.rs`).
const CACHE_KIB: i64 = 16 * 1024;
const CHECKPOINT_PAGES: i64 = 4_000;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Into tables that do not hold them.
    Insert,
    /// Over the rows with the same key.
    Upsert,
}

/// In which order rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they came; the edges of references, which bear no version that would tell, by key.
    Arrival,
    /// Sorted by primary key over the whole import: what SQLite takes most cheaply, and what no stream can bring.
    Key,
}

/// One table's rows.
struct Table {
    name: String,
    columns: Vec<String>,
    key: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// The rows of all four stores.
pub(crate) struct Rows(Vec<Vec<Table>>);

impl Rows {
    /// All rows above a version.
    pub(crate) fn read(data: &Path, above: i64, order: Order) -> Result<Self> {
        FILES.iter().map(|file| read_store(&data.join(file), above, order)).collect::<Result<_>>().map(Self)
    }
}

fn read_store(path: &Path, above: i64, order: Order) -> Result<Vec<Table>> {
    let connection = positions::open(path)?;
    let mut tables = Vec::new();
    for name in content_tables(&connection) {
        let sql = "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk";
        let key: Vec<String> = connection.prepare(sql)?.query_map([&name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let sorted = match order {
            Order::Key => key.join(", "),
            Order::Arrival => "version".to_owned(),
        };
        let sql = format!("SELECT * FROM \"{name}\" WHERE coalesce(version, 1) > ? ORDER BY {sorted}");
        let mut statement = connection.prepare(&sql)?;
        let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let width = columns.len();
        let rows = statement
            .query_map([above], |row| (0..width).map(|index| row.get(index)).collect())?
            .collect::<rusqlite::Result<Vec<Vec<Value>>>>()?;
        tables.push(Table { name, columns, key, rows });
    }
    Ok(tables)
}

/// The highest version in any store.
pub(crate) fn highest_version(data: &Path) -> Result<i64> {
    let connection = positions::open(&data.join(FILES[0]))?;
    let mut highest = 0;
    for table in content_tables(&connection) {
        let sql = format!("SELECT coalesce(max(version), 0) FROM \"{table}\"");
        highest = highest.max(connection.query_row(&sql, [], |row| row.get(0))?);
    }
    Ok(highest)
}

/// Four files with the tables and indexes of the stores.
pub(crate) struct Stores {
    _folder: TempDir,
    connections: Vec<Connection>,
}

impl Stores {
    /// Empty copies of the stores.
    pub(crate) fn like(data: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let connections = FILES.iter().map(|file| like(&data.join(file), &folder.path().join(file))).collect::<Result<_>>()?;
        Ok(Self { _folder: folder, connections })
    }

    /// Writes everything, a thread a file; gives the time until the last one is through, and the CPU time of all.
    pub(crate) fn write(&mut self, rows: &Rows, way: Way) -> Result<Bare> {
        let started = Instant::now();
        let before = own_cpu()?;
        std::thread::scope(|scope| -> Result<()> {
            let threads: Vec<_> = self
                .connections
                .iter_mut()
                .zip(&rows.0)
                .map(|(connection, tables)| scope.spawn(move || write_store(connection, tables, way)))
                .collect();
            for thread in threads {
                thread.join().map_err(|_| anyhow!("a writing thread panicked"))??;
            }
            Ok(())
        })?;
        Ok(Bare { wall: started.elapsed(), cpu: own_cpu()? - before })
    }
}

/// What the bare writing took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bare {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// CPU time of this process so far.
fn own_cpu() -> Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}

fn like(store: &Path, copy: &Path) -> Result<Connection> {
    let original = positions::open(store)?;
    let page: i64 = original.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let connection = Connection::open(copy)?;
    connection.pragma_update(None, "page_size", page)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // As the stores' own adapter sets them.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    let mut statement = original.prepare(
        "SELECT tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND type IN ('table', 'index') ORDER BY type DESC",
    )?;
    let content = content_tables(&original);
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, sql): (String, String) = (row.get(0)?, row.get(1)?);
        if content.contains(&table) {
            connection.execute_batch(&sql).with_context(|| sql.clone())?;
        }
    }
    Ok(connection)
}

fn write_store(connection: &mut Connection, tables: &[Table], way: Way) -> Result<()> {
    for table in tables.iter().filter(|table| !table.rows.is_empty()) {
        let width = table.columns.len();
        let many = STATEMENT_ROWS.min(PARAMETERS_MAX / width);
        for part in table.rows.chunks(TRANSACTION_ROWS) {
            let transaction = connection.transaction()?;
            for rows in part.chunks(many) {
                let mut statement = transaction.prepare_cached(&sql(table, rows.len(), way))?;
                statement.execute(params_from_iter(rows.iter().flatten()))?;
            }
            transaction.commit()?;
        }
    }
    Ok(())
}

fn sql(table: &Table, rows: usize, way: Way) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| format!("\"{column}\"")).collect();
    let one = format!("({})", vec!["?"; columns.len()].join(","));
    let values = vec![one; rows].join(",");
    let mut sql = format!("INSERT INTO \"{}\" ({}) VALUES {values}", table.name, columns.join(","));
    if way == Way::Upsert {
        let others = table.columns.iter().filter(|column| !table.key.contains(*column));
        let sets: Vec<String> = others.map(|column| format!("\"{column}\" = excluded.\"{column}\"")).collect();
        sql.push_str(&format!(" ON CONFLICT ({}) DO UPDATE SET {}", table.key.join(","), sets.join(",")));
    }
    sql
}
