//! How far log and stores are, read beside the running program with as little work as possible: one small query a file.

use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

/// The four stores' files, held open.
pub(crate) struct Watch {
    stores: Vec<Connection>,
}

impl Watch {
    /// Opens what is there; `None` as long as a store is still missing.
    pub(crate) fn open(data: &Path) -> Option<Self> {
        let stores = tidemark_tests::stores::FILES.iter().map(|file| open(&data.join(file)).ok());
        Some(Self { stores: stores.collect::<Option<_>>()? })
    }

    /// Where every store stands on an entity: the lowest of the four.
    pub(crate) fn lowest(&self, entity: &str) -> u64 {
        self.stores.iter().map(|store| position(store, entity)).min().unwrap_or(0)
    }
}

/// How many indexes the stores keep on their tables by now, those of primary keys not counted.
pub(crate) fn indexes(data: &Path) -> Result<i64> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    let mut count = 0;
    for file in tidemark_tests::stores::FILES {
        count += open(&data.join(file))?.query_row(sql, [], |row| row.get::<_, i64>(0))?;
    }
    Ok(count)
}

/// Where one store stands on an entity; 0 as long as it says nothing.
pub(crate) fn position(store: &Connection, entity: &str) -> u64 {
    let Ok(mut statement) = store.prepare_cached("SELECT sum(next) FROM tidemark_position WHERE entity = ?") else { return 0 };
    let next: Option<i64> = statement.query_row([entity], |row| row.get(0)).optional().ok().flatten().flatten();
    next.unwrap_or(0).cast_unsigned()
}

/// Opens a store's file for looking.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).with_context(|| path.display().to_string())?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}
