//! States: what is so for one record after a change, with what the fold must remember about it.

use std::borrow::Cow;

use crate::cell::Row;

/// One after-image, as it stands on `state.<entity>`. The entity is the topic's.
#[derive(Debug, Clone, PartialEq)]
pub struct State<'a> {
    /// Key text.
    pub key: Cow<'a, str>,
    /// Institution code.
    pub tenant: Option<Cow<'a, str>>,
    /// generation × 2^40 + offset of the change + 1; below 2^53.
    pub version: u64,
    /// Whether the record is deleted; its last row is kept.
    pub deleted: bool,
    /// The whole row (of a deleted record: the last one).
    pub row: Row<'a>,
    /// UTC microseconds: the change's `occurred_at`, else its `ingested_at`.
    pub changed_at: i64,
    /// UTC microseconds: the change's `ingested_at`.
    pub ingested_at: i64,
    /// Partition and offset of the change on `changes.<entity>`.
    pub position: (u32, u64),
    /// What each snapshot source last said of this key.
    pub snapshots: Vec<SnapshotMemory<'a>>,
}

/// What one snapshot source last said of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotMemory<'a> {
    /// Source name.
    pub source: Cow<'a, str>,
    /// Hash of its last snapshot row.
    pub hash: u64,
    /// That row; `None` = the same as the state's row.
    pub row: Option<Row<'a>>,
}
