//! How long the codec, the hash and a merge take for one customer: `cargo run --release -p tidemark-schemas --example speed`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tidemark_schemas::cell::{Cell, Row};
use tidemark_schemas::codec::{decode_change, decode_state, encode_change, encode_state};
use tidemark_schemas::{Catalog, Change, Operation, State, change, json, row};

const ROUNDS: u32 = 200_000;

fn main() {
    let catalog = Catalog::built_in();
    for (name, text) in [("customer", CUSTOMER), ("consumption", CONSUMPTION)] {
        let entity = catalog.entity(name).expect("it is built in");
        let value = serde_json::from_str(text).expect("the sample is JSON");
        let row = json::row_from_json(&entity.record, &value).expect("the sample fits its schema");
        let (change, state) = (a_change(&row), a_state(&row));
        let (mut change_bytes, mut state_bytes) = (Vec::new(), Vec::new());
        encode_change(entity, &change, &mut change_bytes);
        encode_state(entity, &state, &mut state_bytes);
        println!("{name}: change {} bytes, state {} bytes", change_bytes.len(), state_bytes.len());
        let mut out = Vec::with_capacity(1024);
        report("encode change", || {
            out.clear();
            encode_change(entity, black_box(&change), &mut out);
        });
        report("encode state", || {
            out.clear();
            encode_state(entity, black_box(&state), &mut out);
        });
        report("decode change", || drop(black_box(decode_change(&catalog, entity, black_box(&change_bytes)))));
        report("decode state", || drop(black_box(decode_state(&catalog, entity, black_box(&state_bytes)))));
        report("hash", || {
            black_box(row::hash(&entity.record, black_box(&row)));
        });
        report("difference of equal rows", || drop(black_box(row::difference(&entity.record, &row, black_box(&row)))));
    }
}

/// The least of five runs: what the work takes when nothing disturbs it.
fn report(what: &str, mut work: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        best = best.min(start.elapsed());
    }
    println!("  {what:<26}{:>6} ns", best.as_nanos() / u128::from(ROUNDS));
}

fn a_change<'a>(row: &Row<'a>) -> Change<'a> {
    let key = row[0].as_text().unwrap_or_default().to_owned();
    Change {
        key: key.into(),
        tenant: Some("BJ-HA-001".into()),
        operation: Operation::Insert,
        mask: Vec::new(),
        row: Some(row.clone()),
        source: "file".into(),
        source_seq: 1 << 40,
        snapshot: true,
        row_hash: 0x1234_5678_9abc_def0,
        occurred_at: None,
        ingested_at: 1_768_000_000_000_000,
        event_id: change::event_id("file", 1 << 40),
        claim: "file|BJ-HA-001/customers.json|1".into(),
    }
}

fn a_state<'a>(row: &[Cell<'a>]) -> State<'a> {
    State {
        key: row[0].as_text().unwrap_or_default().to_owned().into(),
        tenant: Some("BJ-HA-001".into()),
        version: 1 << 41,
        deleted: false,
        row: row.to_vec(),
        changed_at: 1_768_000_000_000_000,
        ingested_at: 1_768_000_000_000_000,
        position: (0, 100_000),
        snapshots: vec![tidemark_schemas::state::SnapshotMemory { source: "file".into(), hash: 77, row: None }],
    }
}

const CUSTOMER: &str = r#"{"customer_code": "BJ-HA-001-C0001", "institution_code": "BJ-HA-001",
    "person": {"name": "张小红", "phone": "13811110001", "gender": "FEMALE", "birthday": "1990-01-16", "address": "北京市朝阳区"},
    "vip_level": "GOLD", "source": "REFERRAL", "consultant_code": "CONSULTANT-3", "tags": ["敏感肌", "抗衰老"], "status": "ACTIVE",
    "first_visit_date": "2025-01-16", "last_visit_date": "2026-01-10", "notes": "VIP客户，注意服务质量"}"#;

const CONSUMPTION: &str = r#"{"order_number": "BJ-HA-001-ORD-20260110-0001", "institution_code": "BJ-HA-001",
    "customer_code": "BJ-HA-001-C0001", "doctor_code": "DOC-BJ-001", "order_date": "2026-01-10", "order_type": "PROJECT",
    "lines": [{"line_no": 1, "item_type": "PROJECT", "item_code": "BOTOX-001", "consumed_product_code": "BOTOX-100U", "quantity": 1,
        "unit_price": "3980.00", "discount_amount": "398.00", "net_amount": "3582.00"}],
    "gross_amount": "3980.00", "discount_amount": "398.00", "net_amount": "3582.00",
    "payment_method": "WECHAT", "payment_status": "PAID"}"#;
