//! Rows by position: the cells of a record in the order of its schema's fields, nothing looked up by name.

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::wire::{CAPACITY_TRUSTED, Damage, Input, NULL, VALUE, put_bytes, put_long, put_unscaled};
use crate::cell::{Cell, Row};
use crate::entity::{FieldType, RecordType};

/// Appends the row. Panics when it does not fit the record: see [`crate::row::check`].
pub(super) fn write(record: &RecordType, row: &[Cell<'_>], out: &mut Vec<u8>) {
    if row.len() != record.fields.len() {
        misfit(&record.name);
    }
    for (field, cell) in record.fields.iter().zip(row) {
        if field.nullable {
            if cell.is_null() {
                out.push(NULL);
                continue;
            }
            out.push(VALUE);
        }
        if !write_value(&field.kind, cell, out) {
            misfit(&field.name);
        }
    }
}

/// `false` when the cell is not of this type.
#[inline]
fn write_value(kind: &FieldType, cell: &Cell<'_>, out: &mut Vec<u8>) -> bool {
    match (kind, cell) {
        (FieldType::Text { .. }, Cell::Text(text)) => put_bytes(text.as_bytes(), out),
        (FieldType::Int { .. }, Cell::Int(value)) | (FieldType::Timestamp, Cell::Timestamp(value)) => put_long(*value, out),
        (FieldType::Decimal { scale, .. }, Cell::Decimal(value)) => match unscaled(*value, *scale) {
            Some(unscaled) => put_unscaled(unscaled, out),
            None => return false,
        },
        (FieldType::Date, Cell::Date(days)) => put_long((*days).into(), out),
        (FieldType::Bool, Cell::Bool(value)) => out.push(u8::from(*value)),
        (FieldType::Record(nested), Cell::Record(row)) => write(nested, row, out),
        (FieldType::Array(items), Cell::Array(cells)) => {
            if !cells.is_empty() {
                put_long(cells.len() as i64, out);
                if !cells.iter().all(|cell| write_value(items, cell, out)) {
                    return false;
                }
            }
            out.push(0);
        }
        _ => return false,
    }
    true
}

/// The whole number that stands for `value` at `scale`; `None` when it has too many digits for that scale.
#[inline]
pub(crate) fn unscaled(value: Decimal, scale: u32) -> Option<i128> {
    if value.scale() == scale {
        return Some(value.mantissa());
    }
    let mut rescaled = value;
    rescaled.rescale(scale);
    (rescaled.scale() == scale).then(|| rescaled.mantissa())
}

#[cold]
#[expect(
    clippy::panic,
    reason = "encoding a row that does not fit its schema is a programming error that must not reach the log"
)]
fn misfit(name: &str) -> ! {
    panic!("the row does not fit its schema at `{name}`; rows are checked before they are encoded")
}

/// Reads a row.
pub(super) fn read<'b>(record: &RecordType, input: &mut Input<'b>) -> Result<Row<'b>, Damage> {
    let mut row = Vec::new();
    row.resize_with(record.fields.len(), || Cell::Null);
    for (field, cell) in record.fields.iter().zip(&mut row) {
        if !field.nullable || input.is_value()? {
            read_value(&field.kind, input, cell)?;
        }
    }
    Ok(row)
}

/// Puts the value where it belongs. (Given back in a `Result` or pushed it would be moved once or twice more, and loading
/// what has just been stored in smaller pieces costs more than all of the reading.)
#[inline]
fn read_value<'b>(kind: &FieldType, input: &mut Input<'b>, cell: &mut Cell<'b>) -> Result<(), Damage> {
    match kind {
        FieldType::Text { .. } => *cell = Cell::Text(Cow::Borrowed(input.text()?)),
        FieldType::Int { .. } => *cell = Cell::Int(input.long()?),
        FieldType::Decimal { scale, .. } => *cell = Cell::Decimal(read_decimal(*scale, input)?),
        FieldType::Date => *cell = Cell::Date(input.int()?),
        FieldType::Timestamp => *cell = Cell::Timestamp(input.long()?),
        FieldType::Bool => *cell = Cell::Bool(input.boolean()?),
        FieldType::Record(nested) => *cell = Cell::Record(read(nested, input)?),
        FieldType::Array(items) => {
            let mut read = Vec::new();
            read_blocks(input, &mut read, |input, read| {
                read.push(Cell::Null);
                let last = read.len() - 1;
                read_value(items, input, &mut read[last])
            })?;
            *cell = Cell::Array(read);
        }
    }
    Ok(())
}

pub(super) fn read_decimal(scale: u32, input: &mut Input<'_>) -> Result<Decimal, Damage> {
    let unscaled = input.unscaled()?;
    if let Ok(short) = i64::try_from(unscaled) {
        return Ok(Decimal::new(short, scale));
    }
    Decimal::try_from_i128_with_scale(unscaled, scale).map_err(|_| Damage(&"a decimal has no digits or too many"))
}

/// Reads an array, whatever its blocks.
pub(super) fn read_items<'b, T>(
    input: &mut Input<'b>,
    mut read_item: impl FnMut(&mut Input<'b>) -> Result<T, Damage>,
) -> Result<Vec<T>, Damage> {
    let mut items = Vec::new();
    read_blocks(input, &mut items, |input, items| {
        items.push(read_item(input)?);
        Ok(())
    })?;
    Ok(items)
}

fn read_blocks<'b, T>(
    input: &mut Input<'b>,
    items: &mut Vec<T>,
    mut push_item: impl FnMut(&mut Input<'b>, &mut Vec<T>) -> Result<(), Damage>,
) -> Result<(), Damage> {
    loop {
        let count = input.block()?;
        if count == 0 {
            return Ok(());
        }
        items.reserve(count.min(CAPACITY_TRUSTED));
        for _ in 0..count {
            push_item(input, items)?;
        }
    }
}
