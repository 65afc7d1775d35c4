//! The state envelope by hand, in the order of [`super::envelope::state_schema`].

use std::borrow::Cow;

use super::rows;
use super::wire::{Damage, Input, NULL, VALUE, put_bytes, put_long, put_optional_text};
use crate::entity::Entity;
use crate::state::{SnapshotMemory, State};

/// Appends the body.
pub(super) fn write(entity: &Entity, state: &State<'_>, out: &mut Vec<u8>) {
    put_bytes(state.key.as_bytes(), out);
    put_optional_text(state.tenant.as_deref(), out);
    put_long(state.version.cast_signed(), out);
    out.push(u8::from(state.deleted));
    rows::write(&entity.record, &state.row, out);
    put_long(state.changed_at, out);
    put_long(state.ingested_at, out);
    let (partition, offset) = state.position;
    put_long(partition.into(), out);
    put_long(offset.cast_signed(), out);
    if !state.snapshots.is_empty() {
        put_long(state.snapshots.len() as i64, out);
        for snapshot in &state.snapshots {
            write_snapshot(entity, snapshot, out);
        }
    }
    put_long(0, out);
}

fn write_snapshot(entity: &Entity, snapshot: &SnapshotMemory<'_>, out: &mut Vec<u8>) {
    put_bytes(snapshot.source.as_bytes(), out);
    put_long(snapshot.hash.cast_signed(), out);
    match &snapshot.row {
        None => out.push(NULL),
        Some(row) => {
            out.push(VALUE);
            rows::write(&entity.record, row, out);
        }
    }
}

/// Reads the body that [`write()`] wrote.
pub(super) fn read<'b>(entity: &Entity, input: &mut Input<'b>) -> Result<State<'b>, Damage> {
    Ok(State {
        key: Cow::Borrowed(input.text()?),
        tenant: input.optional_text()?.map(Cow::Borrowed),
        version: input.long()?.cast_unsigned(),
        deleted: input.boolean()?,
        row: rows::read(&entity.record, input)?,
        changed_at: input.long()?,
        ingested_at: input.long()?,
        position: (read_partition(input)?, input.long()?.cast_unsigned()),
        snapshots: rows::read_items(input, |input| {
            Ok(SnapshotMemory {
                source: Cow::Borrowed(input.text()?),
                hash: input.long()?.cast_unsigned(),
                row: if input.is_value()? { Some(rows::read(&entity.record, input)?) } else { None },
            })
        })?,
    })
}

pub(super) fn read_partition(input: &mut Input<'_>) -> Result<u32, Damage> {
    u32::try_from(input.int()?).map_err(|_| Damage(&"a partition is negative"))
}
