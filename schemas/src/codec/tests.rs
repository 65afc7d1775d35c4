use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::cell::Cell;
use crate::change::Operation;
use crate::samples::{any_change, any_state};

mod damage;
mod oracle;
mod resolution;

fn encoded_change(entity: &Entity, change: &Change<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_change(entity, change, &mut bytes);
    bytes
}

fn encoded_state(entity: &Entity, state: &State<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_state(entity, state, &mut bytes);
    bytes
}

/// A small change of an institution.
fn a_change() -> Change<'static> {
    let mut row = vec![Cell::Null; 8];
    row[0] = Cell::text("BJ-HA-001");
    Change {
        key: Cow::Borrowed("BJ-HA-001"),
        tenant: Some(Cow::Borrowed("BJ-HA-001")),
        operation: Operation::Insert,
        mask: Vec::new(),
        row: Some(row),
        source: Cow::Borrowed("file"),
        source_seq: 1 << 40,
        snapshot: true,
        row_hash: u64::MAX,
        occurred_at: None,
        ingested_at: 1_768_000_000_000_000,
        event_id: crate::change::event_id("file", 1 << 40),
        claim: Cow::Borrowed("c"),
    }
}

#[test]
fn every_change_and_state_comes_back() {
    let catalog = Catalog::built_in();
    for entity in catalog.entities() {
        proptest!(ProptestConfig::with_cases(64), |(change in any_change(entity), state in any_state(entity))| {
            let bytes = encoded_change(entity, &change);
            prop_assert_eq!(decode_change(&catalog, entity, &bytes).unwrap(), change);
            let bytes = encoded_state(entity, &state);
            prop_assert_eq!(decode_state(&catalog, entity, &bytes).unwrap(), state);
        });
    }
}

#[test]
fn text_is_borrowed_from_the_bytes() {
    let catalog = Catalog::built_in();
    let entity = catalog.entity("institution").unwrap();
    let bytes = encoded_change(entity, &a_change());
    let read = decode_change(&catalog, entity, &bytes).unwrap();
    assert!(matches!(&read.row.unwrap()[0], Cell::Text(Cow::Borrowed("BJ-HA-001"))));
}

#[test]
fn encoding_appends() {
    let catalog = Catalog::built_in();
    let entity = catalog.entity("institution").unwrap();
    let mut bytes = b"before".to_vec();
    encode_change(entity, &a_change(), &mut bytes);
    assert_eq!(decode_change(&catalog, entity, &bytes[6..]).unwrap(), a_change());
}

#[test]
#[should_panic(expected = "does not fit its schema at `institution_code`")]
fn a_row_without_its_key_is_not_encoded() {
    let catalog = Catalog::built_in();
    let change = Change { row: Some(vec![Cell::Null; 8]), ..a_change() };
    encoded_change(catalog.entity("institution").unwrap(), &change);
}
