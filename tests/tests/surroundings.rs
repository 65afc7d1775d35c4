//! Hostile surroundings: files that change while they are read, a full disk, a folder that cannot be written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tidemark_test_support::skip;
use tidemark_tests::binary;
use tidemark_tests::files::{customer, envelope, pending};
use tidemark_tests::generator::Operation::Insert;
use tidemark_tests::machine::Mount;
use tidemark_tests::place::Place;
use tidemark_tests::results;
use tidemark_tests::running::http_get;
use tidemark_tests::stores;
use tidemark_tests::wait;

fn customers(from: u64, many: u64, name: &str) -> Vec<Value> {
    (from..from + many).map(|number| customer(number, name)).collect()
}

fn live_customers(place: &Place) -> usize {
    stores::rows(place.data(), "relational.db", "customer", &["customer_code"]).len()
}

#[test]
fn a_file_that_grows_for_three_seconds_is_read_whole() {
    let place = Place::new();
    let _running = place.start(&["up"]);
    wait::until("the process to answer", wait::PATIENCE, || http_get(place.port(), "/health"));
    let path = place.import().join(pending("customers_add.json"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = envelope(Insert, &customers(1, 300, "张"));
    let mut file = File::create(&path).unwrap();
    for piece in text.as_bytes().chunks(text.len() / 30 + 1) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        wait::pass(Duration::from_millis(100));
    }
    drop(file);
    wait::until("the whole file to be in", wait::PATIENCE, || {
        results::all(&place.import()).into_iter().find(|result| result.counts.inserted == 300)
    });
    assert_eq!(results::all(&place.import()).len(), 1, "it was never taken for a broken one");
}

#[test]
fn a_file_replaced_while_it_is_read_ends_as_its_last_content() {
    let place = Place::new();
    let name = "initial/institutions/BJ-HA-001/customers.json";
    let path = place.put(name, json!(customers(1, 40_000, "旧")).to_string());
    let _running = place.start(&["up"]);
    wait::until("the first changes to be published", wait::PATIENCE, || (place.state_count("customer") > 0).then_some(()));
    // Over the same bytes, as a careless program writes.
    let text = json!(customers(1, 40_000, "新")).to_string();
    OpenOptions::new().write(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
    wait::until("all rows to be those of the new content", wait::PATIENCE * 2, || {
        let store = stores::open(place.data(), "relational.db");
        let sql = "SELECT count(*) FROM customer WHERE person_name = '新' AND deleted_at IS NULL";
        store.query_row(sql, [], |row| row.get::<_, i64>(0)).is_ok_and(|rows| rows == 40_000).then_some(())
    });
    for result in results::all(&place.import()) {
        assert_eq!(result.counts.read, result.counts.decided());
    }
}

#[test]
fn a_full_disk_pauses_and_nothing_is_lost() {
    const NAME: &str = "a_full_disk_pauses_and_nothing_is_lost";
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // Log, stores and their write-ahead files of 20,000 customers need about 70 MiB at the most.
    let mounted = match Mount::tmpfs(&data, 160 << 20) {
        Ok(mounted) => mounted,
        Err(reason) => return skip(NAME, &format!("no mounts here: {reason}")),
    };
    let mut place = Place::at(data.clone(), binary::plain());
    place.set("TIDEMARK__DISK__FREE_MIN", "1MiB");
    place.once();
    // Leaves room for the input and little else.
    place.put("initial/institutions/BJ-HA-001/customers.json", json!(customers(1, 20_000, "张")).to_string());
    let free = free_bytes(&data);
    let ballast = data.join("ballast");
    fs::write(&ballast, vec![1; free.saturating_sub(3 << 20) as usize]).unwrap();
    let mut running = place.start(&["up"]);
    wait::until("the process to say that the disk is full", wait::PATIENCE, || {
        let (status, body) = http_get(place.port(), "/ready")?;
        (status != 200 && (body.contains("disk") || body.contains("full") || body.contains("free"))).then_some(())
    });
    assert!(running.ended().is_none(), "it must wait, not die");
    fs::remove_file(&ballast).unwrap();
    wait::until("everything to be in when there is room again", wait::PATIENCE * 2, || {
        (live_customers(&place) == 20_000).then_some(())
    });
    running.interrupt();
    assert_eq!(running.wait(Duration::from_secs(10)).code(), Some(0));
    drop(mounted);
}

#[test]
fn a_full_disk_behind_the_log_lines_does_no_harm() {
    let place = Place::new();
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(1, "张")]));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = place.command(&["up", "--once"]).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(live_customers(&place), 1);
}

fn free_bytes(folder: &std::path::Path) -> u64 {
    let facts = rustix::fs::statvfs(folder).unwrap();
    facts.f_bavail * facts.f_frsize
}

#[test]
fn a_read_only_processed_folder_holds_up_only_the_archive() {
    const NAME: &str = "a_read_only_processed_folder_holds_up_only_the_archive";
    let place = Place::new();
    let processed = place.import().join("incremental/processed");
    let mounted = match Mount::read_only(&processed) {
        Ok(mounted) => mounted,
        Err(reason) => return skip(NAME, &format!("no mounts here: {reason}")),
    };
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(1, "张")]));
    let mut running = place.start(&["up"]);
    wait::until("the customer to be in all the same", wait::PATIENCE, || (live_customers_if_any(&place) == 1).then_some(()));
    wait::until("the process to say what is wrong", wait::PATIENCE, || {
        http_get(place.port(), "/ready").filter(|(status, body)| *status != 200 && body.contains("processed"))
    });
    assert!(running.ended().is_none());
    drop(mounted);
    wait::until("the file to be archived", wait::PATIENCE, || {
        processed.join("2026-01-15/customers_add.json").is_file().then_some(())
    });
    let result = results::newest(&place.import(), "customers_add.json");
    assert_eq!((result.counts.read, result.counts.inserted), (1, 1), "counted once: {:#}", result.document);
}

fn live_customers_if_any(place: &Place) -> usize {
    if place.data().join("relational.db").exists() && place.has_table("relational.db", "customer") {
        live_customers(place)
    } else {
        0
    }
}
