//! `replay` of stores on servers: with the log in its file, with two workers that share it on Kafka, and killed on the way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use tidemark_test_support::Kind;
use tidemark_tests::binary;
use tidemark_tests::bulk::{self, Size};
use tidemark_tests::files::{envelope, pending};
use tidemark_tests::generator::Operation::Delete;
use tidemark_tests::on_servers::run_with;
use tidemark_tests::place::Place;
use tidemark_tests::running::{Running, http_get};
use tidemark_tests::server_stores::{SERVER_STORES, ServerStore, Servers, keep_log_on_kafka, name_of};
use tidemark_tests::stores::{self, Dump};
use tidemark_tests::wait;

const SIZE: Size = Size { customers: 300, orders: 700 };

fn put_files(place: &Place) {
    bulk::write(&place.import(), &bulk::customers(SIZE)).unwrap();
    bulk::write(&place.import(), &bulk::orders(SIZE, |_| 0)).unwrap();
    let deleted = serde_json::json!({"customer_code": "BJ-HA-001-C000005"});
    place.put(&pending("customers_delete.json").replace("2026-01-15", "2026-12-31"), envelope(Delete, &[deleted]));
}

/// Of the customers alone, which is all that the vector store keeps, or of the orders, too.
fn assert_same(store: &ServerStore, found: &Dump, expected: &Dump, when: &str) {
    let rows_min = if store.role == "vector" { 290 } else { 901 };
    stores::assert_same(found, expected, rows_min, when);
}

/// What stores of another name hold that are filled from the same log for the first time. No worker may run.
fn fresh(servers: &Servers, place: &mut Place, name: &str) -> Vec<Dump> {
    let other = format!("{name}_fresh");
    servers.keep(place, &other);
    place.succeed(&["up", "--once", "--timeout", "120"]);
    servers.keep(place, name);
    SERVER_STORES.iter().map(|store| servers.dump(store, &other)).collect()
}

#[test]
fn a_damaged_store_on_a_server_is_filled_as_a_new_one() {
    let Some(servers) = Servers::of("a_damaged_store_on_a_server_is_filled_as_a_new_one") else { return };
    let mut place = Place::new();
    let name = name_of(&place);
    servers.keep(&mut place, &name);
    put_files(&place);
    place.succeed(&["up", "--once", "--timeout", "120"]);
    let expected = fresh(&servers, &mut place, &name);
    for (store, expected) in SERVER_STORES.iter().zip(&expected) {
        servers.damage(store, &name);
        assert!(servers.dump(store, &name) != *expected, "the harm to {} shows", store.role);
        place.succeed(&["replay", store.role, "--timeout", "120"]);
        assert_same(store, &servers.dump(store, &name), expected, store.role);
    }
}

/// Places that share a log on Kafka and its stores.
struct Workers {
    servers: Servers,
    name: String,
    places: Vec<Place>,
}

impl Workers {
    /// So many; the first one has taken files in.
    fn new(test: &str, count: usize) -> Option<Self> {
        let (servers, broker) = (Servers::of(test)?, Kind::Kafka.address(test)?);
        let mut places: Vec<Place> = (0..count).map(|_| Place::new()).collect();
        let name = name_of(&places[0]);
        for place in &mut places {
            keep_log_on_kafka(place, &broker, &name);
            servers.keep(place, &name);
        }
        put_files(&places[0]);
        places[0].succeed(&["up", "--once", "--timeout", "120"]);
        Some(Self { servers, name, places })
    }

    fn fresh(&mut self) -> Vec<Dump> {
        fresh(&self.servers, &mut self.places[0], &self.name)
    }

    /// The first two at work; one alone takes files in, as each source has one process.
    fn start(&self) -> Vec<Running> {
        let running = vec![self.places[0].start(&run_with(&["connector.file"])), self.places[1].start(&run_with(&[]))];
        for place in &self.places[..2] {
            wait::until("both workers to be at work", wait::PATIENCE * 2, || {
                http_get(place.port(), "/ready").filter(|(status, _)| *status == 200)
            });
        }
        running
    }
}

#[test]
fn two_workers_fill_a_store_again_that_one_of_them_emptied() {
    let Some(mut workers) = Workers::new("two_workers_fill_a_store_again_that_one_of_them_emptied", 3) else {
        return;
    };
    let expected = workers.fresh();
    let mut running = workers.start();
    for (store, expected) in SERVER_STORES.iter().zip(&expected) {
        // Asked for beside a worker, and by one that comes for this and goes.
        for place in [&workers.places[1], &workers.places[2]] {
            workers.servers.damage(store, &workers.name);
            let outcome = place.run(&["replay", store.role, "--timeout", "120"]);
            assert_eq!(outcome.code, Some(0), "{}: {outcome:#?}", store.role);
            assert_same(store, &workers.servers.dump(store, &workers.name), expected, store.role);
        }
    }
    assert!(running.iter_mut().all(|worker| worker.ended().is_none()), "both are still there");
    let emptied = |running: &Running| running.output().matches("emptying the store").count();
    assert!(running.iter().map(emptied).sum::<usize>() >= SERVER_STORES.len(), "it was left to who runs the stage");
}

#[test]
fn killed_on_a_server_it_is_finished_by_the_next_start() {
    let Some(servers) = Servers::of("killed_on_a_server_it_is_finished_by_the_next_start") else { return };
    let mut place = Place::with_binary(binary::with_crash_points());
    let name = name_of(&place);
    servers.keep(&mut place, &name);
    // More than one batch, also for a store that takes several at once.
    place.set("TIDEMARK__BATCH__RECORDS_MAX", "50");
    put_files(&place);
    place.succeed(&["up", "--once", "--timeout", "120"]);
    let expected = fresh(&servers, &mut place, &name);
    for (number, point) in
        ["replay.after-intent", "replay.after-reset", "replay.after-emptied", "sink.after-apply"].into_iter().enumerate()
    {
        for (store, expected) in SERVER_STORES.iter().zip(&expected) {
            let when = format!("{} killed at {point}", store.role);
            servers.damage(store, &name);
            place.set("TIDEMARK_CRASH_AT", point);
            let killed = place.run(&["replay", store.role]);
            place.unset("TIDEMARK_CRASH_AT");
            assert!(killed.code.is_none() && killed.stderr.contains("crash point reached"), "{when}: {killed:#?}");
            let command = if number % 2 == 0 { ["up", "--once"] } else { ["replay", store.role] };
            let finished = place.run(&[&command[..], &["--timeout", "120"]].concat());
            assert_eq!(finished.code, Some(0), "{when}: {finished:#?}");
            assert!(number % 2 == 0 || finished.stderr.contains("goes on with build"), "{when}: {finished:#?}");
            assert_same(store, &servers.dump(store, &name), expected, &when);
        }
    }
}
