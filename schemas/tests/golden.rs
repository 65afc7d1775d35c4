//! Bytes of every release still mean what they meant.
//!
//! `golden/<entity>.v<n>.json` holds one change and one state as that release wrote them: the schema, the bytes, and what they
//! must read as. They are never written over. After a release, `TIDEMARK_GOLDEN=write cargo test -p tidemark-schemas --test
//! golden` writes those that are missing; look at them and commit them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test and its helpers say what they expect by unwrapping")]

use std::path::PathBuf;
use std::sync::Once;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tidemark_schemas::cell::{Cell, Row};
use tidemark_schemas::codec::{decode_change, decode_state, encode_change, encode_state};
use tidemark_schemas::entity::{FieldType, RecordType};
use tidemark_schemas::json::row_to_json;
use tidemark_schemas::released::{HISTORY, Release};
use tidemark_schemas::state::SnapshotMemory;
use tidemark_schemas::{Catalog, Change, Entity, Operation, State, change, row};

/// The golden file of a release; first, once, writes those that are missing if that is wished.
fn read(release: &Release) -> Value {
    static WRITE_MISSING: Once = Once::new();
    WRITE_MISSING.call_once(|| {
        if std::env::var("TIDEMARK_GOLDEN").is_ok_and(|wish| wish == "write") {
            for release in HISTORY.iter().filter(|release| !path(release).exists()) {
                std::fs::write(path(release), golden(release)).unwrap();
            }
        }
    });
    let path = path(release);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; TIDEMARK_GOLDEN=write makes it", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn path(release: &Release) -> PathBuf {
    let name = format!("{}.v{}.json", release.entity, release.version);
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

#[test]
fn golden_bytes_read_as_they_did() {
    let catalog = Catalog::built_in();
    for release in &HISTORY {
        let golden = read(release);
        let place = format!("{} v{}", release.entity, release.version);
        let entity = catalog.entity(release.entity).unwrap();
        for what in ["change", "state"] {
            catalog.learn(release.entity, &golden[what]["schema"].to_string()).unwrap();
        }
        let bytes = unhex(golden["change"]["bytes"].as_str().unwrap());
        let read = change_json(entity, &decode_change(&catalog, entity, &bytes).unwrap());
        expect_within(&golden["change"]["reads"], &read, &place);
        let bytes = unhex(golden["state"]["bytes"].as_str().unwrap());
        let read = state_json(entity, &decode_state(&catalog, entity, &bytes).unwrap());
        expect_within(&golden["state"]["reads"], &read, &place);
    }
}

#[test]
fn the_newest_release_still_writes_its_golden_bytes() {
    let catalog = Catalog::built_in();
    for entity in catalog.entities() {
        let newest = HISTORY.iter().rfind(|release| release.entity == entity.name).unwrap();
        let golden = read(newest);
        let bytes = unhex(golden["change"]["bytes"].as_str().unwrap());
        let mut again = Vec::new();
        encode_change(entity, &decode_change(&catalog, entity, &bytes).unwrap(), &mut again);
        assert_eq!(again, bytes, "{}", entity.name);
        let bytes = unhex(golden["state"]["bytes"].as_str().unwrap());
        let mut again = Vec::new();
        encode_state(entity, &decode_state(&catalog, entity, &bytes).unwrap(), &mut again);
        assert_eq!(again, bytes, "{}", entity.name);
    }
}

/// What is expected is there; what is there beside it is null (a field of a later release).
fn expect_within(expected: &Value, read: &Value, place: &str) {
    match (expected, read) {
        (Value::Object(expected), Value::Object(read)) => {
            for (name, value) in read {
                expect_within(expected.get(name).unwrap_or(&Value::Null), value, &format!("{place}: {name}"));
            }
            let lost = expected.keys().find(|name| !read.contains_key(*name));
            assert_eq!(lost, None, "{place}: a field has been lost");
        }
        (Value::Array(expected), Value::Array(read)) => {
            assert_eq!(expected.len(), read.len(), "{place}");
            expected.iter().zip(read).for_each(|(expected, read)| expect_within(expected, read, place));
        }
        _ => assert_eq!(expected, read, "{place}"),
    }
}

fn change_json(entity: &Entity, change: &Change<'_>) -> Value {
    json!({
        "key": change.key, "tenant": change.tenant, "operation": format!("{:?}", change.operation),
        "mask": change.mask.iter().map(|number| entity.dotted(*number)).collect::<Vec<_>>(),
        "row": change.row.as_ref().map(|row| row_to_json(&entity.record, row)),
        "source": change.source, "source_seq": change.source_seq, "snapshot": change.snapshot, "row_hash": change.row_hash,
        "occurred_at": change.occurred_at, "ingested_at": change.ingested_at, "event_id": change.event_id.to_string(),
        "claim": change.claim,
    })
}

fn state_json(entity: &Entity, state: &State<'_>) -> Value {
    let snapshots = state.snapshots.iter().map(|snapshot| {
        let row = snapshot.row.as_ref().map(|row| row_to_json(&entity.record, row));
        json!({"source": snapshot.source, "hash": snapshot.hash, "row": row})
    });
    json!({
        "key": state.key, "tenant": state.tenant, "version": state.version, "deleted": state.deleted,
        "row": row_to_json(&entity.record, &state.row), "changed_at": state.changed_at, "ingested_at": state.ingested_at,
        "position": state.position, "snapshots": snapshots.collect::<Vec<_>>(),
    })
}

/// The golden file of a release, written by this build under that release's schema.
fn golden(release: &Release) -> String {
    let writer = Catalog::with_files(&[(format!("{}.avsc", release.entity), release.text.to_owned())]).unwrap();
    let entity = writer.entity(release.entity).unwrap();
    let row = sample_row(&entity.record, 1);
    let key = entity.key_of(&row).unwrap().to_string();
    let tenant = entity.tenant_of(&row).map(|tenant| tenant.to_owned().into());
    let change = Change {
        key: key.clone().into(),
        tenant: tenant.clone(),
        operation: Operation::Update,
        mask: vec![1, entity.columns.last().unwrap().number],
        row_hash: row::hash(&entity.record, &row),
        row: Some(row.clone()),
        source: "file".into(),
        source_seq: (3 << 40) + 7,
        snapshot: false,
        occurred_at: Some(1_768_012_200_000_000),
        ingested_at: 1_768_012_200_123_456,
        event_id: change::event_id("file", (3 << 40) + 7),
        claim: "claim".into(),
    };
    let state = State {
        key: key.into(),
        tenant,
        version: (1 << 40) + 42,
        deleted: false,
        row: row.clone(),
        changed_at: 1_768_012_200_000_000,
        ingested_at: 1_768_012_200_123_456,
        position: (2, 41),
        snapshots: vec![
            SnapshotMemory { source: "file".into(), hash: row::hash(&entity.record, &row), row: None },
            SnapshotMemory { source: "crm".into(), hash: 1, row: Some(sample_row(&entity.record, 2)) },
        ],
    };
    let (mut change_bytes, mut state_bytes) = (Vec::new(), Vec::new());
    encode_change(entity, &change, &mut change_bytes);
    encode_state(entity, &state, &mut state_bytes);
    let schema = |json: &str| serde_json::from_str::<Value>(json).unwrap();
    let golden = json!({
        "change": {
            "schema": schema(&entity.change_envelope.json), "bytes": hex(&change_bytes), "reads": change_json(entity, &change),
        },
        "state": {
            "schema": schema(&entity.state_envelope.json), "bytes": hex(&state_bytes), "reads": state_json(entity, &state),
        },
    });
    format!("{golden:#}\n")
}

/// A row with a value in every field but each fifth one that may be null.
fn sample_row(record: &RecordType, seed: i64) -> Row<'static> {
    let cells = record.fields.iter().enumerate().map(|(position, field)| {
        if field.nullable && position % 5 == 4 {
            return Cell::Null;
        }
        sample(&field.kind, &field.name, seed + i64::try_from(position).unwrap())
    });
    cells.collect()
}

fn sample(kind: &FieldType, name: &str, seed: i64) -> Cell<'static> {
    match kind {
        FieldType::Bool => Cell::Bool(seed % 2 == 0),
        FieldType::Int { .. } => Cell::Int(seed * 1_000),
        FieldType::Text { codes: Some(codes), .. } => Cell::Text(codes[0].clone().into()),
        FieldType::Text { .. } => Cell::Text(format!("{name}|医美{seed}").into()),
        FieldType::Decimal { scale, .. } => Cell::Decimal(Decimal::new(-1_234 * seed, *scale)),
        FieldType::Date => Cell::Date(20_000 + i32::try_from(seed).unwrap()),
        FieldType::Timestamp => Cell::Timestamp(1_768_012_200_000_000 + seed),
        FieldType::Record(nested) => Cell::Record(sample_row(nested, seed)),
        FieldType::Array(items) => Cell::Array(vec![sample(items, name, seed), sample(items, name, seed + 1)]),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
