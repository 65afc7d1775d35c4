//! How much memory the intake of one huge array takes: it is a stream, whatever its size.
//!
//! Relies on: Linux, which says the highest resident set of a process. `TIDEMARK_SOAK=1` takes an array of 1 GB instead of a
//! smaller one; the bound is the same, because the size must not matter.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use tidemark_tests::bulk;
use tidemark_tests::place::Place;
use tidemark_tests::running::{http_get, metric};
use tidemark_tests::wait;

/// What the intake may take above the footprint of an idle process.
const ABOVE_IDLE_MAX: u64 = 64 << 20;
const SMALL_BYTES: u64 = 100_000_000;
const SOAK_BYTES: u64 = 1_000_000_000;
const CUSTOMERS: u64 = 50_000;

#[test]
fn an_array_of_any_size_is_taken_in_within_the_same_memory() {
    let bytes = if std::env::var_os("TIDEMARK_SOAK").is_some() { SOAK_BYTES } else { SMALL_BYTES };
    let place = Place::new();
    let mut running = place.start(&["run", "connector.file"]);
    wait::until("the idle process to answer", wait::PATIENCE, || http_get(place.port(), "/health"));
    let idle = running.usage().peak_bytes;
    let folder = place.import().join("initial/institutions/BJ-HA-001");
    fs::create_dir_all(&folder).unwrap();
    let records = write_array(&place.data().join("orders.json.part"), bytes);
    fs::rename(place.data().join("orders.json.part"), folder.join("consumption_records.json")).unwrap();
    wait::until("every record to be published", Duration::from_secs(900), || {
        assert!(running.ended().is_none(), "the process ended:\n{}", running.output());
        let published = metric(place.port(), "tidemark_records_out_total", &["connector.file"])?;
        (published >= records as f64).then_some(())
    });
    let above = running.usage().peak_bytes.saturating_sub(idle);
    println!("{bytes} bytes, {records} records: {} MB above the idle {} MB", above / 1_000_000, idle / 1_000_000);
    assert!(above <= ABOVE_IDLE_MAX, "{above} bytes above the idle footprint of {idle}");
    running.kill();
}

/// Writes one array of orders, at least so many bytes, without holding it; gives the number of records.
fn write_array(path: &Path, bytes: u64) -> u64 {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let (mut written, mut number) = (0, 0);
    let mut text = String::new();
    while written < bytes {
        text.clear();
        text.push_str(if number == 0 { "[\n" } else { ",\n" });
        bulk::order(number, CUSTOMERS, 0, &mut text);
        file.write_all(text.as_bytes()).unwrap();
        written += text.len() as u64;
        number += 1;
    }
    file.write_all(b"\n]\n").unwrap();
    file.into_inner().unwrap().sync_all().unwrap();
    number
}
