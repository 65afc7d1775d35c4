//! The fold as a pure function: one state, one change, what comes of it.
//!
//! Guarantees: the outcome depends on nothing but its arguments, so a repeat of the same change on the same state gives the
//! same bytes; a change that alters nothing writes nothing; a snapshot source changes only what it changed itself.
//! Relies on the caller for the high-water marks: a change that was applied before must not come here again, since an update
//! that is repeated behind a newer one would undo it.
//! On failure: a change that cannot be applied is rejected with a code and a sentence for a person, and leaves the state alone.

use std::borrow::Cow;

use tidemark_schemas::change::{Change, Operation};
use tidemark_schemas::row;
use tidemark_schemas::state::{SnapshotMemory, State};
use tidemark_schemas::{Entity, cell::Row};

/// Where a change stands, and the version that its after-image gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Partition of `changes.<entity>`.
    pub partition: u32,
    /// Offset there.
    pub offset: u64,
    /// What [`tidemark_log::LogIdentity::version`] makes of the offset.
    pub version: u64,
}

/// What became of a change: what receipts count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The key came to be (or came back).
    Inserted,
    /// The row changed.
    Updated,
    /// The key went.
    Deleted,
    /// The row stayed as it was.
    Unchanged {
        /// It was a snapshot row of a deleted key, which stays deleted: shown as a warning.
        left_deleted: bool,
    },
    /// It cannot be applied.
    Rejected {
        /// Short code: `unknown_key`, `required_null`, `row_too_large`.
        reason: &'static str,
        /// For a person; names the key and fields, no other value.
        detail: String,
    },
}

/// What became of a change, and the state to be written if there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<'a> {
    /// For the counts.
    pub kind: Kind,
    /// A new after-image, or the old one with the same version where only the bookkeeping of the key changed.
    pub state: Option<State<'a>>,
}

const UNCHANGED: Kind = Kind::Unchanged { left_deleted: false };

/// Applies one change to the state of its key.
///
/// An update that names no field at all asks for the state to be written again as it is, version included: that is how a
/// store gets a row anew ([`crate::dead_letters`]). Sources never send one.
pub fn decide<'a>(entity: &Entity, state: Option<State<'a>>, change: Change<'a>, origin: Origin) -> Outcome<'a> {
    match (change.operation, state) {
        (Operation::Insert, None) => insert_unknown(entity, change, origin),
        (Operation::Insert, Some(state)) if change.snapshot => apply_snapshot(entity, state, change, origin),
        (Operation::Insert, Some(state)) => replace(entity, state, change, origin),
        (Operation::Update, Some(state)) if change.mask.is_empty() => Outcome { kind: UNCHANGED, state: Some(state) },
        (Operation::Update, Some(state)) if !state.deleted => update(entity, state, change, origin),
        (Operation::Delete, Some(state)) if !state.deleted => delete(state, &change, origin),
        (Operation::Update, _) => unknown_key("update", &change),
        (Operation::Delete, _) => unknown_key("delete", &change),
    }
}

fn unknown_key<'a>(what: &str, change: &Change<'a>) -> Outcome<'a> {
    let detail = format!("{what} of `{}`, which was never inserted or is deleted; insert it first", change.key);
    rejected("unknown_key", detail)
}

fn rejected<'a>(reason: &'static str, detail: String) -> Outcome<'a> {
    Outcome { kind: Kind::Rejected { reason, detail }, state: None }
}

fn insert_unknown<'a>(entity: &Entity, change: Change<'a>, origin: Origin) -> Outcome<'a> {
    let changed_at = change.occurred_at.unwrap_or(change.ingested_at);
    let Some(row) = change.row else { return no_row() };
    let snapshots = if change.snapshot {
        vec![SnapshotMemory { source: change.source, hash: change.row_hash, row: None }]
    } else {
        Vec::new()
    };
    let tenant = change.tenant.or_else(|| entity.tenant_of(&row).map(|tenant| Cow::Owned(tenant.to_owned())));
    let state = State {
        key: change.key,
        tenant,
        version: origin.version,
        deleted: false,
        row,
        changed_at,
        ingested_at: change.ingested_at,
        position: (origin.partition, origin.offset),
        snapshots,
    };
    Outcome { kind: Kind::Inserted, state: Some(state) }
}

/// The codec lets no insert or update without a row pass; one built by hand ends here.
fn no_row<'a>() -> Outcome<'a> {
    rejected("no_row", "an insert or update without a row".to_owned())
}

/// An insert that is no snapshot: the whole row counts, and a deleted key comes back.
fn replace<'a>(entity: &Entity, mut state: State<'a>, mut change: Change<'a>, origin: Origin) -> Outcome<'a> {
    let Some(row) = change.row.take() else { return no_row() };
    if !state.deleted && state.row == row {
        return Outcome { kind: UNCHANGED, state: None };
    }
    let kind = if state.deleted { Kind::Inserted } else { Kind::Updated };
    set_row(&mut state, row);
    stamp(entity, &mut state, &change, origin);
    state.deleted = false;
    Outcome { kind, state: Some(state) }
}

fn update<'a>(entity: &Entity, mut state: State<'a>, mut change: Change<'a>, origin: Origin) -> Outcome<'a> {
    let Some(patch) = change.row.take() else { return no_row() };
    match row::merge(&entity.record, state.row.clone(), &patch, &change.mask) {
        Err(problem) => rejected("required_null", problem.to_string()),
        Ok(row) if row == state.row => Outcome { kind: UNCHANGED, state: None },
        Ok(row) => {
            set_row(&mut state, row);
            stamp(entity, &mut state, &change, origin);
            Outcome { kind: Kind::Updated, state: Some(state) }
        }
    }
}

fn delete<'a>(mut state: State<'a>, change: &Change<'a>, origin: Origin) -> Outcome<'a> {
    state.deleted = true;
    state.version = origin.version;
    state.position = (origin.partition, origin.offset);
    state.changed_at = change.occurred_at.unwrap_or(change.ingested_at);
    state.ingested_at = change.ingested_at;
    Outcome { kind: Kind::Deleted, state: Some(state) }
}

/// A row that a source re-lists. Only where it differs from what the same source listed last does it say anything new.
fn apply_snapshot<'a>(entity: &Entity, mut state: State<'a>, mut change: Change<'a>, origin: Origin) -> Outcome<'a> {
    let Some(listed) = change.row.take() else { return no_row() };
    let memory = state.snapshots.iter().position(|memory| memory.source == change.source);
    if memory.is_some_and(|index| state.snapshots[index].hash == change.row_hash) {
        return Outcome { kind: Kind::Unchanged { left_deleted: state.deleted }, state: None };
    }
    let mut kind = Kind::Unchanged { left_deleted: state.deleted };
    if !state.deleted {
        let row = match memory {
            None => listed.clone(),
            Some(index) => {
                let last = state.snapshots[index].row.as_ref().unwrap_or(&state.row);
                let mask = row::difference(&entity.record, last, &listed);
                match row::merge(&entity.record, state.row.clone(), &listed, &mask) {
                    Ok(row) => row,
                    Err(problem) => return rejected("required_null", problem.to_string()),
                }
            }
        };
        if row != state.row {
            set_row(&mut state, row);
            stamp(entity, &mut state, &change, origin);
            kind = Kind::Updated;
        }
    }
    remember(&mut state, change.source, change.row_hash, listed);
    Outcome { kind, state: Some(state) }
}

/// Puts the row in, and the old one into every memory that relied on it.
fn set_row<'a>(state: &mut State<'a>, row: Row<'a>) {
    let old = std::mem::replace(&mut state.row, row);
    let mut spare = Some(old);
    let relying = state.snapshots.iter().filter(|memory| memory.row.is_none()).count();
    let mut left = relying;
    for memory in &mut state.snapshots {
        match &memory.row {
            None => {
                left -= 1;
                memory.row = if left == 0 { spare.take() } else { spare.clone() };
            }
            Some(row) if *row == state.row => memory.row = None,
            Some(_) => {}
        }
    }
}

/// What the source says of the key from now on; its row only where the state's is another.
fn remember<'a>(state: &mut State<'a>, source: Cow<'a, str>, hash: u64, listed: Row<'a>) {
    let row = (listed != state.row).then_some(listed);
    match state.snapshots.iter_mut().find(|memory| memory.source == source) {
        Some(memory) => {
            memory.hash = hash;
            memory.row = row;
        }
        None => state.snapshots.push(SnapshotMemory { source, hash, row }),
    }
}

/// Everything beside the row that a new after-image takes from its change.
fn stamp<'a>(entity: &Entity, state: &mut State<'a>, change: &Change<'a>, origin: Origin) {
    state.version = origin.version;
    state.position = (origin.partition, origin.offset);
    state.changed_at = change.occurred_at.unwrap_or(change.ingested_at);
    state.ingested_at = change.ingested_at;
    if let Some(tenant) = entity.tenant_of(&state.row) {
        if state.tenant.as_deref() != Some(tenant) {
            state.tenant = Some(Cow::Owned(tenant.to_owned()));
        }
    } else if let Some(tenant) = &change.tenant {
        state.tenant = Some(tenant.clone());
    }
}
