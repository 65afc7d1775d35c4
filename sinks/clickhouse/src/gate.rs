//! Which rows of a batch are worth writing. The engine's merge would drop older versions by itself; this saves writing them, and lets
//! a repeat count as one.
//!
//! Versions rise along a partition of the log, so a row above the *mark*, the highest version written there before the last position,
//! is new, and an ordinary stream asks the store nothing. Only rows at or below it (a repeat, bookkeeping, a redriven row) are looked
//! up. While an entity is refreshed all rows are written: of equal versions the later insert shows.

use std::collections::HashMap;

use tidemark_sink_core::SinkRow;

use crate::client::Store;
use crate::failure::StoreError;
use crate::table::Table;

/// Bytes of keys in one look-up: a server parses 256 KiB of a query, of which the rest takes little.
const PLACES_BYTES: usize = 128 * 1024;

/// How the rows of one part are judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    pub(crate) mark: u64,
    pub(crate) is_refreshing: bool,
}

/// The rows that are newer than what is stored, in their order.
pub(crate) async fn admitted<'r, 'b>(
    store: &Store,
    table: &Table,
    rows: &'r [SinkRow<'b>],
    gates: &[Gate],
) -> Result<Vec<&'r SinkRow<'b>>, StoreError> {
    let is_new = |row: &SinkRow<'_>| {
        let gate = gates[row.part];
        gate.is_refreshing || row.state.version > gate.mark
    };
    let doubtful: Vec<&SinkRow<'_>> = rows.iter().filter(|row| !is_new(row)).collect();
    let stored = versions(store, table, &doubtful).await?;
    let is_newer = |row: &SinkRow<'_>| stored.get(row.state.key.as_ref()).is_none_or(|version| row.state.version > *version);
    Ok(rows.iter().filter(|row| is_new(row) || is_newer(row)).collect())
}

async fn versions(store: &Store, table: &Table, rows: &[&SinkRow<'_>]) -> Result<HashMap<String, u64>, StoreError> {
    let mut stored = HashMap::new();
    let mut places = String::new();
    for (index, row) in rows.iter().enumerate() {
        if !places.is_empty() {
            places.push(',');
        }
        places.push_str(&table.place(row));
        if places.len() >= PLACES_BYTES || index + 1 == rows.len() {
            let found = store.rows::<(String, u64)>(&table.versions(&places)).await.map_err(StoreError::without_words)?;
            stored.extend(found);
            places.clear();
        }
    }
    Ok(stored)
}
