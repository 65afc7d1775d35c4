//! `replay`: a store that is emptied and filled again is equal to one that was never anything else, whoever does it, whatever lay in
//! it, and wherever it is killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use tidemark_tests::binary;
use tidemark_tests::files::{code, customer, envelope, order, pending};
use tidemark_tests::generator::Operation::{Delete, Insert, Update};
use tidemark_tests::place::Place;
use tidemark_tests::running::{Running, http_get};
use tidemark_tests::stores::{self, Dump};
use tidemark_tests::wait;

const ROLES: [&str; 4] = ["relational", "graph", "vector", "analytics"];

/// So that a store that takes two batches at once can be half filled with [`put_files`].
fn in_several_batches(place: &mut Place) {
    place.set("TIDEMARK__BATCH__RECORDS_MAX", "1000");
}

/// Many customers, and of every kind of change something.
fn put_files(place: &Place) {
    let initial: Vec<_> = (1..=9_000).map(|number| customer(number, "张")).collect();
    place.put("initial/institutions/BJ-HA-001/customers.json", serde_json::Value::from(initial).to_string());
    let update = |number| json!({"customer_code": code(number), "updates": {"notes": "改", "consultant_code": "BJ-HA-001-Z001"}});
    place.put(&pending("customers_update.json"), envelope(Update, &[update(3), update(25)]));
    place.put(&pending("customers_delete.json"), envelope(Delete, &[json!({"customer_code": code(5)})]));
    let orders: Vec<_> = (1..=60).map(|number| order(number, number, 100 + number)).collect();
    place.put(&pending("consumption_records.json"), envelope(Insert, &orders));
}

fn file_of(role: &str) -> String {
    format!("{role}.db")
}

/// Fewer rows in a store would say too little.
const ROWS_MIN: usize = 1_001;

/// Every cell of every row.
fn dump(place: &Place, role: &str) -> Dump {
    stores::dump(place.data(), &file_of(role), &[])
}

/// The same of a store that is filled for the first time, from the same log.
fn fresh(place: &mut Place, role: &str) -> Dump {
    let (file, variable) = (format!("fresh-{role}.db"), format!("TIDEMARK__SINKS__{}__PATH", role.to_uppercase()));
    place.set(&variable, place.data().join(&file).to_str().unwrap());
    place.once();
    place.unset(&variable);
    stores::dump(place.data(), &file, &[])
}

/// What nobody should do: rows gone, altered, raised above every version to come, and added.
fn damage(data: &Path, role: &str) {
    let store = rusqlite::Connection::open(data.join(file_of(role))).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let run = |sql: &str| assert!(store.execute(sql, []).unwrap() > 0, "{role}: {sql}");
    match role {
        "graph" => {
            run("DELETE FROM vertex WHERE vid LIKE '%1'");
            run("UPDATE vertex SET props = '{}', version = version + 1000000 WHERE vid LIKE '%2'");
            run("UPDATE edge SET dst = 'customer:nobody' WHERE src LIKE '%7'");
        }
        "vector" => {
            run("DELETE FROM point WHERE key LIKE '%1'");
            run("UPDATE point SET payload = '{}', version = version + 1000000 WHERE key LIKE '%2'");
        }
        _ => {
            run("DELETE FROM customer WHERE customer_code LIKE '%1'");
            run("UPDATE customer SET vip_level = 'NONE', version = version + 1000000 WHERE customer_code LIKE '%2'");
            run("DELETE FROM consumption");
        }
    }
}

fn started(place: &Place) -> Running {
    let running = place.start(&["up"]);
    wait::until("the process to be ready", wait::PATIENCE, || {
        http_get(place.port(), "/ready").filter(|(status, _)| *status == 200)
    });
    running
}

#[test]
fn a_damaged_store_is_filled_as_a_new_one() {
    let mut place = Place::new();
    put_files(&place);
    place.once();
    for role in ROLES {
        let others = || ROLES.into_iter().filter(|other| *other != role).map(|other| dump(&place, other)).collect::<Vec<_>>();
        let before = others();
        damage(place.data(), role);
        let outcome = place.run(&["replay", role]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        assert!(outcome.stdout.contains("emptied and filled again"), "{outcome:#?}");
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        assert!(lines[0].contains(&format!("begins build 1 of the {role} store")), "{outcome:#?}");
        assert!(lines.iter().any(|line| line.contains("100 %")), "plain lines say how far it is: {outcome:#?}");
        assert!(others() == before, "the other stores are left alone");
        let replayed = dump(&place, role);
        stores::assert_same(&replayed, &fresh(&mut place, role), ROWS_MIN, role);
    }
    // What comes later arrives as ever.
    place.put("incremental/pending/2026-02-01/customers_add.json", envelope(Insert, &[customer(20_000, "王")]));
    place.once();
    let customers = stores::rows(place.data(), "relational.db", "customer", &["customer_code"]);
    assert!(customers.contains_key(&vec![code(20_000)]) && !customers.contains_key(&vec![code(5)]));
}

#[test]
fn a_running_sink_empties_its_store_and_fills_it() {
    let mut place = Place::new();
    put_files(&place);
    place.once();
    let mut running = started(&place);
    for role in ROLES {
        damage(place.data(), role);
        let outcome = place.run(&["replay", role]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        let holder = format!("sink.{role} is run by process {}", running.id());
        assert!(outcome.stderr.contains(&holder), "{outcome:#?}");
    }
    // It goes on with what comes, and while it comes.
    let more: Vec<_> = (20_000..40_000).map(|number| customer(number, "王")).collect();
    place.put("incremental/pending/2026-02-01/customers_add.json", envelope(Insert, &more));
    wait::until("some of it to be there", wait::PATIENCE, || (place.state_count("customer") > 9_100).then_some(()));
    for role in ROLES {
        damage(place.data(), role);
        let outcome = place.run(&["replay", role]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    }
    wait::until("all to be decided", wait::PATIENCE, || (place.state_count("customer") == 28_999).then_some(()));
    assert_eq!(http_get(place.port(), "/ready").map(|(status, _)| status), Some(200), "{}", running.output());
    running.interrupt();
    assert_eq!(running.wait(wait::PATIENCE).code(), Some(0), "{}", running.output());
    place.once();
    for role in ROLES {
        let replayed = dump(&place, role);
        stores::assert_same(&replayed, &fresh(&mut place, role), ROWS_MIN, role);
    }
}

/// Where a replay dies: in what it writes down, between emptying and saying so, after that, and half filled.
const POINTS: [&str; 4] = ["replay.after-intent", "replay.after-reset", "replay.after-emptied", "sink.after-apply"];

#[test]
fn killed_half_way_it_is_finished_by_the_next_start() {
    let mut place = Place::with_binary(binary::with_crash_points());
    in_several_batches(&mut place);
    put_files(&place);
    place.once();
    let expected: BTreeMap<&str, Dump> = ROLES.into_iter().map(|role| (role, fresh(&mut place, role))).collect();
    let mut build = 0;
    for (point_number, point) in POINTS.into_iter().enumerate() {
        for (role_number, role) in ROLES.into_iter().enumerate() {
            let when = format!("{role} killed at {point}");
            damage(place.data(), role);
            place.set("TIDEMARK_CRASH_AT", point);
            let killed = place.run(&["replay", role]);
            assert!(killed.code.is_none() && killed.stderr.contains("crash point reached"), "{when}: {killed:#?}");
            place.unset("TIDEMARK_CRASH_AT");
            build = if role_number == 0 { build + 1 } else { build };
            if point == "sink.after-apply" {
                let found = place.succeed(&["check"]);
                assert!(found.contains(&format!("build {build} is filled to")), "{when}: {found}");
            }
            assert!(killed.stderr.contains(&format!("build {build} ")) || point == POINTS[0], "{when}: {killed:#?}");
            if (point_number + role_number) % 2 == 0 {
                let finished = place.run(&["replay", role]);
                assert_eq!(finished.code, Some(0), "{when}: {finished:#?}");
                assert!(finished.stderr.contains(&format!("goes on with build {build} ")), "{when}: {finished:#?}");
            } else {
                place.once();
            }
            stores::assert_same(&dump(&place, role), &expected[role], ROWS_MIN, &when);
        }
    }
}

#[test]
fn a_running_sink_that_is_killed_leaves_it_to_the_next() {
    let mut place = Place::with_binary(binary::with_crash_points());
    in_several_batches(&mut place);
    put_files(&place);
    place.once();
    let expected = fresh(&mut place, "graph");
    for point in ["replay.after-reset", "replay.after-emptied", "sink.after-apply"] {
        damage(place.data(), "graph");
        place.set("TIDEMARK_CRASH_AT", point);
        let mut running = started(&place);
        place.unset("TIDEMARK_CRASH_AT");
        let outcome = place.run(&["replay", "graph", "--timeout", "2"]);
        assert_eq!(outcome.code, Some(3), "{point}: {outcome:#?}");
        let said = format!("`sink.graph`, run by process {} (`tidemark up`), does not move", running.id());
        assert!(outcome.stderr.contains(&said), "{point}: {outcome:#?}");
        assert_eq!(running.wait(wait::PATIENCE).code(), None, "{point}");
        place.once();
        stores::assert_same(&dump(&place, "graph"), &expected, ROWS_MIN, point);
    }
}

#[test]
fn a_store_that_stays_away_is_emptied_when_it_is_back() {
    let mut place = Place::new();
    put_files(&place);
    place.once();
    damage(place.data(), "relational");
    let locked = rusqlite::Connection::open(place.data().join("relational.db")).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcome = place.run(&["replay", "relational", "--timeout", "2"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.contains("`sink.relational` stayed unavailable"), "{outcome:#?}");
    locked.execute_batch("ROLLBACK").unwrap();
    let found = place.run(&["check"]);
    assert!(found.code == Some(4) && found.stdout.contains("build 1 was asked for"), "{found:#?}");
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The same where another process runs it.
    let running = place.start(&["up"]);
    wait::until("the store to be shown as degraded", wait::PATIENCE, || {
        http_get(place.port(), "/ready").filter(|(status, body)| *status == 503 && body.contains("locked"))
    });
    let outcome = place.run(&["replay", "relational", "--timeout", "2"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    locked.execute_batch("ROLLBACK").unwrap();
    drop(locked);
    let outcome = place.run(&["replay", "relational"]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(outcome.stderr.contains("build 1 "), "one was asked for, and one is enough: {outcome:#?}");
    drop(running);
    let replayed = dump(&place, "relational");
    stores::assert_same(&replayed, &fresh(&mut place, "relational"), ROWS_MIN, "after all");
}

#[test]
fn an_interrupted_replay_is_gone_on_with_or_begun_anew() {
    let mut place = Place::new();
    put_files(&place);
    place.once();
    damage(place.data(), "vector");
    let lock = rusqlite::Connection::open(place.data().join("vector.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut running = place.start(&["replay", "vector"]);
    wait::until("the replay to have begun", wait::PATIENCE, || running.output().contains("begins build 1").then_some(()));
    running.interrupt();
    assert_eq!(running.wait(wait::PATIENCE).code(), Some(130), "{}", running.output());
    assert!(running.output().contains("goes on with it"), "{}", running.output());
    lock.execute_batch("ROLLBACK").unwrap();
    drop(lock);
    let outcome = place.run(&["replay", "vector", "--restart"]);
    assert!(outcome.code == Some(0) && outcome.stderr.contains("begins build 2"), "{outcome:#?}");
    let outcome = place.run(&["replay", "vector"]);
    assert!(outcome.code == Some(0) && outcome.stderr.contains("begins build 3"), "a filled one is not open: {outcome:#?}");
    let replayed = dump(&place, "vector");
    stores::assert_same(&replayed, &fresh(&mut place, "vector"), ROWS_MIN, "after three");
}

#[test]
fn stores_of_another_generation_are_replayed_as_their_refusal_says() {
    let place = Place::new();
    put_files(&place);
    place.once();
    let copy = place.data().join("../backup");
    place.succeed(&["backup", copy.to_str().unwrap()]);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(place.data().join(format!("log.db{suffix}")));
    }
    place.succeed(&["restore", copy.to_str().unwrap()]);
    for role in ROLES {
        let refused = place.run(&["up", "--once"]);
        assert_eq!(refused.code, Some(1), "{refused:#?}");
        let problems = place.run(&["check"]);
        assert!(problems.stdout.contains(&format!("`tidemark replay {role}` empties it")), "{problems:#?}");
        place.succeed(&["replay", role]);
    }
    place.once();
    assert_eq!(place.run(&["check"]).code, Some(0));
}

#[test]
fn a_log_that_was_compacted_fills_a_store_from_its_first_record() {
    let mut place = Place::new();
    place.set("TIDEMARK__MAINTENANCE__INTERVAL", "1s");
    // The first of its partition are superseded, and enough of them that compaction looks.
    let initial: Vec<_> = (1..=6_000).map(|number| customer(number, "张")).collect();
    place.put("initial/institutions/BJ-HA-001/customers.json", serde_json::Value::from(initial).to_string());
    let update = |number| json!({"customer_code": code(number), "updates": {"notes": "改"}});
    place.put(&pending("customers_update.json"), envelope(Update, &(1..=5_000).map(update).collect::<Vec<_>>()));
    let mut running = started(&place);
    wait::until("the states to be compacted", wait::PATIENCE * 2, || {
        let tail = place.run(&["tail", "state.customer", "--from", "earliest", "--once", "--json"]);
        let first: serde_json::Value = serde_json::from_str(tail.stdout.lines().next()?).ok()?;
        (first["offset"].as_u64()? > 0).then_some(())
    });
    running.interrupt();
    assert_eq!(running.wait(wait::PATIENCE).code(), Some(0), "{}", running.output());
    let before: Vec<Dump> = ROLES.into_iter().map(|role| dump(&place, role)).collect();
    for (role, before) in ROLES.into_iter().zip(before) {
        let outcome = place.run(&["replay", role]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        stores::assert_same(&dump(&place, role), &before, ROWS_MIN, role);
    }
}

#[test]
fn wrong_usage_is_said_at_once() {
    let mut place = Place::new();
    let outcome = place.run(&["replay", "graphs"]);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    let outcome = place.run(&["replay", "graph"]);
    assert!(outcome.code == Some(1) && outcome.stderr.contains("there is no log"), "{outcome:#?}");
    assert!(!place.data().join("graph.db").exists());
    place.set("TIDEMARK__SINKS__GRAPH__ENABLED", "false");
    let outcome = place.run(&["replay", "graph"]);
    assert!(outcome.code == Some(2) && outcome.stderr.contains("`sink.graph` is switched off"), "{outcome:#?}");
}
