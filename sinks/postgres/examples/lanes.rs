//! How fast rows land, and what that costs this process: `lanes URL ROWS LANES [narrow|referring]`, in a schema of its own.
//!
//! Inserts ROWS rows of eight columns in batches as the engine makes them, then updates all of them, then repeats the update.
//! `referring` has three of the columns indexed, as references are.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made is a failed one")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_log::{LogIdentity, RecordBatch, Share};
use tidemark_schemas::codec::encode_state;
use tidemark_schemas::{Catalog, Cell, Entity, State};
use tidemark_sink_core::{SinkBatch, TopicBatch};
use tidemark_sink_postgres::{PostgresOptions, relational};

/// What the engine gathers at most.
const BATCH_ROWS: u64 = 8_000;
/// The kernel's clock ticks a second, as `/proc` shows them.
const TICKS: f64 = 100.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, rows, lanes, rest @ ..] = arguments.as_slice() else {
        eprintln!("lanes URL ROWS LANES [narrow|referring]");
        std::process::exit(2);
    };
    let referring = rest.first().is_some_and(|kind| kind == "referring");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(url, rows.parse().unwrap(), lanes.parse().unwrap(), referring));
}

async fn measure(url: &str, rows: u64, lanes: usize, referring: bool) {
    let catalog = Arc::new(Catalog::with_files(&[("narrow.avsc".to_owned(), schema(referring))]).unwrap());
    let entity = Arc::clone(catalog.entity("narrow").unwrap());
    let log = LogIdentity { id: uuid::Uuid::new_v4(), generation: 1 };
    let options = PostgresOptions { lanes, ..PostgresOptions::new(url, "tidemark speed") };
    let mut sink = relational(options, Arc::clone(&catalog));
    sink.reset().await.unwrap();
    sink.open(log, &Share::All).await.unwrap();
    let mut next = 0;
    for (name, version) in [("insert", 1), ("update", 2), ("repeat", 2)] {
        let (mut taken, mut cpu) = (Duration::ZERO, 0.0);
        for start in (0..rows).step_by(BATCH_ROWS as usize) {
            let count = BATCH_ROWS.min(rows - start);
            let batch = batch(&catalog, &entity, start, count, next, version);
            next += count;
            let (began, used) = (Instant::now(), cpu_seconds());
            sink.apply(&batch).await.unwrap();
            taken += began.elapsed();
            cpu += cpu_seconds() - used;
        }
        let millions = rows as f64 / 1e6;
        println!("{name}: {:.0} rows/s, own CPU {:.2} s per million", rows as f64 / taken.as_secs_f64(), cpu / millions);
    }
    sink.reset().await.unwrap();
}

fn schema(referring: bool) -> String {
    let reference = if referring { r#","references":"narrow","edge":"refers_to""# } else { "" };
    let money = r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}"#;
    let text =
        |name: &str, more: &str| format!(r#"{{"name":"{name}","type":["null","string"],"default":null,"title":"x"{more}}}"#);
    let fields = [
        r#"{"name":"code","type":"string","title":"x","required":true}"#.to_owned(),
        text("shop", reference),
        text("buyer", reference),
        text("seller", reference),
        text("state", ""),
        r#"{"name":"day","type":["null",{"type":"int","logicalType":"date"}],"default":null,"title":"x"}"#.to_owned(),
        format!(r#"{{"name":"amount","type":["null",{money}],"default":null,"title":"x"}}"#),
        r#"{"name":"pieces","type":["null","long"],"default":null,"title":"x"}"#.to_owned(),
    ];
    format!(
        r#"{{"type":"record","name":"narrow","namespace":"tidemark","tidemark":{{"title":"x","key":"code"}},"fields":[{}]}}"#,
        fields.join(",")
    )
}

fn batch(catalog: &Arc<Catalog>, entity: &Arc<Entity>, start: u64, count: u64, from: u64, version: u64) -> SinkBatch {
    let mut records = RecordBatch::default();
    let mut value = Vec::new();
    for number in start..start + count {
        let text = |text: String| Cell::Text(text.into());
        let row = vec![
            text(format!("BJ-HA-001-ORD-{number:09}")),
            text(format!("SHOP-{}", number % 20)),
            text(format!("C{:07}", number.wrapping_mul(7_919) % 200_000)),
            text(format!("STAFF-{}", number % 500)),
            text("PAID".to_owned()),
            Cell::Date(20_000 + (number % 365) as i32),
            Cell::Decimal(rust_decimal::Decimal::new((number % 100_000).cast_signed(), 2)),
            Cell::Int((number % 9 + version).cast_signed()),
        ];
        let state = State {
            key: entity.key_of(&row).unwrap().to_string().into(),
            tenant: None,
            version,
            deleted: false,
            row,
            changed_at: 1_768_012_200_000_000,
            ingested_at: 1_768_012_200_000_000,
            position: (0, number),
            snapshots: Vec::new(),
        };
        value.clear();
        encode_state(entity, &state, &mut value);
        records.push(from + number - start, 0, state.key.as_bytes(), &value);
    }
    let part = TopicBatch { entity: Arc::clone(entity), partition: 0, from, next: from + count, records: Arc::new(records) };
    SinkBatch { catalog: Arc::clone(catalog), parts: vec![part], excluded: HashSet::new() }
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / TICKS
}
