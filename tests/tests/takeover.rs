//! Workers on servers that end or stand still with a transaction open, and a data folder that is lost: others go on, and what was
//! never committed leaves no trace.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};
use tidemark_tests::binary;
use tidemark_tests::on_servers::{OnServers, run_with};
use tidemark_tests::place::Place;
use tidemark_tests::running::{Running, http_get};
use tidemark_tests::wait;

fn code(number: u32) -> String {
    format!("BJ-HA-001-C{number:04}")
}

/// A file that adds these customers.
fn put(place: &Place, name: &str, numbers: std::ops::Range<u32>) {
    let customer = |number| json!({"customer_code": code(number), "person": {"name": format!("张{number}")}, "notes": name});
    let data: Vec<Value> = numbers.map(customer).collect();
    let envelope = json!({"operation": "INSERT", "institution_code": "BJ-HA-001", "data": data});
    place.put(&format!("incremental/pending/2026-01-15/customers_{name}_add.json"), envelope.to_string());
}

/// Every store has just these, each once, in the version that `state` names.
fn expect_everywhere(servers: &OnServers, place: &Place, numbers: std::ops::Range<u32>) {
    let expected: BTreeSet<String> = numbers.map(code).collect();
    let (readers, state) = (servers.readers(), place.state("customer"));
    assert_eq!(state.keys().cloned().collect::<BTreeSet<_>>(), expected, "state");
    for tables in [&readers.relational, &readers.analytics] {
        let rows = tables.rows("customer", &["customer_code"]);
        assert_eq!(rows.keys().map(|key| key.concat()).collect::<BTreeSet<_>>(), expected);
        for (key, cells) in rows {
            assert_eq!(cells["version"], state[&key.concat()].version.to_string(), "{key:?}");
        }
    }
    let vertices = readers.graph.vertices().into_keys();
    assert_eq!(vertices.map(|vid| vid.trim_start_matches("customer:").to_owned()).collect::<BTreeSet<_>>(), expected);
    assert_eq!(readers.vector.points().into_keys().map(|(_, key)| key).collect::<BTreeSet<_>>(), expected);
    assert_eq!(place.succeed(&["dead-letters", "list"]), "");
}

fn until_answers(place: &Place) {
    wait::until("the worker to answer", wait::PATIENCE, || http_get(place.port(), "/health"));
}

/// Waits until it has stopped itself.
fn until_stopped(worker: &Running) {
    let stat = format!("/proc/{}/stat", worker.id());
    wait::until("the worker to stand still", wait::PATIENCE, || {
        let text = fs::read_to_string(&stat).unwrap();
        text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')).then_some(())
    });
}

#[test]
fn a_fold_that_stands_still_with_a_transaction_open_holds_nothing_up() {
    let Some(servers) = OnServers::shared("a_fold_that_stands_still_with_a_transaction_open_holds_nothing_up") else { return };
    let mut still = Place::with_binary(binary::with_crash_points());
    servers.keep(&mut still);
    for (name, value) in [("AT", "kafka.open-transaction:2"), ("BY", "stop")] {
        still.set(&format!("TIDEMARK_CRASH_{name}"), value);
    }
    let place = servers.worker();
    let mut stopped = still.start(&run_with(&[]));
    until_answers(&still);
    let mut other = place.start(&run_with(&["connector.file"]));
    until_answers(&place);
    // One file after the other, until it has begun its second transaction; each is small enough to be one of them.
    put(&place, "first", 0..40);
    put(&place, "second", 40..80);
    until_stopped(&stopped);
    put(&place, "third", 80..120);
    // It still stands there with its transaction, and everything ends everywhere.
    place.once();
    until_stopped(&stopped);
    expect_everywhere(&servers, &place, 0..120);
    stopped.signal(Signal::CONT);
    put(&place, "fourth", 120..160);
    place.once();
    expect_everywhere(&servers, &place, 0..160);
    for worker in [&mut stopped, &mut other] {
        worker.interrupt();
        assert_eq!(worker.wait(wait::PATIENCE).code(), Some(0), "{}", worker.output());
    }
    servers.remove();
}

#[test]
fn a_transaction_that_was_open_at_a_kill_leaves_no_trace() {
    let Some(servers) = OnServers::shared("a_transaction_that_was_open_at_a_kill_leaves_no_trace") else { return };
    let mut place = Place::with_binary(binary::with_crash_points());
    servers.keep(&mut place);
    put(&place, "first", 0..40);
    for time in 1..=3 {
        place.set("TIDEMARK_CRASH_AT", &format!("kafka.open-transaction:{time}"));
        let killed = place.run(&["up", "--once"]);
        assert!(killed.code.is_none() && killed.stderr.contains("crash point reached"), "{killed:#?}");
        put(&place, &format!("again{time}"), 40 * time..40 * (time + 1));
    }
    place.unset("TIDEMARK_CRASH_AT");
    place.once();
    expect_everywhere(&servers, &place, 0..160);
    servers.remove();
}

#[test]
fn a_lost_data_folder_loses_nothing() {
    let Some(servers) = OnServers::shared("a_lost_data_folder_loses_nothing") else { return };
    let lost = servers.worker();
    put(&lost, "first", 0..40);
    lost.once();
    drop(lost);
    let place = servers.worker();
    put(&place, "first", 0..40);
    put(&place, "second", 30..60);
    let said = place.once();
    assert!(said.contains("nothing changed"), "the first file is known: {said}");
    expect_everywhere(&servers, &place, 0..60);
    servers.remove();
}
