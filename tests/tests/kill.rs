//! Killed at named points and at random moments, restarted each time until it is done: the stores end byte for byte as those of an
//! undisturbed run, but for the time of taking in, and so do the statistics.
//!
//! `TIDEMARK_SOAK=1` kills 200 times at random moments instead of a few, from `TIDEMARK_SEED`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tidemark_tests::binary;
use tidemark_tests::bulk::{self, Size};
use tidemark_tests::files::{code, customer, envelope, order, pending};
use tidemark_tests::generator::Operation::{Delete, Insert, Update};
use tidemark_tests::place::Place;
use tidemark_tests::random::Random;
use tidemark_tests::results::{self, Counts};
use tidemark_tests::stores;
use tidemark_tests::wait;

/// Counts, and index and reason of each rejection.
type Statistics = (Counts, Vec<(u64, String)>);

/// What must be equal at the end.
#[derive(Debug, PartialEq)]
struct End {
    stores: BTreeMap<&'static str, BTreeMap<String, Vec<String>>>,
    /// Hash of each file → its counts and rejections.
    results: BTreeMap<String, Vec<Statistics>>,
    /// Every other file of the import tree, by path, with its hash.
    files: BTreeMap<String, String>,
}

impl End {
    fn of(place: &Place) -> Self {
        let dump = |file| (file, stores::dump(place.data(), file, &stores::INGESTION_COLUMNS));
        let import = place.import();
        let of_results = |results: Vec<results::ResultFile>| results.iter().map(|one| (one.counts, one.rejections())).collect();
        let others = results::files_below(&import).into_iter().filter(|path| !path.to_string_lossy().ends_with(".result.json"));
        let named = |path: &Path| path.strip_prefix(&import).unwrap().to_string_lossy().into_owned();
        Self {
            stores: stores::FILES.into_iter().map(dump).collect(),
            results: results::by_hash(&import).into_iter().map(|(hash, results)| (hash, of_results(results))).collect(),
            files: others.map(|path| (named(&path), results::sha256(&fs::read(&path).unwrap()))).collect(),
        }
    }

    /// Says the first difference instead of printing everything.
    fn expect(&self, other: &Self, when: &str) {
        assert_eq!(self.results, other.results, "{when}: statistics");
        for (path, hash) in self.files.iter().chain(&other.files) {
            let both = (self.files.get(path), other.files.get(path));
            assert_eq!(both, (Some(hash), Some(hash)), "{when}: {path}");
        }
        for (file, tables) in &self.stores {
            for (table, rows) in tables {
                let others = &other.stores[file][table];
                for (one, two) in rows.iter().zip(others) {
                    assert_eq!(one, two, "{when}: {file}, {table}");
                }
                assert_eq!(rows.len(), others.len(), "{when}: rows of {file}, {table}");
            }
        }
    }
}

/// A few files of every kind: inserts, updates, deletes, rejected by the connector and by the fold, an initial file.
fn put_small_files(place: &Place) {
    // More than one batch.
    let initial: Vec<_> = (1..=9_000).map(|number| customer(number, "张")).collect();
    place.put("initial/institutions/BJ-HA-001/customers.json", serde_json::Value::from(initial).to_string());
    let mut added: Vec<_> = (9_001..=9_040).map(|number| customer(number, "王")).collect();
    added.insert(7, serde_json::json!({"customer_code": "nonsense"}));
    place.put(&pending("customers_add.json"), envelope(Insert, &added));
    // One that fails whole: it is announced without records.
    place.put("incremental/pending/2026-01-14/customers_add.json", "{\"operation\": \"INSERT\", \"data\": [");
    let update = |number| serde_json::json!({"customer_code": code(number), "updates": {"notes": "改"}});
    place.put(&pending("customers_update.json"), envelope(Update, &[update(3), update(99_999), update(25)]));
    place.put(&pending("customers_delete.json"), envelope(Delete, &[serde_json::json!({"customer_code": code(5)})]));
    let orders: Vec<_> = (1..=60).map(|number| order(number, number, 100 + number)).collect();
    place.put(&pending("consumption_records.json"), envelope(Insert, &orders));
}

/// Every named point, with the occurrences at which the process dies there.
const POINTS: [(&str, &[u64]); 19] = [
    ("connector.before-announce", &[1]),
    ("connector.after-announce", &[1]),
    ("connector.before-publish", &[1, 2]),
    ("connector.after-publish", &[1, 2]),
    ("connector.before-last", &[1, 2]),
    ("connector.after-last", &[1, 2]),
    ("connector.before-result", &[1, 3]),
    ("connector.before-archive", &[1, 3]),
    ("connector.after-result", &[1, 3]),
    ("connector.after-archive", &[1, 2]),
    ("log.before-commit", &[1, 2, 5, 9]),
    ("log.after-commit", &[1, 2, 5, 9]),
    ("fold.before-append", &[1, 2]),
    ("fold.after-append", &[1, 2]),
    ("fold.after-cache", &[1, 2]),
    ("sink.before-apply", &[1, 4]),
    ("sink.after-apply", &[1, 4]),
    ("sqlite.before-commit", &[1, 4]),
    ("sqlite.after-commit", &[1, 4]),
];

#[test]
fn killed_at_every_named_point() {
    let undisturbed = Place::with_binary(binary::with_crash_points());
    put_small_files(&undisturbed);
    undisturbed.once();
    let expected = End::of(&undisturbed);
    let mut survived = 0;
    for (point, times) in POINTS {
        for time in times {
            let when = format!("killed at {point}:{time}");
            let mut place = Place::with_binary(binary::with_crash_points());
            put_small_files(&place);
            place.set("TIDEMARK_CRASH_AT", &format!("{point}:{time}"));
            let killed = place.run(&["up", "--once"]);
            // The first occurrence must be reached, or the point is a name without a place.
            let reached = killed.stderr.contains("crash point reached");
            assert!(reached || *time > 1, "{when}: never reached; {killed:#?}");
            assert_eq!(killed.code.is_none(), reached, "{when}: {killed:#?}");
            place.unset("TIDEMARK_CRASH_AT");
            place.once();
            End::of(&place).expect(&expected, &when);
            survived += u64::from(reached);
        }
    }
    assert!(survived >= 12, "only {survived} kills");
}

#[test]
fn killed_at_one_point_after_the_other() {
    let undisturbed = Place::with_binary(binary::with_crash_points());
    put_small_files(&undisturbed);
    undisturbed.once();
    let mut place = Place::with_binary(binary::with_crash_points());
    put_small_files(&place);
    for (point, _) in POINTS {
        place.set("TIDEMARK_CRASH_AT", point);
        place.run(&["up", "--once"]);
    }
    place.unset("TIDEMARK_CRASH_AT");
    place.once();
    End::of(&place).expect(&End::of(&undisturbed), "killed at one point after the other");
}

/// More rejected records than are held at once, tried again after their cause is gone, and killed far into that.
#[test]
fn killed_while_rejected_records_are_tried_again() {
    const MANY: u64 = 15_000;
    let updates: Vec<_> = (0..MANY).map(|number| json!({"customer_code": code(number), "updates": {"notes": "again"}})).collect();
    let mut place = Place::with_binary(binary::with_crash_points());
    place.put(&pending("customers_update.json"), envelope(Update, &updates));
    place.once();
    let customers: Vec<_> = (0..MANY).map(|number| customer(number, "张")).collect();
    place.put(&pending("customers_add.json"), envelope(Insert, &customers));
    place.once();
    place.put(&pending("customers_update.json"), envelope(Update, &updates));
    place.set("TIDEMARK_CRASH_AT", "connector.after-publish:3");
    let killed = place.run(&["up", "--once"]);
    assert!(killed.stderr.contains("crash point reached"), "{killed:#?}");
    place.unset("TIDEMARK_CRASH_AT");
    place.once();
    let sql = "SELECT count(*) FROM customer WHERE notes = 'again'";
    let updated: u64 = stores::open(place.data(), "relational.db").query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(updated, MANY, "every record that was rejected");
}

const SIZE: Size = Size { customers: 10_000, orders: 40_000 };
const KILLS: u64 = 10;
const SOAK_KILLS: u64 = 200;

fn put_large_files(place: &Place) {
    bulk::write(&place.import(), &bulk::customers(SIZE)).unwrap();
    bulk::write(&place.import(), &bulk::orders(SIZE, |_| 0)).unwrap();
}

#[test]
fn killed_at_random_moments_of_a_large_import() {
    let soak = std::env::var_os("TIDEMARK_SOAK").is_some();
    let seed = std::env::var("TIDEMARK_SEED").map_or(1, |text| text.parse().expect("TIDEMARK_SEED must be a number"));
    let kills = if soak { SOAK_KILLS } else { KILLS };
    let undisturbed = Place::new();
    put_large_files(&undisturbed);
    let started = Instant::now();
    undisturbed.once();
    let whole = started.elapsed();
    let expected = End::of(&undisturbed);
    let mut random = Random::new(seed);
    let mut done = 0;
    while done < kills {
        let place = Place::new();
        put_large_files(&place);
        // A run in which every start is killed, early or late, until one gets to its end.
        loop {
            let mut running = place.start(&["up", "--once"]);
            let moment = Duration::from_micros(random.below(whole.as_micros() as u64 * 2 / 3));
            let end = Instant::now() + moment;
            while running.ended().is_none() && Instant::now() < end {
                wait::pass(Duration::from_millis(1).min(end.saturating_duration_since(Instant::now())));
            }
            match running.ended() {
                Some(status) => {
                    assert_eq!(status.code(), Some(0), "seed {seed}: {}", running.output());
                    break;
                }
                None if done < kills => {
                    running.kill();
                    done += 1;
                }
                None => {
                    assert_eq!(running.wait(wait::PATIENCE * 5).code(), Some(0), "seed {seed}: {}", running.output());
                    break;
                }
            }
        }
        End::of(&place).expect(&expected, &format!("seed {seed}, after {done} kills"));
    }
}
