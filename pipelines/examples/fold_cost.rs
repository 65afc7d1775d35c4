//! What the fold costs per record: CPU microseconds and records per second on the embedded log, for a first import of ascending
//! keys and for updates of all of them in shuffled order. `cargo run --release --example fold_cost -- 200000`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::{Append, Topics};
use tidemark_pipelines::engine::{BatchLimits, Pipeline};
use tidemark_pipelines::status::StatusBoard;
use tidemark_schemas::change::{Change, Operation, event_id};
use tidemark_schemas::codec::encode_change;
use tidemark_schemas::{Catalog, Entity, json, row};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let keys: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let directory = tempfile::tempdir().expect("a temporary folder can be made");
    let log = EmbeddedLog::open(EmbeddedOptions::new(directory.path().join("log.db"))).await.expect("the log opens");
    let pipeline = Pipeline {
        log: Arc::new(log),
        topics: Topics::new("tidemark"),
        catalog: Arc::new(Catalog::built_in()),
        board: StatusBoard::default(),
        shutdown: CancellationToken::new(),
    };
    pipeline.prepare(1).await.expect("topics can be made");
    let ascending: Vec<u64> = (0..keys).collect();
    let mut shuffled = ascending.clone();
    let mut random = 7_u64;
    for index in (1..shuffled.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        shuffled.swap(index, (random >> 33) as usize % (index + 1));
    }
    let cache = directory.path().join("state");
    for (phase, order, number) in
        [("first import", &ascending, 1), ("shuffled snapshot rows", &shuffled, 2), ("unchanged", &shuffled, 2)]
    {
        publish(&pipeline, order, number).await;
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let mut run = pipeline.clone();
        run.shutdown = CancellationToken::new();
        let folding = run.run_fold(cache.clone(), BatchLimits::FOLD);
        let waiting = async {
            run.caught_up(&["fold"]).await.expect("the log answers");
            let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
            println!(
                "{phase}: {:.0} records/s, {:.2} CPU us per record, peak {} MiB",
                keys as f64 / wall,
                cpu * 1e6 / keys as f64,
                peak_mib()
            );
            run.shutdown.cancel();
        };
        futures::join!(folding, waiting);
    }
}

async fn publish(pipeline: &Pipeline, order: &[u64], number: u64) {
    let entity = pipeline.catalog.entity("customer").expect("it is built in");
    let topic = pipeline.topics.changes("customer");
    static SEQUENCE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    for keys in order.chunks(5_000) {
        let mut append = Append::default();
        for key in keys {
            let source_seq = SEQUENCE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let change = change(entity, *key, number, source_seq);
            append.record(&topic, 0, change.key.as_bytes(), |out| encode_change(entity, &change, out));
        }
        pipeline.log.append(append).await.expect("the log takes it");
    }
}

fn change(entity: &Entity, key: u64, number: u64, source_seq: u64) -> Change<'static> {
    let text = format!(
        r#"{{"customer_code":"BJ-HA-001-C{key:07}","institution_code":"BJ-HA-001","person":{{"name":"李某某","phone":"1380000{key:04}",
            "gender":"FEMALE","birthday":"1990-01-02","address":"北京市朝阳区某某路 {number} 号"}},"vip_level":"GOLD","source":"REFERRAL",
            "consultant_code":"CONSULTANT-1","tags":["敏感肌","抗衰老"],"status":"ACTIVE","first_visit_date":"2025-01-10","notes":"第 {number} 次"}}"#
    );
    let value = serde_json::from_str(&text).expect("it is JSON");
    let cells = json::row_from_json(&entity.record, &value).expect("it is a customer");
    Change {
        key: Cow::Owned(format!("BJ-HA-001-C{key:07}")),
        tenant: Some(Cow::Borrowed("BJ-HA-001")),
        operation: Operation::Insert,
        mask: Vec::new(),
        row_hash: row::hash(&entity.record, &cells),
        row: Some(cells),
        source: Cow::Borrowed("file"),
        source_seq,
        snapshot: true,
        occurred_at: None,
        ingested_at: 1_768_012_200_000_000,
        event_id: event_id("file", source_seq),
        claim: Cow::Borrowed("file-1"),
    }
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) / 1024
}
