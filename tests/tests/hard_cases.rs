//! The fold's hard cases and the rules of dropping again, end to end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidemark_tests::binary;
use tidemark_tests::files::{code, customer, envelope, order, order_number, pending};
use tidemark_tests::generator::Operation::{Delete, Insert, Update};
use tidemark_tests::oracle::{Event, Meaning};
use tidemark_tests::place::Place;
use tidemark_tests::results;
use tidemark_tests::second;
use tidemark_tests::stores;

const INITIAL: &str = "initial/institutions/BJ-HA-001/customers.json";

fn row(place: &Place, number: u64) -> Value {
    place.state("customer")[&code(number)].row.clone()
}

fn update(number: u64, updates: &Value) -> Value {
    json!({"customer_code": code(number), "updates": updates})
}

/// All content of all stores but when it was taken in.
fn content(place: &Place) -> Vec<Vec<String>> {
    let dumps = stores::FILES.iter().map(|file| stores::dump(place.data(), file, &stores::INGESTION_COLUMNS));
    dumps.flat_map(std::collections::BTreeMap::into_values).collect()
}

#[test]
fn a_changed_snapshot_row_leaves_alone_what_another_source_changed() {
    let place = Place::new();
    let mut listed = customer(1, "张");
    listed["notes"] = json!("旧");
    place.put(INITIAL, json!([listed]).to_string());
    place.once();
    let patch = [("person.phone".to_owned(), json!("13900000000"))].into();
    let event = Event { entity: "customer", key: code(1), meaning: Meaning::Patch(patch) };
    second::publish(place.data(), 1, &[(event, false)]);
    listed["notes"] = json!("新");
    place.put(INITIAL, json!([listed]).to_string());
    place.once();
    let row = row(&place, 1);
    assert_eq!((&row["notes"], &row["person"]["phone"]), (&json!("新"), &json!("13900000000")));
}

#[test]
fn a_lost_cache_and_an_unchanged_relisting_change_nothing() {
    let place = Place::new();
    place.put(INITIAL, json!([customer(1, "张"), customer(2, "王")]).to_string());
    place.put(&pending("customers_update.json"), envelope(Update, &[update(1, &json!({"vip_level": "钻石"}))]));
    place.once();
    let before = content(&place);
    let cache = place.data().join("state");
    assert!(cache.exists(), "the fold's cache stands where the documentation says");
    fs::remove_dir_all(&cache).unwrap();
    place.put(INITIAL, format!("{}\n", json!([customer(1, "张"), customer(2, "王")])));
    place.once();
    assert_eq!(content(&place), before);
    assert_eq!(results::newest(&place.import(), "customers.json").counts.unchanged, 2);
    assert_eq!(row(&place, 1)["vip_level"], "DIAMOND", "an unchanged snapshot row does not undo a newer update");
}

#[test]
fn a_file_with_rejects_dropped_again_tries_only_those() {
    let place = Place::new();
    let text = envelope(Update, &[update(1, &json!({"notes": "甲"})), update(2, &json!({"notes": "乙"}))]);
    place.put(INITIAL, json!([customer(1, "张")]).to_string());
    place.put(&pending("customers_update.json"), &text);
    place.once();
    let first = results::newest(&place.import(), "customers_update.json");
    assert_eq!((first.counts.updated, first.counts.rejected), (1, 1), "{:#}", first.document);
    assert_eq!(first.rejections(), [(1, "unknown_key".to_owned())]);
    // Meanwhile the first is changed and the second comes to be.
    place.put("incremental/pending/2026-01-16/customers_update.json", envelope(Update, &[update(1, &json!({"notes": "丙"}))]));
    place.put("incremental/pending/2026-01-16/customers_add.json", envelope(Insert, &[customer(2, "王")]));
    place.put("incremental/pending/2026-01-17/customers_update.json", &text);
    place.once();
    assert_eq!((&row(&place, 1)["notes"], &row(&place, 2)["notes"]), (&json!("丙"), &json!("乙")));
    let open = place.succeed(&["dead-letters", "list", "--json"]);
    assert!(!open.contains(&code(2)), "the rejection is closed: {open}");
}

#[test]
fn an_old_update_dropped_again_does_not_undo_a_newer_one() {
    let place = Place::new();
    let old = envelope(Update, &[update(1, &json!({"vip_level": "GOLD"}))]);
    place.put(INITIAL, json!([customer(1, "张")]).to_string());
    place.put(&pending("customers_update.json"), &old);
    place.put(
        "incremental/pending/2026-01-16/customers_update.json",
        envelope(Update, &[update(1, &json!({"vip_level": "DIAMOND"}))]),
    );
    place.once();
    place.put("incremental/pending/2026-01-17/customers_update.json", &old);
    place.once();
    assert_eq!(row(&place, 1)["vip_level"], "DIAMOND");
    let result = results::newest(&place.import(), "customers_update.json");
    assert!(result.document["repeats_of"].as_str().is_some_and(|first| first.contains("2026-01-15")), "{:#}", result.document);
    // Somebody who insists gets it.
    place.put("incremental/pending/2026-01-18/customers_update.json", &old);
    place.succeed(&["import", "incremental", "--again"]);
    assert_eq!(row(&place, 1)["vip_level"], "GOLD");
}

#[test]
fn a_file_that_failed_whole_is_read_anew() {
    let place = Place::new();
    let text = envelope(Insert, &[customer(1, "张")]);
    let torn = &text[..text.len() - 2];
    for day in [15, 16] {
        place.put(&format!("incremental/pending/2026-01-{day}/customers_add.json"), torn);
        place.once();
        let result = results::newest(&place.import(), "customers_add.json");
        assert!(result.text("failed").is_some(), "{:#}", result.document);
        assert!(result.document["repeats_of"].is_null(), "{:#}", result.document);
    }
    place.put("incremental/pending/2026-01-17/customers_add.json", text);
    place.once();
    assert_eq!(row(&place, 1)["person"]["name"], "张");
}

#[test]
fn a_deleted_customer_leaves_living_orders() {
    let place = Place::new();
    place.put(INITIAL, json!([customer(1, "张")]).to_string());
    place.put(&pending("consumption_records.json"), envelope(Insert, &[order(1, 1, 100)]));
    place.put("incremental/pending/2026-01-16/customers_delete.json", envelope(Delete, &[json!({"customer_code": code(1)})]));
    place.once();
    assert!(place.state("customer")[&code(1)].deleted);
    assert!(!place.state("consumption")[&order_number(1)].deleted);
    let edges = stores::edges(place.data());
    let bought = edges.iter().find(|edge| edge.kind == "bought_by_customer").expect("the edge belongs to the order");
    assert_eq!(bought.target, format!("customer:{}", code(1)));
    assert!(edges.iter().all(|edge| edge.kind != "belongs_to_institution"), "the customer's own edges are gone");
    assert!(!stores::vertices(place.data()).contains_key(&format!("customer:{}", code(1))), "no placeholder");
    // It comes back by an insert, and not by a snapshot row.
    place.put(INITIAL, format!("{} ", json!([customer(1, "张改")])));
    place.once();
    assert!(place.state("customer")[&code(1)].deleted);
    place.put("incremental/pending/2026-01-17/customers_add.json", envelope(Insert, &[customer(1, "张回")]));
    place.once();
    assert_eq!(row(&place, 1)["person"]["name"], "张回");
}

#[test]
fn a_repeated_rejection_after_a_crash_is_counted_once() {
    let mut place = Place::with_binary(binary::with_crash_points());
    let records = [customer(1, "张"), json!({"customer_code": "nonsense"}), customer(2, "王")];
    place.put(&pending("customers_add.json"), envelope(Insert, &records));
    place.put(&pending("customers_update.json"), envelope(Update, &[update(77, &json!({"notes": "无"}))]));
    for point in ["connector.before-last", "fold.before-append", "fold.after-append", "connector.before-archive"] {
        place.set("TIDEMARK_CRASH_AT", point);
        place.run(&["up", "--once"]);
    }
    place.unset("TIDEMARK_CRASH_AT");
    place.once();
    let add = results::newest(&place.import(), "customers_add.json");
    assert_eq!((add.counts.read, add.counts.inserted, add.counts.rejected), (3, 2, 1), "{:#}", add.document);
    assert_eq!(add.rejections().len(), 1);
    let update = results::newest(&place.import(), "customers_update.json");
    assert_eq!((update.counts.read, update.counts.rejected), (1, 1), "{:#}", update.document);
    assert_eq!(results::all(&place.import()).len(), 2, "one result for each file");
    let rejects: Vec<PathBuf> = failed_envelopes(&place);
    assert_eq!(rejects.len(), 2, "{rejects:?}");
}

fn failed_envelopes(place: &Place) -> Vec<PathBuf> {
    let failed = results::files_below(&place.import().join("incremental/failed"));
    failed.into_iter().filter(|path| !path.to_string_lossy().ends_with(".result.json")).collect()
}

fn swap(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (from.join(format!("log.db{suffix}")), to.join(format!("log.db{suffix}")));
        let _ = fs::remove_file(&to);
        if from.exists() {
            fs::copy(from, to).unwrap();
        }
    }
}

#[test]
fn a_log_swapped_for_another_one_is_noticed() {
    let (place, other) = (Place::new(), Place::new());
    place.put(INITIAL, json!([customer(1, "张")]).to_string());
    other.put(INITIAL, json!([customer(9, "外")]).to_string());
    place.once();
    other.once();
    swap(other.data(), place.data());
    let outcome = place.run(&["up", "--once", "--timeout", "5"]);
    assert!(matches!(outcome.code, Some(1 | 3)), "{outcome:#?}");
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(
        said.contains("log") && (said.contains("init --force-rebuild") || said.contains("replay")),
        "names the remedy: {said}"
    );
    let rows = stores::rows(place.data(), "relational.db", "customer", &["customer_code"]);
    assert_eq!(rows.keys().collect::<Vec<_>>(), [&vec![code(1)]], "the stores were left alone");
}

#[test]
fn a_log_restored_from_an_older_copy_is_noticed() {
    let place = Place::new();
    place.put(INITIAL, json!([customer(1, "张")]).to_string());
    place.once();
    let copy = tempfile::tempdir().unwrap();
    swap(place.data(), copy.path());
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(2, "王")]));
    place.once();
    // By hand, past `restore`: the stores now stand beyond the end of the log.
    swap(copy.path(), place.data());
    let outcome = place.run(&["up", "--once", "--timeout", "5"]);
    assert!(matches!(outcome.code, Some(1 | 3)), "{outcome:#?}");
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(said.contains("restore") || said.contains("force-rebuild") || said.contains("replay"), "names the remedy: {said}");
    let checked = place.run(&["check"]);
    assert_eq!(checked.code, Some(4), "{checked:#?}");
    assert!(checked.stdout.contains("stands at 2 on tidemark.state.customer/0, which ends at 1"), "{}", checked.stdout);
}
