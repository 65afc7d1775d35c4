//! Connections to the file, set up for what they do.
//!
//! The bounds below are the log's share of the process's memory: one writer, a few readers, one watcher.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::place::{Place, classify};
use crate::port::LogError;

/// How long one process waits for another one's transaction. Longer hides a stuck process, shorter fails under plain load.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer, KiB: one transaction should fit, or it is written to the WAL in pieces.
const WRITER_CACHE_KIB: i64 = 8 * 1024;
/// Page cache of a reader, KiB: reads run forward, so a few pages would do.
const READER_CACHE_KIB: i64 = 2 * 1024;
/// Pages in the WAL after which a commit moves them into the file. From 1,000 to 4,000 appends cost the same; fewer sync the
/// file more often, more make the WAL (and the start after a crash) longer and leave the processor's cache behind.
const CHECKPOINT_PAGES: i64 = 2_000;
/// What is left of the WAL after a checkpoint, bytes: it grows while a backup runs and shrinks to this again.
const WAL_BYTES_KEPT: i64 = 32 * 1024 * 1024;
/// Prepared statements kept per connection: a few for each partition.
const STATEMENTS_MAX: usize = 256;

/// The connection that writes: full synchronisation, so a commit that was answered survives a power cut.
pub(super) fn open_writer(place: &Place) -> Result<Connection, LogError> {
    let connection = open(place.path(), WRITER_CACHE_KIB)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .and_then(|()| connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES))
        .and_then(|()| connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT))
        .map_err(|error| place.classify("opening", error))?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_reader(place: &Place) -> Result<Connection, LogError> {
    let connection = open(place.path(), READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true).map_err(|error| place.classify("opening", error))?;
    Ok(connection)
}

/// Opens a file that is there.
pub(super) fn open(path: &Path, cache_kib: i64) -> Result<Connection, LogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.pragma_update(None, "cache_size", -cache_kib)?;
        Ok(connection)
    });
    opened.map_err(|error| classify(path, "opening", error))
}
