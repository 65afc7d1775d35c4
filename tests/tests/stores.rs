//! A store whose file is locked or removed while running delays only itself, is shown as degraded, and catches up by itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tidemark_test_support::skip;
use tidemark_tests::files::{code, customer, envelope};
use tidemark_tests::generator::Operation::Insert;
use tidemark_tests::machine::Mount;
use tidemark_tests::place::Place;
use tidemark_tests::running::{http_get, metric};
use tidemark_tests::stores;
use tidemark_tests::wait;

/// Whether this store has the customer.
fn has(place: &Place, file: &str, number: u64) -> bool {
    match file {
        "graph.db" => {
            place.has_table(file, "vertex") && stores::vertices(place.data()).contains_key(&format!("customer:{}", code(number)))
        }
        "vector.db" => {
            place.has_table(file, "point")
                && stores::points(place.data()).contains_key(&("customer_profiles".to_owned(), code(number)))
        }
        _ => {
            place.has_table(file, "customer")
                && stores::rows(place.data(), file, "customer", &["customer_code"]).contains_key(&vec![code(number)])
        }
    }
}

fn drop_customer(place: &Place, number: u64) {
    let name = format!("incremental/pending/2026-01-{:02}/customers_add.json", number + 10);
    place.put(&name, envelope(Insert, &[customer(number, "张")]));
}

fn wait_for_ready(place: &Place) {
    wait::until("the process to be ready", wait::PATIENCE, || {
        http_get(place.port(), "/ready").filter(|(status, _)| *status == 200)
    });
}

fn others(file: &str) -> impl Iterator<Item = &'static str> {
    stores::FILES.into_iter().filter(move |other| *other != file)
}

#[test]
fn a_locked_store_delays_only_itself() {
    for file in stores::FILES {
        let place = Place::new();
        let mut running = place.start(&["up"]);
        drop_customer(&place, 1);
        wait::until("the first customer to be everywhere", wait::PATIENCE, || {
            stores::FILES.iter().all(|file| has(&place, file, 1)).then_some(())
        });
        wait_for_ready(&place);
        let lock = rusqlite::Connection::open(place.data().join(file)).unwrap();
        lock.busy_timeout(Duration::from_secs(10)).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        drop_customer(&place, 2);
        wait::until("the other stores to have the second", wait::PATIENCE, || {
            others(file).all(|other| has(&place, other, 2)).then_some(())
        });
        let role = file.trim_end_matches(".db");
        wait::until("the store to be shown as degraded", wait::PATIENCE, || {
            let (status, body) = http_get(place.port(), "/ready")?;
            let document: serde_json::Value = serde_json::from_str(&body).ok()?;
            let state = document["stages"][format!("sink.{role}")]["state"].as_str()?.to_owned();
            (status == 503 && state == "degraded").then_some(())
        });
        assert!(
            metric(place.port(), "tidemark_sink_lag_records", &[role]).is_some_and(|lag| lag >= 1.0),
            "{file}: its lag is shown"
        );
        assert!(!has(&place, file, 2));
        lock.execute_batch("ROLLBACK").unwrap();
        drop(lock);
        wait::until("the store to have caught up", wait::PATIENCE, || has(&place, file, 2).then_some(()));
        wait_for_ready(&place);
        assert!(running.ended().is_none());
    }
}

#[test]
fn a_removed_store_is_filled_again() {
    for file in stores::FILES {
        let place = Place::new();
        let _running = place.start(&["up"]);
        drop_customer(&place, 1);
        wait::until("the first customer to be everywhere", wait::PATIENCE, || {
            stores::FILES.iter().all(|file| has(&place, file, 1)).then_some(())
        });
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(place.data().join(format!("{file}{suffix}")));
        }
        drop_customer(&place, 2);
        wait::until("the other stores to have the second", wait::PATIENCE, || {
            others(file).all(|other| has(&place, other, 2)).then_some(())
        });
        wait::until("the store to be there again, whole", wait::PATIENCE, || {
            (has(&place, file, 1) && has(&place, file, 2)).then_some(())
        });
        wait_for_ready(&place);
    }
}

#[test]
fn a_store_that_is_removed_while_nothing_happens_is_filled_again() {
    let place = Place::new();
    let _running = place.start(&["up"]);
    drop_customer(&place, 1);
    wait::until("the customer to be everywhere", wait::PATIENCE, || {
        stores::FILES.iter().all(|file| has(&place, file, 1)).then_some(())
    });
    for file in stores::FILES {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(place.data().join(format!("{file}{suffix}")));
        }
    }
    wait::until("all stores to be there again", wait::PATIENCE, || {
        stores::FILES.iter().all(|file| place.data().join(file).exists() && has(&place, file, 1)).then_some(())
    });
    wait_for_ready(&place);
}

#[test]
fn once_gives_up_on_a_store_that_stays_away() {
    let place = Place::new();
    drop_customer(&place, 1);
    place.once();
    let lock = rusqlite::Connection::open(place.data().join("graph.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    drop_customer(&place, 2);
    let outcome = place.run(&["up", "--once", "--timeout", "3"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(has(&place, "relational.db", 2), "the others were served");
    assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains("graph"), "{outcome:#?}");
    lock.execute_batch("ROLLBACK").unwrap();
    drop(lock);
    place.once();
    assert!(has(&place, "graph.db", 2));
    assert_eq!(place.succeed(&["dead-letters", "list", "--json"]).trim(), "", "unavailable is not refused");
}

#[test]
fn once_gives_up_on_a_fold_elsewhere_that_does_not_move() {
    for command in [["up", "--once"].as_slice(), &["import", "incremental"]] {
        let mut place = Place::new();
        place.set("TIDEMARK__HTTP__ENABLED", "false");
        let mut fold = place.start(&["run", "fold"]);
        wait::until("the fold to run", wait::PATIENCE, || fold.output().contains("tidemark runs fold").then_some(()));
        drop_customer(&place, 1);
        // The fold works, and so the command ends; then it is stopped in its tracks.
        place.once();
        fold.signal(Signal::STOP);
        drop_customer(&place, 2);
        let started = Instant::now();
        let outcome = place.run(&[command, &["--timeout", "2"]].concat());
        assert_eq!(outcome.code, Some(3), "{outcome:#?}");
        assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
        let said = format!("`fold`, run by process {}", fold.id());
        assert!(outcome.stderr.contains(&said) && outcome.stderr.contains("does not move"), "{outcome:#?}");
        fold.signal(Signal::CONT);
        place.once();
        assert!(has(&place, "graph.db", 2), "nothing was lost");
        fold.interrupt();
        assert_eq!(fold.wait(Duration::from_secs(10)).code(), Some(0));
    }
}

#[test]
fn once_ends_at_once_on_a_store_that_waiting_does_not_mend() {
    let place = Place::new();
    drop_customer(&place, 1);
    place.once();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(place.data().join(format!("graph.db{suffix}")));
    }
    fs::write(place.data().join("graph.db"), "no SQLite file at all, and not to be mended by waiting for it".repeat(100))
        .unwrap();
    for command in [["up", "--once"].as_slice(), &["import", "incremental"]] {
        let started = Instant::now();
        // Its default patience of 60 s would be the wait.
        let outcome = place.run(command);
        assert_eq!(outcome.code, Some(1), "a fault, not an absence: {outcome:#?}");
        assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
        let said = outcome.stderr.lines().last().unwrap_or_default();
        assert!(said.contains("`sink.graph` cannot go on") && said.contains("`tidemark replay graph`"), "{said}");
    }
    place.succeed(&["init", "--force-rebuild"]);
    place.once();
    assert!(has(&place, "graph.db", 1));
}

#[test]
fn retries_on_a_full_disk_use_none_of_its_room() {
    const NAME: &str = "retries_on_a_full_disk_use_none_of_its_room";
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    let mounted = match Mount::tmpfs(&small, 64 << 20) {
        Ok(mounted) => mounted,
        Err(reason) => return skip(NAME, &format!("no mounts here: {reason}")),
    };
    let mut place = Place::new();
    place.set("TIDEMARK__SINKS__RELATIONAL__PATH", small.join("relational.db").to_str().unwrap());
    let ballast = small.join("ballast");
    fs::write(&ballast, vec![1; 58 << 20]).unwrap();
    // A first batch has room in the write-ahead log, a later one has not, and neither has the log in the store.
    let with_notes = |number| {
        let mut customer = customer(number, "张");
        customer["notes"] = "说明".repeat(60).into();
        customer
    };
    let customers: Vec<_> = (1..=20_000).map(with_notes).collect();
    place.put("initial/institutions/BJ-HA-001/customers.json", serde_json::json!(customers).to_string());
    let mut running = place.start(&["up"]);
    let retried = |times: f64| {
        wait::until("the store to be tried again", wait::PATIENCE, || {
            metric(place.port(), "tidemark_retried_total", &["sink.relational"]).filter(|value| *value >= times)
        })
    };
    // The number of committed frames stands in the WAL's index.
    let frames = || {
        let index = fs::read(small.join("relational.db-shm")).unwrap();
        u32::from_ne_bytes([index[16], index[17], index[18], index[19]])
    };
    // By then the indexes that a first fill postpones are built, or it is clear that there is no room for them.
    let first = retried(5.0);
    let before = frames();
    retried(first + 3.0);
    assert_eq!(frames(), before, "a retry commits nothing");
    fs::remove_file(&ballast).unwrap();
    wait::until("all to be in when there is room", wait::PATIENCE, || {
        (stores::rows(&small, "relational.db", "customer", &["customer_code"]).len() == 20_000).then_some(())
    });
    running.interrupt();
    assert_eq!(running.wait(Duration::from_secs(10)).code(), Some(0));
    drop(mounted);
}
