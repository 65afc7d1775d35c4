//! A large load into NebulaGraph, Qdrant and ClickHouse: it runs to its end, and how much memory it takes does not depend on it.
//!
//! Relies on: Linux, which says the highest resident set of a process. `TIDEMARK_SOAK=1` loads a million rows instead of some; the
//! bound is the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clickhouse::Client;
use qdrant_client::Qdrant;
use qdrant_client::qdrant::CountPointsBuilder;
use tidemark_test_support::Kind;
use tidemark_tests::place::Place;
use tidemark_tests::running::{Usage, metric};
use tidemark_tests::runtime::finish;
use tidemark_tests::server_stores::{Servers, ask_nebula, name_of};
use tidemark_tests::servers::Own;
use tidemark_tests::wait;

const NAME: &str = "a_large_load_runs_to_its_end_in_little_memory";
const ROWS: u64 = 20_000;
const SOAK_ROWS: u64 = 1_000_000;
/// Highest resident set of a process that fills one store.
const MEMORY_MAX: u64 = 300 << 20;
/// The stand-in of NebulaGraph writes some thousand rows a second.
const PATIENCE: Duration = Duration::from_secs(3_600);

const ENTITY: &str = r#"{
  "type": "record", "name": "ticket",
  "tidemark": {
    "title": "单据", "key": "code", "file": {"names": ["tickets"]},
    "vector": {"collection": "tickets", "text": "{code}：{buyer}，{amount} 元", "payload": ["shop", "amount"]}
  },
  "fields": [
    {"name": "code", "type": "string", "title": "编号", "required": true},
    {"name": "shop", "type": ["null", "string"], "default": null, "title": "门店"},
    {"name": "buyer", "type": ["null", "string"], "default": null, "title": "买家"},
    {"name": "seller", "type": ["null", "string"], "default": null, "title": "卖家"},
    {"name": "status", "type": ["null", "string"], "default": null, "title": "状态"},
    {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null, "title": "日期"},
    {"name": "amount", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}], "default": null, "title": "金额", "unit": "CNY"},
    {"name": "pieces", "type": ["null", "long"], "default": null, "title": "数量"}
  ]
}"#;

#[test]
fn a_large_load_runs_to_its_end_in_little_memory() {
    let rows = if std::env::var_os("TIDEMARK_SOAK").is_some() { SOAK_ROWS } else { ROWS };
    let Some(mut servers) = Servers::of(NAME) else { return };
    let mut place = Place::new();
    let schemas = place.data().join("schemas");
    fs::create_dir_all(&schemas).unwrap();
    fs::write(schemas.join("ticket.avsc"), ENTITY).unwrap();
    place.set("TIDEMARK__SCHEMAS__FOLDER", schemas.to_str().unwrap());
    write_array(&place.data().join("tickets.json.part"), rows);
    let folder = place.import().join("initial/institutions/BJ-HA-001");
    fs::create_dir_all(&folder).unwrap();
    fs::rename(place.data().join("tickets.json.part"), folder.join("tickets.json")).unwrap();
    run_until(&place, &["run", "connector.file", "fold"], "fold", rows);

    let name = name_of(&place);
    for (kind, stage) in [(Kind::Nebula, "sink.graph"), (Kind::Qdrant, "sink.vector"), (Kind::ClickHouse, "sink.analytics")] {
        // One that starts empty and is gone afterwards: what a large load leaves in its memory should not meet other tests.
        let own = Own::launch(kind);
        servers = servers.with(kind, own.address());
        servers.keep(&mut place, &name);
        let started = Instant::now();
        let used = run_until(&place, &["run", stage], stage, rows);
        println!(
            "{}: {rows} rows in {:.1?}, {:.1} CPU s, peak {} MB",
            kind.name(),
            started.elapsed(),
            used.cpu.as_secs_f64(),
            used.peak_bytes >> 20
        );
        assert_eq!(count(kind, own.address(), &name), rows, "{}", kind.name());
        assert!(used.peak_bytes <= MEMORY_MAX, "{} took {} bytes", kind.name(), used.peak_bytes);
    }
}

/// Runs the stages until one of them has done so many records; gives what the process used.
fn run_until(place: &Place, command: &[&str], stage: &str, records: u64) -> Usage {
    let mut running = place.start(command);
    wait::until(&format!("{stage} to have done {records} records"), PATIENCE, || {
        assert!(running.ended().is_none(), "the process ended:\n{}", running.output());
        let done = metric(place.port(), "tidemark_records_out_total", &[stage])?;
        (done >= records as f64).then_some(())
    });
    let used = running.usage();
    running.interrupt();
    let status = running.wait(wait::PATIENCE);
    assert!(status.success(), "{status}: {}", running.output());
    used
}

/// As the server counts them.
fn count(kind: Kind, address: &str, name: &str) -> u64 {
    let found = match kind {
        Kind::Nebula => ask_nebula(address, name, "MATCH (v:`ticket`) RETURN id(v) LIMIT 2000000 | YIELD count(*)").concat(),
        Kind::Qdrant => finish(async {
            let client = Qdrant::from_url(address).skip_compatibility_check().build().unwrap();
            let counted = client.count(CountPointsBuilder::new(format!("{name}_tickets")).exact(true)).await.unwrap();
            counted.result.unwrap().count.to_string()
        }),
        Kind::ClickHouse => finish(async {
            let client = Client::default().with_url(address).with_database(name);
            client.query("SELECT toString(count()) FROM ticket_versions FINAL").fetch_one::<String>().await.unwrap()
        }),
        _ => panic!("{} is not asked", kind.name()),
    };
    let digits = found.trim_matches(['[', ']']);
    digits.parse().unwrap_or_else(|_| panic!("{} counts {found:?}", kind.name()))
}

/// One array of so many rows.
fn write_array(path: &Path, rows: u64) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for number in 0..rows {
        let start = if number == 0 { '[' } else { ',' };
        let (day, buyer) = (number % 28 + 1, number.wrapping_mul(7_919) % 200_000);
        writeln!(
            file,
            r#"{start}{{"code":"T{number:09}","shop":"SHOP-{}","buyer":"C{buyer:07}","seller":"STAFF-{}","status":"PAID","day":"2025-01-{day:02}","amount":"{}.{:02}","pieces":{}}}"#,
            number % 20,
            number % 500,
            number % 10_000,
            number % 100,
            number % 9
        )
        .unwrap();
    }
    file.write_all(b"]\n").unwrap();
    file.into_inner().unwrap().sync_all().unwrap();
}
