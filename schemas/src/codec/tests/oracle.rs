//! `apache-avro` writes the same bytes and reads ours as the same values.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use proptest::prelude::*;

use super::{encoded_change, encoded_state};
use crate::Catalog;
use crate::cell::Cell;
use crate::change::{Change, Operation};
use crate::entity::{FieldType, RecordType};
use crate::samples::{any_change, any_state};
use crate::state::State;

/// `C3 01` and the fingerprint.
pub(super) const HEADER_BYTES: usize = 10;

pub(super) fn row_value(record: &RecordType, row: &[Cell<'_>]) -> Value {
    let fields = record.fields.iter().zip(row).map(|(field, cell)| {
        let value = if field.nullable { optional(cell_value(&field.kind, cell)) } else { cell_value(&field.kind, cell) };
        (field.name.clone(), value)
    });
    Value::Record(fields.collect())
}

fn optional(value: Value) -> Value {
    let branch = u32::from(!matches!(value, Value::Null));
    Value::Union(branch, Box::new(value))
}

fn cell_value(kind: &FieldType, cell: &Cell<'_>) -> Value {
    match (kind, cell) {
        (_, Cell::Null) => Value::Null,
        (_, Cell::Bool(value)) => Value::Boolean(*value),
        (_, Cell::Int(value)) => Value::Long(*value),
        (_, Cell::Text(text)) => Value::String(text.to_string()),
        (FieldType::Decimal { scale, .. }, Cell::Decimal(value)) => {
            assert_eq!(value.scale(), *scale);
            Value::Decimal(Decimal::from(shortest(&value.mantissa().to_be_bytes())))
        }
        (_, Cell::Date(days)) => Value::Date(*days),
        (_, Cell::Timestamp(micros)) => Value::TimestampMicros(*micros),
        (FieldType::Record(nested), Cell::Record(row)) => row_value(nested, row),
        (FieldType::Array(items), Cell::Array(cells)) => Value::Array(cells.iter().map(|cell| cell_value(items, cell)).collect()),
        _ => unreachable!("samples fit their schema"),
    }
}

/// Two's complement without the leading bytes that only repeat the sign.
fn shortest(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0x00, next, ..] if *next < 0x80 => shortest(&bytes[1..]),
        [0xff, next, ..] if *next >= 0x80 => shortest(&bytes[1..]),
        _ => bytes,
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn optional_text(value: Option<&str>) -> Value {
    optional(value.map_or(Value::Null, text))
}

fn record(fields: Vec<(&str, Value)>) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(super) fn change_value(types: &RecordType, change: &Change<'_>) -> Value {
    let operation = match change.operation {
        Operation::Insert => Value::Enum(0, "INSERT".to_owned()),
        Operation::Update => Value::Enum(1, "UPDATE".to_owned()),
        Operation::Delete => Value::Enum(2, "DELETE".to_owned()),
    };
    record(vec![
        ("key", text(&change.key)),
        ("tenant", optional_text(change.tenant.as_deref())),
        ("operation", operation),
        ("mask", Value::Array(change.mask.iter().map(|number| Value::Int((*number).try_into().unwrap())).collect())),
        ("row", optional(change.row.as_ref().map_or(Value::Null, |row| row_value(types, row)))),
        ("source", text(&change.source)),
        ("source_seq", Value::Long(change.source_seq.cast_signed())),
        ("snapshot", Value::Boolean(change.snapshot)),
        ("row_hash", Value::Long(change.row_hash.cast_signed())),
        ("occurred_at", optional(change.occurred_at.map_or(Value::Null, Value::TimestampMicros))),
        ("ingested_at", Value::TimestampMicros(change.ingested_at)),
        ("event_id", Value::Uuid(change.event_id)),
        ("claim", text(&change.claim)),
    ])
}

pub(super) fn state_value(types: &RecordType, state: &State<'_>) -> Value {
    let snapshots = state.snapshots.iter().map(|snapshot| {
        record(vec![
            ("source", text(&snapshot.source)),
            ("hash", Value::Long(snapshot.hash.cast_signed())),
            ("row", optional(snapshot.row.as_ref().map_or(Value::Null, |row| row_value(types, row)))),
        ])
    });
    record(vec![
        ("key", text(&state.key)),
        ("tenant", optional_text(state.tenant.as_deref())),
        ("version", Value::Long(state.version.cast_signed())),
        ("deleted", Value::Boolean(state.deleted)),
        ("row", row_value(types, &state.row)),
        ("changed_at", Value::TimestampMicros(state.changed_at)),
        ("ingested_at", Value::TimestampMicros(state.ingested_at)),
        ("partition", Value::Int(state.position.0.try_into().unwrap())),
        ("offset", Value::Long(state.position.1.cast_signed())),
        ("snapshots", Value::Array(snapshots.collect())),
    ])
}

/// Both ways: the oracle writes our bytes, and reads them as our values.
fn agrees(schema: &Schema, value: &Value, bytes: &[u8]) {
    assert_eq!(bytes[..2], [0xC3, 0x01]);
    assert_eq!(bytes[2..HEADER_BYTES], schema.fingerprint::<apache_avro::rabin::Rabin>().bytes);
    let mut body = &bytes[HEADER_BYTES..];
    let written = GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value.clone()).unwrap();
    assert_eq!(body, written);
    let read = GenericDatumReader::builder(schema).build().unwrap().read_value(&mut body).unwrap();
    assert_eq!(read, *value);
    assert!(body.is_empty());
}

#[test]
fn apache_avro_writes_and_reads_the_same_changes() {
    let catalog = Catalog::built_in();
    for entity in catalog.entities() {
        let schema = Schema::parse_str(&super::change_schema(entity)).unwrap();
        proptest!(ProptestConfig::with_cases(48), |(change in any_change(entity))| {
            agrees(&schema, &change_value(&entity.record, &change), &encoded_change(entity, &change));
        });
    }
}

#[test]
fn apache_avro_writes_and_reads_the_same_states() {
    let catalog = Catalog::built_in();
    for entity in catalog.entities() {
        let schema = Schema::parse_str(&super::state_schema(entity)).unwrap();
        proptest!(ProptestConfig::with_cases(48), |(state in any_state(entity))| {
            agrees(&schema, &state_value(&entity.record, &state), &encoded_state(entity, &state));
        });
    }
}
