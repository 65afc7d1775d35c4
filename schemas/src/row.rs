//! What can be done with rows: check, hash, merge, difference.
//!
//! All pure, over positional cells and the record that they belong to. Nothing here parses or formats.

use rust_decimal::Decimal;
use xxhash_rust::xxh3::xxh3_64;

use crate::cell::{Cell, Row};
use crate::codec::rows::unscaled;
use crate::entity::{FieldType, RecordType};

/// Room for the names and values of a usual row; a longer one makes it grow.
const GATHERED_BYTES: usize = 1024;

/// xxh3 over name and value of the non-null fields, so that a new schema field changes no hash.
///
/// Each value goes in with a tag of its type and, where its length varies, that length, so that no two rows run together.
/// A decimal counts by its whole number at the field's scale: 1.5 and 1.50 are one value.
pub fn hash(record: &RecordType, row: &[Cell<'_>]) -> u64 {
    // Gathered first: one call over all of it costs a third of many small ones.
    let mut gathered = Vec::with_capacity(GATHERED_BYTES);
    gather_record(record, row, &mut gathered);
    xxh3_64(&gathered)
}

fn gather_record(record: &RecordType, row: &[Cell<'_>], out: &mut Vec<u8>) {
    for (field, cell) in record.fields.iter().zip(row) {
        if !cell.is_null() {
            gather_text(&field.name, out);
            gather_value(&field.kind, cell, out);
        }
    }
    // No field's name is this long: it marks the end of a record.
    out.extend_from_slice(&u32::MAX.to_le_bytes());
}

fn gather_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn gather_value(kind: &FieldType, cell: &Cell<'_>, out: &mut Vec<u8>) {
    match (kind, cell) {
        (_, Cell::Null) => out.extend_from_slice(b"0"),
        (_, Cell::Bool(value)) => out.extend_from_slice(&[b'b', u8::from(*value)]),
        (_, Cell::Int(value)) => gather_number(b'i', *value, out),
        (_, Cell::Text(text)) => {
            out.extend_from_slice(b"t");
            gather_text(text, out);
        }
        (FieldType::Decimal { scale, .. }, Cell::Decimal(value)) => {
            out.extend_from_slice(b"d");
            out.extend_from_slice(&scaled(*value, *scale).to_le_bytes());
        }
        (_, Cell::Decimal(value)) => {
            out.extend_from_slice(b"d");
            out.extend_from_slice(&value.normalize().serialize());
        }
        (_, Cell::Date(days)) => gather_number(b'D', (*days).into(), out),
        (_, Cell::Timestamp(micros)) => gather_number(b'T', *micros, out),
        (FieldType::Record(nested), Cell::Record(row)) => {
            out.extend_from_slice(b"r");
            gather_record(nested, row, out);
        }
        (FieldType::Array(items), Cell::Array(cells)) => {
            gather_number(b'a', cells.len() as i64, out);
            for cell in cells {
                gather_value(items, cell, out);
            }
        }
        // A cell of another type than its field's: no row that passed `check` has one.
        (_, Cell::Record(_) | Cell::Array(_)) => out.extend_from_slice(b"?"),
    }
}

fn gather_number(tag: u8, value: i64, out: &mut Vec<u8>) {
    let mut bytes = [tag; 9];
    bytes[1..].copy_from_slice(&value.to_le_bytes());
    out.extend_from_slice(&bytes);
}

fn scaled(value: Decimal, scale: u32) -> i128 {
    unscaled(value, scale).unwrap_or_else(|| value.mantissa())
}

/// Whether the row can be encoded as this record; the error names the first field that does not fit.
///
/// Nullability is the encoding's (only key fields are never null); whether *required* fields are there is
/// [`missing_required`].
pub fn check(record: &RecordType, row: &[Cell<'_>]) -> Result<(), String> {
    if row.len() != record.fields.len() {
        return Err(format!("{} has {} fields, the row has {}", record.name, record.fields.len(), row.len()));
    }
    for (field, cell) in record.fields.iter().zip(row) {
        if cell.is_null() {
            if !field.nullable {
                return Err(format!("`{}` must not be null", field.name));
            }
        } else {
            check_value(&field.kind, cell).map_err(|problem| format!("`{}` {problem}", field.name))?;
        }
    }
    Ok(())
}

fn check_value(kind: &FieldType, cell: &Cell<'_>) -> Result<(), String> {
    match (kind, cell) {
        (FieldType::Bool, Cell::Bool(_))
        | (FieldType::Int { .. }, Cell::Int(_))
        | (FieldType::Text { .. }, Cell::Text(_))
        | (FieldType::Date, Cell::Date(_))
        | (FieldType::Timestamp, Cell::Timestamp(_)) => Ok(()),
        (FieldType::Decimal { precision, scale }, Cell::Decimal(value)) => match unscaled(*value, *scale) {
            Some(whole) if whole.unsigned_abs() < 10_u128.pow(*precision) => Ok(()),
            _ => Err(format!("has more than {precision} digits")),
        },
        (FieldType::Record(nested), Cell::Record(row)) => {
            check(nested, row).map_err(|problem| format!("does not fit: {problem}"))
        }
        (FieldType::Array(items), Cell::Array(cells)) => cells.iter().try_for_each(|cell| check_value(items, cell)),
        _ => Err("is of another type".to_owned()),
    }
}

/// The dotted name of the first required field without a value: what a live row must not have. A null nested record asks for
/// none of its fields.
pub fn missing_required(record: &RecordType, row: &[Cell<'_>]) -> Option<String> {
    for (field, cell) in record.fields.iter().zip(row) {
        if cell.is_null() {
            if field.required {
                return Some(field.name.clone());
            }
        } else if let Some(inner) = missing_in_value(&field.kind, cell) {
            return Some(format!("{}.{inner}", field.name));
        }
    }
    None
}

fn missing_in_value(kind: &FieldType, cell: &Cell<'_>) -> Option<String> {
    match (kind, cell) {
        (FieldType::Record(nested), Cell::Record(row)) => missing_required(nested, row),
        (FieldType::Array(items), Cell::Array(cells)) => cells.iter().find_map(|cell| missing_in_value(items, cell)),
        _ => None,
    }
}

/// Why a partial row cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A required field would be null.
    #[error("`{0}` is required and would be null")]
    RequiredNull(String),
}

/// The row after the masked fields of `patch` were put into `row`. A child of a null nested record makes the record, with nulls
/// beside it; it is an error if a required field of it would then be null.
///
/// Only what the mask touches is judged: a required field that is null already and is not spoken of stays as it is.
pub fn merge<'a>(record: &RecordType, row: Row<'a>, patch: &[Cell<'a>], mask: &[u32]) -> Result<Row<'a>, MergeError> {
    let mut row = row;
    merge_into(record, &mut row, patch, mask, "")?;
    Ok(row)
}

fn merge_into<'a>(
    record: &RecordType,
    row: &mut Row<'a>,
    patch: &[Cell<'a>],
    mask: &[u32],
    prefix: &str,
) -> Result<(), MergeError> {
    for (position, field) in record.fields.iter().enumerate() {
        let required_null = |name: &str| MergeError::RequiredNull(format!("{prefix}{}{name}", field.name));
        if mask.contains(&field.number) {
            let cell = &patch[position];
            if cell.is_null() && field.required {
                return Err(required_null(""));
            }
            if let Some(inner) = missing_in_value(&field.kind, cell) {
                return Err(required_null(&format!(".{inner}")));
            }
            row[position] = cell.clone();
            continue;
        }
        let FieldType::Record(nested) = &field.kind else { continue };
        if !speaks_of(nested, mask) {
            continue;
        }
        let nothing = vec![Cell::Null; nested.fields.len()];
        let patch = if let Cell::Record(patch) = &patch[position] { patch } else { &nothing };
        let made = !matches!(row[position], Cell::Record(_));
        if made {
            row[position] = Cell::Record(nothing.clone());
        }
        let Cell::Record(inner) = &mut row[position] else { continue };
        merge_into(nested, inner, patch, mask, &format!("{prefix}{}.", field.name))?;
        if made && let Some(missing) = missing_required(nested, inner) {
            return Err(required_null(&format!(".{missing}")));
        }
    }
    Ok(())
}

/// Whether the mask names a field of this nested record, at any depth.
fn speaks_of(record: &RecordType, mask: &[u32]) -> bool {
    record
        .fields
        .iter()
        .any(|field| mask.contains(&field.number) || matches!(&field.kind, FieldType::Record(nested) if speaks_of(nested, mask)))
}

/// The numbers of the fields in which `new` differs from `old`: nested records by child when both are there, else whole.
pub fn difference(record: &RecordType, old: &[Cell<'_>], new: &[Cell<'_>]) -> Vec<u32> {
    let mut numbers = Vec::new();
    collect_difference(record, old, new, &mut numbers);
    numbers
}

fn collect_difference(record: &RecordType, old: &[Cell<'_>], new: &[Cell<'_>], numbers: &mut Vec<u32>) {
    for (field, (old, new)) in record.fields.iter().zip(old.iter().zip(new)) {
        match (&field.kind, old, new) {
            (FieldType::Record(nested), Cell::Record(old), Cell::Record(new)) => {
                collect_difference(nested, old, new, numbers);
            }
            _ if old != new => numbers.push(field.number),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
