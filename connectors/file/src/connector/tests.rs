mod again;
mod hostile;
mod settling;
mod shop;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tidemark_connector_core::{Connector, ConnectorError, Step, progress};
use tidemark_log::memory::Fault;
use tidemark_log::{Append, Log};

use crate::options::{Part, Selection};
use crate::{ScanAnswer, ScanRequest, answer_key, request_key};
use shop::Shop;

fn customer(number: u32) -> Value {
    json!({"customer_code": format!("BJ-HA-001-C{number:04}"), "person": {"name": format!("客户{number}")}, "vip_level": "GOLD"})
}

fn envelope(operation: &str, data: &[Value]) -> String {
    json!({"operation": operation, "timestamp": "2026-01-15T10:30:00", "institution_code": "BJ-HA-001", "data": data}).to_string()
}

const PENDING: &str = "incremental/pending/2026-01-15";
const PROCESSED: &str = "incremental/processed/2026-01-15";
const FAILED: &str = "incremental/failed/2026-01-15";

#[tokio::test]
async fn a_first_import_and_a_day() {
    let mut shop = Shop::new().await;
    shop.drop_file("initial/common/institutions.json", r#"[{"institution_code": "BJ-HA-001", "name": "北京华美"}]"#);
    shop.drop_file("initial/institutions/BJ-HA-001/customers.json", json!([customer(1), customer(2)]).to_string());
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &[customer(6)]));
    let update = json!({"customer_code": "BJ-HA-001-C0001", "updates": {"vip_level": "PLATINUM"}});
    shop.drop_file(&format!("{PENDING}/customers_update.json"), envelope("update", &[update]));
    shop.drop_file(
        &format!("{PENDING}/customers_delete.json"),
        envelope("DELETE", &[json!({"customer_code": "BJ-HA-001-C0002"})]),
    );
    let statistics = shop.run().await;
    assert_eq!((statistics.files_read, statistics.errors), (5, 0), "{statistics}");
    assert_eq!(statistics.totals["customers"], 5);
    assert!(shop.row("customer", "BJ-HA-001-C0006").is_some());
    assert!(shop.row("customer", "BJ-HA-001-C0002").is_none());
    assert_eq!(shop.result(&format!("{PROCESSED}/customers_add.json"))["inserted"], 1);
    assert_eq!(shop.result("initial/institutions/BJ-HA-001/customers.json")["inserted"], 2);
    assert!(shop.path(&format!("{PROCESSED}/customers_update.json")).is_file());
    assert_eq!(fs::read_dir(shop.path(PENDING)).unwrap().count(), 0);
    assert!(shop.path("initial/common/institutions.json").is_file());
    // Nothing changes when nothing is new, also after a restart.
    let published = shop.fold.numbers.len();
    shop.restart().await;
    assert_eq!(shop.run().await.files_read, 0);
    assert_eq!(shop.fold.numbers.len(), published);
}

#[tokio::test]
async fn rejected_records_can_be_dropped_again() {
    let mut shop = Shop::new().await;
    let mut data: Vec<Value> = (1..=9).map(customer).collect();
    data[2]["last_visit_date"] = json!("soon");
    data[7]["person"] = json!(7);
    let file = envelope("INSERT", &data);
    shop.drop_file(&format!("{PENDING}/customers_add.json"), &file);
    shop.run().await;
    let result = shop.result(&format!("{PROCESSED}/customers_add.json"));
    assert_eq!((result["read"].as_u64(), result["inserted"].as_u64(), result["rejected"].as_u64()), (Some(9), Some(7), Some(2)));
    assert_eq!(result["rejections"][0]["index"], 2);
    assert_eq!(result["rejections"][0]["key"], "BJ-HA-001-C0003");
    assert_eq!(result["rejections"][1]["reason"], "bad_object");
    let rejects = fs::read_to_string(shop.path(&format!("{FAILED}/customers_add.json"))).unwrap();
    let again: Value = serde_json::from_str(&rejects).unwrap();
    assert_eq!(again["data"], json!([data[2], data[7]]));
    assert_eq!((&again["operation"], &again["timestamp"]), (&json!("INSERT"), &json!("2026-01-15T10:30:00")));
    assert!(!shop.path(&format!("{FAILED}/customers_add.json.result.json")).exists());
    // Fixed and dropped again, under the same name.
    let fixed = rejects.replace("\"soon\"", "null").replace("\"person\":7", "\"person\":{\"name\":\"a\"}");
    shop.drop_file(&format!("{PENDING}/customers_add.json"), fixed);
    shop.run().await;
    assert_eq!(shop.result(&format!("{PROCESSED}/customers_add-2.json"))["inserted"], 2);
    // The whole first file again: only what was rejected is tried.
    let published = shop.fold.numbers.len();
    shop.drop_file(&format!("{PENDING}/customers_add.json"), &file);
    shop.run().await;
    assert_eq!(shop.fold.numbers.len(), published);
    let result = shop.result(&format!("{PROCESSED}/customers_add-3.json"));
    assert_eq!((result["read"].as_u64(), result["rejected"].as_u64()), (Some(2), Some(2)));
}

#[tokio::test]
async fn rejections_of_the_fold_stand_in_the_order_of_the_file() {
    let mut shop = Shop::new().await;
    let update = |number: u32| json!({"customer_code": format!("BJ-HA-001-C{number:04}"), "updates": {"notes": "x"}});
    let mut data: Vec<Value> = (0..60).map(update).collect();
    data[10] = json!(1);
    data[50] = json!(2);
    shop.drop_file(&format!("{PENDING}/customers_update.json"), envelope("UPDATE", &data));
    shop.run().await;
    let result = shop.result(&format!("{PROCESSED}/customers_update.json"));
    let indexes: Vec<u64> = result["rejections"].as_array().unwrap().iter().map(|one| one["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..60).collect::<Vec<u64>>());
    assert_eq!(result["warnings"]["mostly_rejected"], 1);
    assert_eq!(result["failed"], Value::Null);
    let again: Value = serde_json::from_slice(&fs::read(shop.path(&format!("{FAILED}/customers_update.json"))).unwrap()).unwrap();
    assert_eq!(again["data"], json!(data));
}

#[tokio::test]
async fn a_repeat_publishes_nothing_unless_insisted_on() {
    let mut shop = Shop::new().await;
    let file = envelope("INSERT", &[customer(1)]);
    shop.drop_file(&format!("{PENDING}/customers_add.json"), &file);
    shop.run().await;
    shop.restart().await;
    shop.drop_file("incremental/pending/2026-01-16/customers.json", &file);
    let statistics = shop.run().await;
    assert_eq!(shop.fold.numbers.len(), 1);
    let first = format!("{PROCESSED}/customers_add.json");
    assert_eq!(shop.result("incremental/processed/2026-01-16/customers.json")["repeats_of"], json!(first));
    assert_eq!(statistics.files[0].repeats_of, Some(first));
    shop.options.selection = Selection { part: Part::Incremental { date: None }, again: true };
    shop.restart().await;
    shop.drop_file("incremental/pending/2026-01-17/customers.json", &file);
    shop.run().await;
    assert_eq!(shop.fold.numbers.len(), 2);
    assert_eq!(shop.result("incremental/processed/2026-01-17/customers.json")["unchanged"], 1);
}

#[tokio::test]
async fn files_that_fail_whole() {
    let mut shop = Shop::new().await;
    let table: [(&str, &[u8], &str); 9] = [
        ("customers_a.json", b"[{\"customer_code\": ", "the file ends too early"),
        ("customers_b.json", b"{\"operation\":\"INSERT\",\"data\":[\"\xC4\xE3\"]}", "not UTF-8"),
        ("customers_c.json", b"{\"data\":[]}", "names no `operation`"),
        ("customers_d.json", b"[]", "hold an envelope"),
        ("customers_update.json", b"{\"operation\":\"DELETE\",\"data\":[]}", "the file's name says Update"),
        ("orders.json", b"{\"operation\":\"INSERT\",\"data\":[]}", "one of: institutions"),
        ("customers_e.json", b"{\"operation\":\"INSERT\",\"timestamp\":\"soon\",\"data\":[]}", "`timestamp` of the envelope"),
        ("customers_f.json", b"{\"operation\":\"INSERT\",\"operation\":\"INSERT\",\"data\":[]}", "two fields `operation`"),
        ("customers_g.json", b"{\"operation\":\"INSERT\",\"data\":[{\"a\":tru}]}", "expected ident"),
    ];
    for (name, contents, _) in table {
        shop.drop_file(&format!("{PENDING}/{name}"), contents);
    }
    fs::create_dir(shop.path(&format!("{PENDING}/customers_dir.json"))).unwrap();
    symlink("nowhere", shop.path(&format!("{PENDING}/customers_link.json"))).unwrap();
    let fifo = shop.path(&format!("{PENDING}/customers_fifo.json"));
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    shop.drop_file("incremental/pending/customers.json", "[]");
    shop.drop_file(&format!("{PENDING}/customers_ok.json"), envelope("INSERT", &[customer(1)]));
    let statistics = shop.run().await;
    assert_eq!((statistics.errors, statistics.files_read), (13, 14), "{statistics}");
    for (name, contents, problem) in table {
        let result = shop.result(&format!("{FAILED}/{name}"));
        let failed = result["failed"].as_str().unwrap();
        assert!(failed.contains(problem), "{name}: {failed}");
        assert_eq!(result["read"], 0);
        assert_eq!(fs::read(shop.path(&format!("{FAILED}/{name}"))).unwrap(), contents);
    }
    for name in ["customers_dir.json", "customers_link.json", "customers_fifo.json"] {
        assert!(shop.result(&format!("{FAILED}/{name}"))["failed"].as_str().unwrap().contains("cannot be read"));
    }
    assert!(shop.row("customer", "BJ-HA-001-C0001").is_some());
    assert_eq!(shop.fold.numbers.len(), 1);
    // One that failed whole is read anew.
    shop.drop_file(&format!("{PENDING}/customers_a.json"), table[0].1);
    assert_eq!(shop.run().await.errors, 14);
}

#[tokio::test]
async fn files_in_folders_below_are_not_left_lying() {
    let mut shop = Shop::new().await;
    let file = envelope("INSERT", &[customer(1)]);
    for folder in [format!("{PENDING}/morning"), format!("{PENDING}/morning/a"), "incremental/pending/tomorrow/a".to_owned()] {
        let name = format!("customers_{}_add.json", folder.len());
        shop.drop_file(&format!("{folder}/{name}"), &file);
        shop.run().await;
        // Its folder names no date, so it goes under that of the clock.
        let result = shop.result(&format!("incremental/failed/2096-10-02/{name}"));
        assert!(result["failed"].as_str().unwrap().contains("in no folder below; move it there"), "{folder}: {result}");
    }
    for folder in ["initial/common/old", "initial/institutions/BJ-HA-001/old/older", "initial/other"] {
        shop.drop_file(&format!("{folder}/customers.json"), json!([customer(1)]).to_string());
        shop.run().await;
        let result = shop.result(&format!("{folder}/customers.json"));
        assert!(result["failed"].as_str().unwrap().contains("initial/institutions/<code>/"), "{folder}: {result}");
    }
    assert_eq!(shop.fold.numbers.len(), 0);
}

#[tokio::test]
async fn a_young_broken_file_is_waited_for_and_holds_back_its_entity() {
    let mut shop = Shop::new().await;
    let whole = envelope("INSERT", &[customer(1)]);
    shop.wall.store(0, Ordering::SeqCst);
    shop.drop_file(&format!("{PENDING}/customers_add.json"), &whole[..40]);
    shop.drop_file("incremental/pending/2026-01-16/customers_add.json", envelope("INSERT", &[customer(2)]));
    shop.drop_file(
        "incremental/pending/2026-01-16/projects.json",
        envelope("INSERT", &[json!({"project_code": "P", "name": "a"})]),
    );
    for _ in 0..30 {
        shop.millis.fetch_add(100, Ordering::SeqCst);
        shop.connector.step().await.unwrap();
        shop.fold.run(&shop.log, &shop.topics, &shop.catalog).await;
    }
    assert!(shop.row("project", "P").is_some());
    assert!(shop.row("customer", "BJ-HA-001-C0002").is_none());
    shop.drop_file(&format!("{PENDING}/customers_add.json"), &whole);
    let statistics = shop.run().await;
    assert_eq!(statistics.errors, 0, "{statistics}");
    assert!(shop.row("customer", "BJ-HA-001-C0001").is_some() && shop.row("customer", "BJ-HA-001-C0002").is_some());
    assert_eq!(shop.fold.numbers.len(), 3);
}

#[tokio::test]
async fn files_are_read_in_their_order() {
    let mut shop = Shop::new().await;
    let at =
        |time: &str, operation: &str, data: Value| json!({"data": [data], "operation": operation, "timestamp": time}).to_string();
    let record = |name: &str| json!({"project_code": "P", "name": name});
    shop.drop_file(&format!("{PENDING}/projects_b.json"), at("2026-01-15T09:00:00", "INSERT", record("second")));
    shop.drop_file(&format!("{PENDING}/projects_a.json"), at("2026-01-15T10:00:00", "INSERT", record("third")));
    shop.drop_file("incremental/pending/2026-01-14/projects.json", at("2026-01-15T11:00:00", "INSERT", record("first")));
    let delete = json!({"project_code": "P"});
    shop.drop_file(&format!("{PENDING}/projects_0.json"), at("2026-01-15T10:00:00", "DELETE", delete));
    shop.drop_file(&format!("{PENDING}/customers.json"), envelope("INSERT", &[customer(1)]));
    let statistics = shop.run().await;
    let names: Vec<&str> = statistics.files.iter().map(|file| file.path.rsplit_once("pending/").unwrap().1).collect();
    let expected = [
        "2026-01-14/projects.json",
        "2026-01-15/projects_b.json",
        "2026-01-15/projects_a.json",
        "2026-01-15/projects_0.json",
        "2026-01-15/customers.json",
    ];
    assert_eq!(names, expected);
    assert!(shop.row("project", "P").is_none());
}

#[tokio::test]
async fn an_initial_file_is_read_again_only_when_it_changed() {
    let mut shop = Shop::new().await;
    let path = "initial/institutions/BJ-HA-001/customers.json";
    shop.drop_file(path, json!([customer(1), {"customer_code": "X"}]).to_string());
    shop.run().await;
    let rejects = format!("incremental/failed/{}/customers_BJ-HA-001_add.json", shop.connector.today());
    let again: Value = serde_json::from_slice(&fs::read(shop.path(&rejects)).unwrap()).unwrap();
    assert_eq!(again, json!({"operation": "INSERT", "institution_code": "BJ-HA-001", "data": [{"customer_code": "X"}]}));
    fs::copy(shop.path(path), shop.path("copy")).unwrap();
    fs::rename(shop.path("copy"), shop.path(path)).unwrap();
    assert_eq!(shop.run().await.files_read, 1);
    shop.restart().await;
    let statistics = shop.run().await;
    assert_eq!((statistics.files_read, statistics.files_unchanged), (0, 1), "{statistics}");
    assert!(
        statistics.to_string().contains("unchanged files: 1, with rejected records (see their result files): 1"),
        "{statistics}"
    );
    assert!(statistics.is_clean(), "the rejected record waits elsewhere");
    shop.drop_file(path, "[");
    assert!(!shop.run().await.is_clean());
    shop.restart().await;
    let statistics = shop.run().await;
    assert_eq!((statistics.errors, statistics.files_unchanged_failed), (0, 1));
    assert!(statistics.to_string().contains("❌ unchanged files: 1, of which failed as they stand: 1"), "{statistics}");
    assert!(!statistics.is_clean(), "it failed, and nobody mended it");
    shop.drop_file(path, json!([customer(2)]).to_string());
    assert_eq!(shop.run().await.files_read, 1);
    assert_eq!(shop.result(path)["inserted"], 1);
    assert_eq!(shop.fold.numbers.len(), 2);
}

/// Whatever append fails, before or after it was done, everything ends the same and no number is published for two records.
#[tokio::test]
async fn any_failing_append_is_survived() {
    let data: Vec<Value> = (0..9_000).map(|number| if number % 1_000 == 7 { json!(number) } else { customer(number) }).collect();
    let mut expected = None;
    for fault in [Fault::None, Fault::Before, Fault::After] {
        for countdown in 0..6 {
            let mut shop = Shop::new().await;
            shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &data));
            shop.drop_file(
                "incremental/pending/2026-01-16/customers_add.json",
                envelope("INSERT", &[customer(1), customer(9_001)]),
            );
            *shop.fault.lock().unwrap() = Some((countdown, fault));
            while shop.try_run().await.is_err() {
                shop.restart().await;
            }
            let result = [
                shop.result(&format!("{PROCESSED}/customers_add.json")),
                shop.result("incremental/processed/2026-01-16/customers_add.json"),
            ];
            let mut seen = std::collections::HashMap::new();
            for number in &shop.fold.numbers {
                *seen.entry(*number).or_insert(0) += 1;
            }
            assert_eq!(seen.len(), 8_991 + 2);
            let found = (shop.fold.state.clone(), result, fs::read(shop.path(&format!("{FAILED}/customers_add.json"))).unwrap());
            match &expected {
                None => expected = Some(found),
                Some(expected) => assert!(*expected == found, "{fault:?} {countdown}"),
            }
            if fault == Fault::None {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_read_again() {
    let mut shop = Shop::new().await;
    let path = format!("{PENDING}/customers_add.json");
    let data: Vec<Value> = (0..20_000).map(customer).collect();
    shop.drop_file(&path, envelope("INSERT", &data));
    // The first pass and the first batch, then the file becomes another one of the same place.
    while shop.connector.counts().published == 0 {
        shop.connector.step().await.unwrap();
    }
    shop.drop_file(&path, envelope("INSERT", &[customer(77_777)]));
    let statistics = shop.run().await;
    assert_eq!(statistics.errors, 0, "{statistics}");
    assert!(shop.row("customer", "BJ-HA-001-C77777").is_some());
    assert_eq!(shop.result(&format!("{PROCESSED}/customers_add.json"))["inserted"], 1);
    assert!(!shop.path(&path).exists());
}

#[tokio::test]
async fn a_file_that_gets_more_records_while_it_is_read_is_read_again() {
    let mut shop = Shop::new().await;
    let path = format!("{PENDING}/customers_add.json");
    let data: Vec<Value> = (0..30_000).map(customer).collect();
    shop.drop_file(&path, envelope("INSERT", &data[..20_000]));
    while shop.connector.counts().published == 0 {
        shop.connector.step().await.unwrap();
    }
    // In place: what is open sees the records behind those that it has a number for.
    fs::write(shop.path(&path), envelope("INSERT", &data)).unwrap();
    let statistics = shop.run().await;
    assert_eq!(statistics.errors, 0, "{statistics}");
    let result = shop.result(&format!("{PROCESSED}/customers_add.json"));
    assert_eq!((result["read"].as_u64(), result["inserted"].as_u64()), (Some(30_000), Some(10_000)), "{result}");
    assert!(shop.row("customer", "BJ-HA-001-C29999").is_some());
    shop.drop_file(&format!("{PENDING}/customers_2.json"), envelope("INSERT", &[customer(77_777)]));
    shop.run().await;
    assert!(shop.row("customer", "BJ-HA-001-C77777").is_some(), "the next file has numbers of its own");
}

#[tokio::test]
async fn a_place_that_cannot_be_written_delays_only_its_files() {
    let mut shop = Shop::new().await;
    // A file where the folder should be: as good as read-only, also for root.
    shop.drop_file(PROCESSED, "in the way");
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &[customer(1)]));
    shop.drop_file("incremental/pending/2026-01-16/customers_add.json", envelope("INSERT", &[customer(2)]));
    let error = shop.try_run().await.unwrap_err();
    assert!(matches!(&error, ConnectorError::Unavailable { step, .. } if step.contains("make the folder writable")), "{error}");
    assert!(shop.path("incremental/processed/2026-01-16/customers_add.json").is_file());
    assert!(shop.path(&format!("{PENDING}/customers_add.json")).is_file());
    // With nothing else to do it stays degraded, without an epoch for each attempt; another file still goes on.
    let before = shop.log.bounds(&shop.topics.progress, 0).await.unwrap();
    assert!(shop.connector.open().await.is_err());
    assert_eq!(shop.log.bounds(&shop.topics.progress, 0).await.unwrap(), before);
    shop.drop_file("incremental/pending/2026-01-17/customers_add.json", envelope("INSERT", &[customer(3)]));
    shop.connector.open().await.unwrap();
    assert!(shop.try_run().await.is_err());
    assert!(shop.row("customer", "BJ-HA-001-C0003").is_some());
    // A new process finds them on the ledger.
    shop.restart().await;
    assert!(shop.try_run().await.is_err());
    fs::remove_file(shop.path(PROCESSED)).unwrap();
    shop.run().await;
    assert_eq!(shop.result(&format!("{PROCESSED}/customers_add.json"))["inserted"], 1);
    assert_eq!(shop.fold.numbers.len(), 3);
}

#[tokio::test]
async fn a_full_disk_pauses_intake_with_a_remedy() {
    let mut shop = Shop::new().await;
    shop.options.disk_free_min = u64::MAX;
    shop.restart().await;
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &[customer(1)]));
    let error = shop.try_run().await.unwrap_err();
    assert!(error.to_string().starts_with("intake pauses"), "{error}");
    shop.options.disk_free_min = 0;
    shop.restart().await;
    shop.run().await;
    assert_eq!(shop.fold.numbers.len(), 1);
}

#[tokio::test]
async fn who_insists_does_so_on_what_they_selected() {
    let mut shop = Shop::new().await;
    shop.drop_file("initial/common/institutions.json", r#"[{"institution_code": "A", "name": "a"}]"#);
    for day in ["2026-01-15", "2026-01-16"] {
        shop.drop_file(&format!("incremental/pending/{day}/customers_add.json"), envelope("INSERT", &[customer(1)]));
    }
    shop.run().await;
    let published = shop.fold.numbers.len();
    for day in ["2026-01-15", "2026-01-16"] {
        shop.drop_file(&format!("incremental/pending/{day}/customers_add.json"), envelope("INSERT", &[customer(1)]));
    }
    let mut append = Append::default();
    let part = Part::Incremental { date: Some("2026-01-16".to_owned()) };
    progress::put(&mut append, &shop.topics, &request_key("7"), &ScanRequest { selection: Selection { part, again: true } });
    shop.log.append(append).await.unwrap();
    shop.run().await;
    assert_eq!(shop.fold.numbers.len(), published + 1, "neither the other day's repeat nor what lies in initial/");
}

#[tokio::test]
async fn a_request_of_another_process_is_answered() {
    let mut shop = Shop::new().await;
    shop.drop_file("initial/common/institutions.json", r#"[{"institution_code": "A", "name": "a"}]"#);
    shop.run().await;
    let mut append = Append::default();
    let request = ScanRequest { selection: Selection { part: Part::Initial, again: true } };
    progress::put(&mut append, &shop.topics, &request_key("7"), &request);
    shop.log.append(append).await.unwrap();
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &[customer(1)]));
    shop.run().await;
    let answers = progress::load(shop.log.as_ref(), &shop.topics, "scan-answer|").await.unwrap();
    let answer: ScanAnswer = serde_json::from_str(&answers[&answer_key("7")]).unwrap();
    assert_eq!(answer.statistics.files.len(), 1);
    assert_eq!(answer.statistics.files[0].decided.unchanged, 1);
    assert_eq!(shop.connector.step().await.unwrap(), Step::Quiet);
}

#[tokio::test]
async fn a_newer_instance_fences_this_one() {
    let mut shop = Shop::new().await;
    progress::take_epoch(shop.log.as_ref(), &shop.topics, "file").await.unwrap();
    assert!(matches!(shop.connector.step().await, Err(ConnectorError::Fenced(_))));
}

#[tokio::test]
async fn old_processed_files_are_removed() {
    let mut shop = Shop::new().await;
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &[customer(1)]));
    shop.run().await;
    shop.options.processed_days = Some(90);
    // The clock stands in 2096: everything is old.
    shop.restart().await;
    shop.run().await;
    assert!(!shop.path(PROCESSED).exists());
}
