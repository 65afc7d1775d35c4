//! Where decided files go when places are taken, cannot be written, or have names that are too long for what stands beside them.

use std::fs;

use serde_json::{Value, json};
use tidemark_connector_core::{Connector, progress};

use super::shop::Shop;
use super::{FAILED, PENDING, PROCESSED, customer, envelope};

/// A customer and a record that is rejected; the name tells one file's from another's.
fn with_a_reject(number: u32, word: &str) -> [Value; 2] {
    [customer(number), json!({"customer_code": word})]
}

fn data_at(shop: &Shop, path: &str) -> Value {
    let text = fs::read(shop.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_slice::<Value>(&text).unwrap()["data"].take()
}

#[tokio::test]
async fn claims_that_wait_keep_their_places() {
    for restarted in [false, true] {
        let mut shop = Shop::new().await;
        let today = shop.connector.today();
        let failed = format!("incremental/failed/{today}");
        shop.drop_file(&failed, "in the way");
        // Both have their rejects at failed/<today>/customers_add.json, if nobody looks at the other's.
        shop.drop_file("initial/common/customers.json", json!(with_a_reject(1, "first")).to_string());
        shop.drop_file(
            &format!("incremental/pending/{today}/customers_add.json"),
            envelope("INSERT", &with_a_reject(2, "second")),
        );
        assert!(shop.try_run().await.is_err());
        fs::remove_file(shop.path(&failed)).unwrap();
        if restarted {
            shop.restart().await;
        }
        shop.run().await;
        // The oldest comes first.
        assert_eq!(data_at(&shop, &format!("{failed}/customers_add.json")), json!([{"customer_code": "first"}]));
        assert_eq!(data_at(&shop, &format!("{failed}/customers_add-2.json")), json!([{"customer_code": "second"}]));
    }
}

#[tokio::test]
async fn a_newer_file_of_the_same_name_has_places_of_its_own() {
    for restarted in [false, true] {
        let mut shop = Shop::new().await;
        shop.drop_file(FAILED, "in the way");
        let path = format!("{PENDING}/customers_add.json");
        shop.drop_file(&path, envelope("INSERT", &with_a_reject(1, "first")));
        assert!(shop.try_run().await.is_err());
        shop.drop_file(&path, envelope("INSERT", &[customer(2), json!({"customer_code": "second"}), customer(3)]));
        assert!(shop.try_run().await.is_err());
        fs::remove_file(shop.path(FAILED)).unwrap();
        if restarted {
            shop.restart().await;
        }
        shop.run().await;
        assert_eq!(shop.result(&format!("{PROCESSED}/customers_add.json"))["read"], 2);
        assert_eq!(shop.result(&format!("{PROCESSED}/customers_add-2.json"))["read"], 3);
        assert!(shop.path(&format!("{PROCESSED}/customers_add-2.json")).is_file());
        // The first one's bytes are gone from where they stood: its rejects stand in its result alone.
        assert_eq!(data_at(&shop, &format!("{FAILED}/customers_add-2.json")), json!([{"customer_code": "second"}]));
    }
}

#[tokio::test]
async fn an_older_reading_of_an_initial_file_replaces_nothing() {
    let mut shop = Shop::new().await;
    let failed = format!("incremental/failed/{}", shop.connector.today());
    shop.drop_file(&failed, "in the way");
    shop.drop_file("initial/common/customers.json", json!(with_a_reject(1, "first")).to_string());
    assert!(shop.try_run().await.is_err());
    // The first one's bytes are gone, so that it needs no place for its rejects any more: it is closed after the second.
    shop.drop_file("initial/common/customers.json", json!([customer(1), customer(2), customer(3)]).to_string());
    shop.run().await;
    assert_eq!(shop.result("initial/common/customers.json")["read"], 3);
    let published = shop.fold.numbers.len();
    for _ in 0..2 {
        shop.run().await;
        assert_eq!(shop.fold.numbers.len(), published, "what was read last is what is known of it");
        shop.restart().await;
    }
}

#[tokio::test]
async fn what_another_put_at_a_chosen_name_stays() {
    let mut shop = Shop::new().await;
    shop.drop_file(FAILED, "in the way");
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &with_a_reject(1, "first")));
    assert!(shop.try_run().await.is_err());
    fs::remove_file(shop.path(FAILED)).unwrap();
    for place in [format!("{FAILED}/customers_add.json"), format!("{PROCESSED}/customers_add.json.result.json")] {
        shop.drop_file(&place, "mine");
    }
    shop.restart().await;
    shop.run().await;
    for place in [format!("{FAILED}/customers_add.json"), format!("{PROCESSED}/customers_add.json.result.json")] {
        assert_eq!(fs::read(shop.path(&place)).unwrap(), b"mine");
    }
    assert_eq!(data_at(&shop, &format!("{FAILED}/customers_add-2.json")), json!([{"customer_code": "first"}]));
    assert_eq!(shop.result(&format!("{PROCESSED}/customers_add.json-2"))["read"], 2);
}

#[tokio::test]
async fn what_a_power_cut_tore_is_written_again() {
    let mut shop = Shop::new().await;
    shop.drop_file(PROCESSED, "in the way");
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &with_a_reject(1, "first")));
    assert!(shop.try_run().await.is_err());
    fs::remove_file(shop.path(PROCESSED)).unwrap();
    // As after a cut behind the rename and before the bytes.
    let torn = fs::read(shop.path(&format!("{FAILED}/customers_add.json"))).unwrap_or_default();
    shop.drop_file(&format!("{FAILED}/customers_add.json"), &torn[..torn.len() / 2]);
    shop.drop_file(&format!("{PROCESSED}/customers_add.json.result.json"), "");
    shop.restart().await;
    shop.run().await;
    assert_eq!(shop.result(&format!("{PROCESSED}/customers_add.json"))["read"], 2);
    assert_eq!(data_at(&shop, &format!("{FAILED}/customers_add.json")), json!([{"customer_code": "first"}]));
    assert!(!shop.path(&format!("{PROCESSED}/customers_add.json-2.result.json")).exists());
}

#[tokio::test]
async fn a_folder_may_be_a_link_to_another_one_inside() {
    let mut shop = Shop::new().await;
    let (processed, archive) = (shop.path("incremental/processed"), shop.path("archive"));
    fs::rename(&processed, &archive).unwrap();
    std::os::unix::fs::symlink("../archive", &processed).unwrap();
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &with_a_reject(1, "first")));
    shop.run().await;
    assert_eq!(shop.result(&format!("{PROCESSED}/customers_add.json"))["read"], 2);
    assert!(archive.join("2026-01-15/customers_add.json").is_file());
}

#[tokio::test]
async fn a_claim_is_closed_only_when_the_disk_has_its_files() {
    let mut shop = Shop::new().await;
    for number in 1..=5_u32 {
        shop.drop_file(&format!("{PENDING}/customers-{number}_add.json"), envelope("INSERT", &[customer(number)]));
    }
    let last = format!("{PROCESSED}/customers-5_add.json.result.json");
    while !shop.path(&last).exists() {
        shop.step().await.unwrap();
    }
    // All are put away, none is closed: a new process looks at each again, and changes nothing.
    let claims = progress::load(shop.log.as_ref(), &shop.topics, "claim|").await.unwrap();
    let open = claims.values().filter(|claim| !claim.contains("\"closed\"")).count();
    assert_eq!((claims.len(), open), (5, 5));
    let before = fs::read_dir(shop.path(PROCESSED)).unwrap().count();
    shop.restart().await;
    shop.run().await;
    assert_eq!(fs::read_dir(shop.path(PROCESSED)).unwrap().count(), before);
    let claims = progress::load(shop.log.as_ref(), &shop.topics, "claim|").await.unwrap();
    assert!(claims.values().all(|claim| claim.contains("\"closed\"")));
    assert_eq!(shop.fold.numbers.len(), 5);
}

#[tokio::test]
async fn names_as_long_as_they_may_be() {
    // In bytes: the longest that leave room for `.result.json`, the first that do not, the longest of all.
    for length in [243, 244, 255] {
        let mut shop = Shop::new().await;
        let name = |start: &str, end: &str| {
            let room = length - start.len() - end.len();
            format!("{start}{}{}{end}", "长".repeat(room / 3), "x".repeat(room % 3))
        };
        let incremental = format!("{PENDING}/{}", name("customers_", "_add.json"));
        let initial = format!("initial/institutions/BJ-HA-001/{}", name("customers_", ".json"));
        let failing = format!("{PENDING}/{}", name("projects_", ".json"));
        for round in 1..=2_u32 {
            let data = with_a_reject(round, "reject");
            shop.drop_file(&incremental, envelope("INSERT", &data));
            shop.drop_file(&initial, json!(data).to_string());
            shop.drop_file(&failing, "[");
            let statistics = shop.run().await;
            assert_eq!((statistics.files_read, statistics.errors), (u64::from(round) * 3, u64::from(round) * 3), "{statistics}");
        }
        let in_folder = |folder: &str, end: &str| {
            let entries = fs::read_dir(shop.path(folder)).unwrap();
            entries.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(end)).count()
        };
        assert_eq!(in_folder(PROCESSED, ".json"), 4);
        assert_eq!(in_folder(PROCESSED, ".result.json"), 2);
        assert_eq!(in_folder("initial/institutions/BJ-HA-001", ".result.json"), 1);
        assert_eq!(in_folder(FAILED, ".json"), 6, "two that failed, their results, two with rejects");
        // Rejects can be dropped again under the names that they have.
        let rejects = format!("incremental/failed/{}", shop.connector.today());
        assert_eq!(in_folder(&rejects, ".json"), 2);
        let entries: Vec<_> = fs::read_dir(shop.path(&rejects)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        for name in entries {
            fs::rename(shop.path(&rejects).join(&name), shop.path(PENDING).join(&name)).unwrap();
        }
        let statistics = shop.run().await;
        assert_eq!(statistics.files.iter().filter(|file| file.failed.is_some()).count(), 2, "{statistics}");
    }
}

#[tokio::test]
async fn more_rejections_than_are_held_at_once() {
    let mut shop = Shop::new().await;
    // Every third is well, and some are rejected by the fold and not here.
    let update = |number: u32| json!({"customer_code": format!("BJ-HA-001-C{number:04}"), "updates": {"notes": "x"}});
    let data: Vec<Value> = (0..15_000).map(|number| if number % 3 == 1 { json!(number) } else { update(number) }).collect();
    let known: Vec<Value> = (0..15_000).step_by(3).map(customer).collect();
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &known));
    let updates = envelope("UPDATE", &data);
    shop.drop_file(&format!("{PENDING}/customers_update.json"), &updates);
    shop.run().await;
    let expected: Vec<&Value> = (0..15_000).filter(|number| number % 3 != 0).map(|number| &data[number]).collect();
    assert_eq!(data_at(&shop, &format!("{FAILED}/customers_update.json")), json!(expected));
    // Again, broken off at every append in turn: only those are tried, and all of them.
    let mut attempts = 1;
    loop {
        attempts += 1;
        shop.drop_file(&format!("{PENDING}/customers_update.json"), &updates);
        *shop.fault.lock().unwrap() = Some((attempts - 2, tidemark_log::memory::Fault::After));
        let mut faults = 0;
        while shop.try_run().await.is_err() {
            shop.restart().await;
            faults += 1;
            assert_eq!(faults, 1, "only the planned one");
        }
        let result = shop.result(&format!("{PROCESSED}/customers_update-{attempts}.json"));
        assert_eq!((result["read"].as_u64(), result["rejected"].as_u64()), (Some(10_000), Some(10_000)), "attempt {attempts}");
        let indexes = result["rejections"].as_array().unwrap().iter().map(|one| one["index"].as_u64().unwrap());
        assert!(indexes.eq((0..15_000).filter(|number| number % 3 != 0)));
        if faults == 0 {
            break;
        }
    }
    assert!(attempts >= 5, "a claim, three windows: {attempts}");
}

#[tokio::test]
async fn a_file_that_vanishes_leaves_a_result() {
    for (path, restarted) in [
        (format!("{PENDING}/customers_add.json"), false),
        (format!("{PENDING}/customers_add.json"), true),
        ("initial/institutions/BJ-HA-001/customers.json".to_owned(), false),
    ] {
        let mut shop = Shop::new().await;
        let data: Vec<Value> = (0..20_000).map(|number| if number == 1 { json!(1) } else { customer(number) }).collect();
        let file = if path.starts_with("initial") { json!(data).to_string() } else { envelope("INSERT", &data) };
        shop.drop_file(&path, &file);
        while shop.connector.counts().published == 0 {
            shop.connector.step().await.unwrap();
        }
        if restarted {
            fs::remove_file(shop.path(&path)).unwrap();
            shop.restart().await;
        } else {
            // Cut under the reader's hands, then gone.
            shop.drop_file(&path, &file[..1_000]);
            fs::remove_file(shop.path(&path)).unwrap();
        }
        let statistics = shop.run().await;
        let place = if path.starts_with("initial") { path.clone() } else { format!("{FAILED}/customers_add.json") };
        let result = shop.result(&place);
        let failed = result["failed"].as_str().unwrap();
        assert!(failed.starts_with("the file vanished while it was read"), "{failed}");
        assert_eq!((result["file"].as_str(), result["rejected"].as_u64()), (Some(path.as_str()), Some(1)));
        assert!((1..20_000).contains(&result["inserted"].as_u64().unwrap()), "{result}");
        assert_eq!(result["rejections"][0]["index"], 1);
        assert_eq!(statistics.errors, 2, "{statistics}");
        assert!(!shop.path(&format!("{PROCESSED}/customers_add.json.result.json")).exists());
        // It comes back: read anew, to its end.
        shop.drop_file(&path, &file);
        shop.run().await;
        let place = if path.starts_with("initial") { path } else { format!("{PROCESSED}/customers_add.json") };
        let result = shop.result(&place);
        assert_eq!((result["read"].as_u64(), &result["failed"]), (Some(20_000), &Value::Null), "{result}");
    }
}
