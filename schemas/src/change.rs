//! Changes: what a source says happened to one record.

use std::borrow::Cow;

use uuid::Uuid;

use crate::cell::Row;

/// What a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The whole row.
    Insert,
    /// A partial row; the mask says which fields it speaks of.
    Update,
    /// The record is gone.
    Delete,
}

/// One change, as it stands on `changes.<entity>`. The entity is the topic's.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// Key text.
    pub key: Cow<'a, str>,
    /// Institution code.
    pub tenant: Option<Cow<'a, str>>,
    /// What it does.
    pub operation: Operation,
    /// For `Update`: the numbers ([`crate::entity::Field::number`]) that the row speaks of, ascending; a record field's number
    /// speaks of the whole nested record, a child's number of that child alone. Empty otherwise.
    pub mask: Vec<u32>,
    /// Full width. `Update`: null outside the mask (but for the key). `Delete`: `None`.
    pub row: Option<Row<'a>>,
    /// Stream name: `file`, `xiaoe.order`.
    pub source: Cow<'a, str>,
    /// Rises strictly within the source: epoch × 2^40 + n.
    pub source_seq: u64,
    /// The source re-lists its current rows.
    pub snapshot: bool,
    /// [`crate::row::hash`] of the row (0 without one).
    pub row_hash: u64,
    /// UTC microseconds; when it happened by the source's word, where it says so.
    pub occurred_at: Option<i64>,
    /// UTC microseconds; when the connector took it in.
    pub ingested_at: i64,
    /// UUIDv5 of source and source_seq.
    pub event_id: Uuid,
    /// The claim (a file, a list window) that it belongs to: what receipts are kept by. Empty = nobody waits for an answer.
    pub claim: Cow<'a, str>,
}

/// The event id of (source, source_seq).
pub fn event_id(source: &str, source_seq: u64) -> Uuid {
    /// Our own name space for event ids; fixed for ever.
    const EVENT_SPACE: Uuid = Uuid::from_u128(0x7469_6465_6d61_726b_0001_6576_656e_7473);
    let mut name = Vec::with_capacity(source.len() + 9);
    name.extend_from_slice(source.as_bytes());
    name.push(b'|');
    name.extend_from_slice(&source_seq.to_be_bytes());
    Uuid::new_v5(&EVENT_SPACE, &name)
}
