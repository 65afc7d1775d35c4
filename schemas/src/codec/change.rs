//! The change envelope by hand, in the order of [`super::envelope::change_schema`].

use std::borrow::Cow;

use uuid::Uuid;

use super::rows;
use super::wire::{Damage, Input, NULL, VALUE, put_bytes, put_long, put_optional_text};
use crate::change::{Change, Operation};
use crate::entity::Entity;

/// Appends the body.
pub(super) fn write(entity: &Entity, change: &Change<'_>, out: &mut Vec<u8>) {
    put_bytes(change.key.as_bytes(), out);
    put_optional_text(change.tenant.as_deref(), out);
    put_long(operation_index(change.operation), out);
    if !change.mask.is_empty() {
        put_long(change.mask.len() as i64, out);
        for number in &change.mask {
            put_long((*number).into(), out);
        }
    }
    put_long(0, out);
    match &change.row {
        None => out.push(NULL),
        Some(row) => {
            out.push(VALUE);
            rows::write(&entity.record, row, out);
        }
    }
    put_bytes(change.source.as_bytes(), out);
    put_long(change.source_seq.cast_signed(), out);
    out.push(u8::from(change.snapshot));
    put_long(change.row_hash.cast_signed(), out);
    match change.occurred_at {
        None => out.push(NULL),
        Some(micros) => {
            out.push(VALUE);
            put_long(micros, out);
        }
    }
    put_long(change.ingested_at, out);
    out.extend_from_slice(change.event_id.as_bytes());
    put_bytes(change.claim.as_bytes(), out);
}

/// Reads the body that [`write()`] wrote.
pub(super) fn read<'b>(entity: &Entity, input: &mut Input<'b>) -> Result<Change<'b>, Damage> {
    let change = Change {
        key: Cow::Borrowed(input.text()?),
        tenant: input.optional_text()?.map(Cow::Borrowed),
        operation: read_operation(input)?,
        mask: read_mask(input)?,
        row: if input.is_value()? { Some(rows::read(&entity.record, input)?) } else { None },
        source: Cow::Borrowed(input.text()?),
        source_seq: input.long()?.cast_unsigned(),
        snapshot: input.boolean()?,
        row_hash: input.long()?.cast_unsigned(),
        occurred_at: read_optional_long(input)?,
        ingested_at: input.long()?,
        event_id: read_uuid(input)?,
        claim: Cow::Borrowed(input.text()?),
    };
    check(&change)?;
    Ok(change)
}

/// What no schema says: only a delete comes without a row.
pub(super) fn check(change: &Change<'_>) -> Result<(), Damage> {
    if change.operation != Operation::Delete && change.row.is_none() {
        return Err(Damage(&"an insert or update has no row"));
    }
    Ok(())
}

fn operation_index(operation: Operation) -> i64 {
    match operation {
        Operation::Insert => 0,
        Operation::Update => 1,
        Operation::Delete => 2,
    }
}

pub(super) fn read_operation(input: &mut Input<'_>) -> Result<Operation, Damage> {
    match input.long()? {
        0 => Ok(Operation::Insert),
        1 => Ok(Operation::Update),
        2 => Ok(Operation::Delete),
        _ => Err(Damage(&"there is no such operation")),
    }
}

pub(super) fn read_mask(input: &mut Input<'_>) -> Result<Vec<u32>, Damage> {
    rows::read_items(input, |input| u32::try_from(input.int()?).map_err(|_| Damage(&"a mask holds a negative number")))
}

pub(super) fn read_optional_long(input: &mut Input<'_>) -> Result<Option<i64>, Damage> {
    if input.is_value()? { input.long().map(Some) } else { Ok(None) }
}

pub(super) fn read_uuid(input: &mut Input<'_>) -> Result<Uuid, Damage> {
    Uuid::from_slice(input.take(16)?).map_err(|_| Damage(&"an event id is not 16 bytes"))
}
