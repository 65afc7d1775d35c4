//! Changes as a source of one's own publishes them, through the log's library.

use std::borrow::Cow;

use tidemark_schemas::change::event_id;
use tidemark_schemas::{Change, Entity, Operation, Row, row};

/// When all of it was taken in, UTC microseconds.
const INGESTED_AT: i64 = 1_768_000_000_000_000;

/// A row that is put in whole, or a key whose row goes; `source_seq` must rise.
pub fn of<'c>(entity: &Entity, key: &'c str, row: Option<Row<'c>>, source: &'c str, source_seq: u64) -> Change<'c> {
    Change {
        key: Cow::Borrowed(key),
        tenant: row.as_ref().and_then(|row| entity.tenant_of(row)).map(|tenant| Cow::Owned(tenant.to_owned())),
        operation: if row.is_some() { Operation::Insert } else { Operation::Delete },
        mask: Vec::new(),
        row_hash: row.as_ref().map_or(0, |row| row::hash(&entity.record, row)),
        row,
        source: Cow::Borrowed(source),
        source_seq,
        snapshot: false,
        occurred_at: None,
        ingested_at: INGESTED_AT,
        event_id: event_id(source, source_seq),
        claim: Cow::Borrowed(""),
    }
}
