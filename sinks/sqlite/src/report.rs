//! Looks into a store beside its owner: where it stands, and whether it works.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use tidemark_log::LogIdentity;
use tidemark_sink_core::report::{grouped, told};
use tidemark_sink_core::sql::quoted;
use tidemark_sink_core::{Role, SinkError, StorePosition, StoreReport};

use crate::failure::Failure;
use crate::file::connect_to_read;
use crate::meta;
use crate::store::Adapter;

/// Positions; none for a store that is not there.
pub(crate) fn positions(role: Role, path: &Path) -> Result<Vec<StorePosition>, SinkError> {
    let look = || -> Result<_, Failure> {
        let Some(connection) = connect_to_read(path)? else { return Ok(Vec::new()) };
        if !meta::exists(&connection)? || !is_complete(&connection)? {
            return Ok(Vec::new());
        }
        Ok(meta::positions(&connection)?)
    };
    look().map_err(|failure| failure.classify(role, path, "reading"))
}

/// The log that the store belongs to; none for a store that is not there or was emptied.
pub(crate) fn filled_from(role: Role, path: &Path) -> Result<Option<LogIdentity>, SinkError> {
    let look = || -> Result<_, Failure> {
        let Some(connection) = connect_to_read(path)? else { return Ok(None) };
        if !meta::exists(&connection)? {
            return Ok(None);
        }
        Ok(meta::log(&connection)?)
    };
    look().map_err(|failure| failure.classify(role, path, "reading"))
}

/// An emptied store keeps its epoch alone.
fn is_complete(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'tidemark_position'", [], |row| row.get(0))
}

/// Version, rows, and what stands in the way of a write.
pub(crate) fn check(path: &Path, adapter: &dyn Adapter, log: LogIdentity) -> StoreReport {
    let version = rusqlite::version();
    let file = path.display();
    if !path.exists() {
        let summary = format!("SQLite {version}, {file}, not there yet: the first start makes it");
        return StoreReport { summary, problems: Vec::new() };
    }
    let mut problems = Vec::new();
    let rows = match try_check(path, adapter, log, &mut problems) {
        Ok(rows) => format!("{} rows", grouped(rows)),
        Err(failure) => {
            problems.push(told(&failure.classify(adapter.role(), path, "checking")));
            "rows not counted".to_owned()
        }
    };
    StoreReport { summary: format!("SQLite {version}, {file}, {rows}"), problems }
}

fn try_check(path: &Path, adapter: &dyn Adapter, log: LogIdentity, problems: &mut Vec<String>) -> Result<u64, Failure> {
    let mut connection = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if !meta::exists(&connection)? || !is_complete(&connection)? {
        return Ok(0);
    }
    problems.extend(meta::foreign(&connection, path, adapter.role(), log)?);
    // What a write needs: the lock, and a page that can be changed.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    meta::set(&transaction, "checked", 1)?;
    transaction.rollback()?;
    let mut rows = 0;
    for table in adapter.tables() {
        let there = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?";
        if connection.query_row(there, [&table], |row| row.get(0))? {
            let count: i64 = connection.query_row(&format!("SELECT count(*) FROM {}", quoted(&table)), [], |row| row.get(0))?;
            rows += count.unsigned_abs();
        }
    }
    Ok(rows)
}
