//! The SQLite file of a store: how it is opened, how a damaged one goes.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tidemark_sink_core::SinkError;

use crate::failure::{Failure, fatal};

/// Page cache of one store. Larger ones save reads of random updates; four stores share the process's memory bound.
const CACHE_KIB: i64 = 16 * 1024;
/// Page cache while an index is built: SQLite sorts in as much memory as the cache may have, on top of the cache.
const BUILDING_CACHE_KIB: i64 = 2 * 1024;
/// Pages of WAL before a checkpoint: larger ones write a page that changes often fewer times, smaller ones are read faster.
const CHECKPOINT_PAGES: i64 = 4_000;
/// How long a writer waits for a lock before the engine hears of it; other stores do not wait with it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Statements kept prepared: three lengths of a few for each entity.
const STATEMENTS_MAX: usize = 256;

/// Opens the file for writing, making it if it is not there.
pub(crate) fn connect(path: &Path, page_bytes: u32) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "page_size", page_bytes)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let step = format!("{}: its file system allows no WAL; put the data folder on a local disk", path.display());
        return Err(fatal(step, format!("journal mode is {mode}")).into());
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(connection)
}

/// Runs a statement that builds an index, within less memory than other work.
pub(crate) fn build(connection: &Connection, statement: &str) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "cache_size", -BUILDING_CACHE_KIB)?;
    let built = connection.execute_batch(statement);
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    built
}

/// Opens the file for reading beside a writer; `None` when it is not there.
pub(crate) fn connect_to_read(path: &Path) -> Result<Option<Connection>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(Some(connection))
}

/// Takes a damaged store away, with what SQLite keeps beside it.
pub(crate) fn remove(path: &Path) -> Result<(), SinkError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SinkError::Unavailable { step: format!("removing {}", path.display()), cause: error.into() });
            }
            _ => {}
        }
    }
    Ok(())
}
