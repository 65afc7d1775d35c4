//! Rows that own others: an order its lines, a vertex its out-edges. What is owned is replaced whole with its owner.
//!
//! An owner that is new to the store has nothing that could be stale, so on a first import nothing is read: a chunk is inserted
//! at once, and only when some of its keys were there already are their versions looked up. Where keys keep being known (an
//! update of many), the look-up comes first.

use rusqlite::Connection;
use tidemark_sink_core::SinkRow;

use crate::statement::NEW_ROWS;

/// How one kind of owner is written.
pub(crate) trait Owned {
    /// Inserts those that are not there; returns how many.
    fn insert(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<usize, rusqlite::Error>;

    /// The stored version.
    fn stored_version(&self, connection: &Connection, row: &SinkRow<'_>) -> Result<Option<i64>, rusqlite::Error>;

    /// Inserts or replaces.
    fn replace(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error>;

    /// Makes what rows of older versions owned what these own: nothing, if deleted.
    fn replace_owned(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error>;

    /// Inserts what live ones of these new rows own; what is there under the same identity is replaced.
    fn insert_owned(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error>;
}

/// Writes the rows that are newer than what is stored, or not older if `refreshing`, with all that they own; returns how many.
pub(crate) fn write(
    kind: &impl Owned,
    connection: &Connection,
    rows: &[SinkRow<'_>],
    refreshing: bool,
) -> Result<u64, rusqlite::Error> {
    let mut written = 0;
    let mut expect_new = !refreshing;
    for chunk in rows.chunks(NEW_ROWS) {
        let chunk: Vec<&SinkRow<'_>> = chunk.iter().collect();
        if expect_new {
            let inserted = kind.insert(connection, &chunk)?;
            if inserted == chunk.len() {
                kind.insert_owned(connection, &chunk)?;
                written += inserted as u64;
                continue;
            }
            expect_new = false;
            written += inserted as u64 + write_rest(kind, connection, &chunk)?;
        } else {
            let looked_up = write_looked_up(kind, connection, &chunk, refreshing)?;
            written += looked_up.written;
            expect_new = !refreshing && looked_up.new == chunk.len();
        }
    }
    Ok(written)
}

/// The rest of a chunk whose new rows were inserted just now. A row of the same version is one of those, or a repeat, whose
/// owned rows are the same: inserting them again is harmless.
fn write_rest(kind: &impl Owned, connection: &Connection, chunk: &[&SinkRow<'_>]) -> Result<u64, rusqlite::Error> {
    let mut older = Vec::new();
    let mut equal = Vec::new();
    for &row in chunk {
        let version = row.state.version.cast_signed();
        match kind.stored_version(connection, row)? {
            Some(stored) if stored > version => {}
            Some(stored) if stored == version => equal.push(row),
            _ => older.push(row),
        }
    }
    kind.replace(connection, &older)?;
    kind.replace_owned(connection, &older)?;
    kind.insert_owned(connection, &equal)?;
    Ok(older.len() as u64)
}

struct LookedUp {
    written: u64,
    new: usize,
}

fn write_looked_up(
    kind: &impl Owned,
    connection: &Connection,
    chunk: &[&SinkRow<'_>],
    refreshing: bool,
) -> Result<LookedUp, rusqlite::Error> {
    let mut new = Vec::new();
    let mut older = Vec::new();
    for &row in chunk {
        let version = row.state.version.cast_signed();
        match kind.stored_version(connection, row)? {
            None => new.push(row),
            Some(stored) if stored < version || (refreshing && stored == version) => older.push(row),
            Some(_) => {}
        }
    }
    kind.replace(connection, &older)?;
    kind.replace_owned(connection, &older)?;
    kind.insert(connection, &new)?;
    kind.insert_owned(connection, &new)?;
    Ok(LookedUp { written: (new.len() + older.len()) as u64, new: new.len() })
}
