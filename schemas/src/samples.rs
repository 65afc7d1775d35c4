//! Random rows, changes and states for tests; and entities that differ a little from the built-in ones.

use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cell::{Cell, Row};
use crate::change::{Change, Operation};
use crate::entity::{Entity, FieldType, RecordType};
use crate::state::{SnapshotMemory, State};

/// Any row that fits the record; fields that may be null are so one time in three.
pub(crate) fn any_row(record: &RecordType) -> BoxedStrategy<Row<'static>> {
    let cells: Vec<BoxedStrategy<Cell<'static>>> = record
        .fields
        .iter()
        .map(|field| {
            let value = any_value(&field.kind);
            if field.nullable { prop_oneof![1 => Just(Cell::Null), 2 => value].boxed() } else { value }
        })
        .collect();
    cells.boxed()
}

fn any_value(kind: &FieldType) -> BoxedStrategy<Cell<'static>> {
    match kind {
        FieldType::Bool => any::<bool>().prop_map(Cell::Bool).boxed(),
        FieldType::Int { .. } => prop_oneof![any::<i64>(), -70..70_i64].prop_map(Cell::Int).boxed(),
        FieldType::Text { .. } => any_text().prop_map(|text| Cell::Text(text.into())).boxed(),
        FieldType::Decimal { precision, scale } => {
            let (limit, scale) = (10_i128.pow(*precision) - 1, *scale);
            prop_oneof![-limit..=limit, (-300..300_i128).prop_map(move |small| small.clamp(-limit, limit))]
                .prop_map(move |whole| Cell::Decimal(Decimal::from_i128_with_scale(whole, scale)))
                .boxed()
        }
        FieldType::Date => any::<i32>().prop_map(Cell::Date).boxed(),
        FieldType::Timestamp => any::<i64>().prop_map(Cell::Timestamp).boxed(),
        FieldType::Record(nested) => any_row(nested).prop_map(Cell::Record).boxed(),
        FieldType::Array(items) => prop::collection::vec(any_value(items), 0..4).prop_map(Cell::Array).boxed(),
    }
}

fn any_text() -> BoxedStrategy<String> {
    prop_oneof!["[A-Z]{0,8}", ".{0,20}", "[医美客户😀\"\\\\|{}]{0,6}", "x{60,70}"].boxed()
}

/// Any change of the entity.
pub(crate) fn any_change(entity: &Entity) -> BoxedStrategy<Change<'static>> {
    let operation = prop_oneof![Just(Operation::Insert), Just(Operation::Update), Just(Operation::Delete)];
    let mask = prop::collection::btree_set(0..last_number(&entity.record) + 1, 0..6);
    let heads = (any_text(), prop::option::of(any_text()), operation, mask, any_row(&entity.record));
    let sources = (any_text(), any::<u64>(), any::<bool>(), any::<u64>(), any_text());
    let times = (prop::option::of(any::<i64>()), any::<i64>(), any::<u128>());
    (heads, sources, times)
        .prop_map(|((key, tenant, operation, mask, row), (source, source_seq, snapshot, row_hash, claim), times)| Change {
            key: key.into(),
            tenant: tenant.map(Into::into),
            operation,
            mask: if operation == Operation::Update { mask.into_iter().collect() } else { Vec::new() },
            row: (operation != Operation::Delete).then_some(row),
            source: source.into(),
            source_seq,
            snapshot,
            row_hash,
            occurred_at: times.0,
            ingested_at: times.1,
            event_id: Uuid::from_u128(times.2),
            claim: claim.into(),
        })
        .boxed()
}

/// Any state of the entity.
pub(crate) fn any_state(entity: &Entity) -> BoxedStrategy<State<'static>> {
    let snapshot = (any_text(), any::<u64>(), prop::option::of(any_row(&entity.record)))
        .prop_map(|(source, hash, row)| SnapshotMemory { source: source.into(), hash, row });
    let heads = (any_text(), prop::option::of(any_text()), 0..1_u64 << 53, any::<bool>(), any_row(&entity.record));
    let tails = (any::<i64>(), any::<i64>(), 0..i32::MAX as u32, any::<u64>(), prop::collection::vec(snapshot, 0..3));
    (heads, tails)
        .prop_map(|((key, tenant, version, deleted, row), (changed_at, ingested_at, partition, offset, snapshots))| State {
            key: key.into(),
            tenant: tenant.map(Into::into),
            version,
            deleted,
            row,
            changed_at,
            ingested_at,
            position: (partition, offset),
            snapshots,
        })
        .boxed()
}

/// The highest number of a field.
pub(crate) fn last_number(record: &RecordType) -> u32 {
    let last = record.fields.last().expect("no record is empty");
    if let FieldType::Record(nested) = &last.kind { last_number(nested) } else { last.number }
}

/// `customer` as a later build might have it: a field in front, one inside `person`, one at the end.
pub(crate) fn later_customer() -> String {
    let mut schema: Value = serde_json::from_str(include_str!("../entities/customer.avsc")).unwrap();
    let text = |name: &str| json!({"name": name, "type": ["null", "string"], "default": null, "title": name});
    let fields = schema["fields"].as_array_mut().unwrap();
    let person = fields[2]["type"][1]["fields"].as_array_mut().unwrap();
    person.insert(1, text("wechat"));
    let visits = json!({"type": "record", "name": "visit", "fields": [text("room"), text("remark")]});
    fields.insert(1, json!({"name": "visit", "type": ["null", visits], "default": null, "title": "visit"}));
    fields.push(text("nickname"));
    schema.to_string()
}
