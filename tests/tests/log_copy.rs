//! The log moves from its file to Kafka by `log copy`, and the program goes on there where it stood: nothing comes in twice, what was
//! refused is known, and the stores are told to be filled anew. Also killed half-way, and refused where it would do harm.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use tidemark_log::{Append, Log, ReadLimit, Topics};
use tidemark_test_support::Kind;
use tidemark_tests::binary;
use tidemark_tests::bulk::{self, Size};
use tidemark_tests::files::{code, customer, envelope, pending};
use tidemark_tests::generator::Operation::{Insert, Update};
use tidemark_tests::oracle::graph::ENTITIES;
use tidemark_tests::place::{Place, StateLine};
use tidemark_tests::results;
use tidemark_tests::runtime::finish;
use tidemark_tests::server_stores::{keep_log_on_kafka, name_of};
use tidemark_tests::stores;
use tidemark_tests::wait;

const COPY: [&str; 5] = ["log", "copy", "--from", "embedded", "--to"];
const KIND: &str = "TIDEMARK__LOG__KIND";

/// By topic and partition the records in order: offset (of changes only), milliseconds, key, value.
type Records = BTreeMap<(String, u32), Vec<(Option<u64>, i64, Vec<u8>, Vec<u8>)>>;

const ALL: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 64 << 20 };

/// A place with an embedded log that can go to the broker; `None` where there is no broker.
fn embedded(test: &str) -> Option<Place> {
    let broker = Kind::Kafka.address(test)?;
    let mut place = Place::with_binary(binary::with_crash_points());
    let name = name_of(&place);
    keep_log_on_kafka(&mut place, &broker, &name);
    place.set(KIND, "embedded");
    Some(place)
}

fn copy(place: &Place) -> tidemark_tests::place::Outcome {
    place.run(&[&COPY[..], &["kafka"]].concat())
}

/// What a long life leaves: rows that changed, records that were refused by a mapping and by the fold, gaps where compaction was.
fn live(place: &mut Place) {
    // Several batches of the fold for one file, so that receipts are superseded.
    place.set("TIDEMARK__BATCH__RECORDS_MAX", "100");
    let size = Size { customers: 600, orders: 1_800 };
    place.succeed(&["up", "--once", "--sample"]);
    bulk::write(&place.import(), &bulk::customers(size)).unwrap();
    bulk::write(&place.import(), &bulk::orders(size, |_| 0)).unwrap();
    place.once();
    bulk::write(&place.import(), &bulk::orders(size, |number| number % 2)).unwrap();
    place.put(&day(1, "customers_add.json"), envelope(Insert, &[customer(9001, "张")]));
    place.once();
    place.put(&day(1, "customers_update.json"), with_a_reject());
    place.once();
    let result = results::newest(&place.import(), "customers_update.json");
    assert_eq!((result.counts.updated, result.counts.rejected), (1, 1), "{:#}", result.document);
    on_file(place, &async |log, topics| {
        let mut append = Append::default();
        append.record(&topics.changes("customer"), 0, b"garbage", |out| out.extend_from_slice(b"no change"));
        log.append(append).await.unwrap();
    });
    place.once();
    on_file(place, &async |log, topics| {
        assert!(log.maintain().await.unwrap().compacted > 0, "compaction leaves gaps");
        for topic in [&topics.progress, &topics.receipts] {
            let records = log.read(topic, 0, 0, ALL).await.unwrap();
            let end = log.bounds(topic, 0).await.unwrap().end;
            assert!((records.len() as u64) < end && records.next_offset() == Some(end), "{topic} has gaps");
        }
    });
    place.unset("TIDEMARK__BATCH__RECORDS_MAX");
}

/// Of the two only the first is there.
fn with_a_reject() -> String {
    envelope(Update, &[update(9001, "甲"), update(9002, "乙")])
}

/// Where an envelope of a day on which nothing else came is dropped.
fn day(day: u32, name: &str) -> String {
    format!("incremental/pending/2026-02-{day:02}/{name}")
}

fn update(number: u64, notes: &str) -> Value {
    json!({"customer_code": code(number), "updates": {"notes": notes}})
}

/// Does something with the log's file, which nobody uses meanwhile.
fn on_file(place: &Place, work: &impl AsyncFn(&EmbeddedLog, &Topics)) {
    let options = EmbeddedOptions { compaction_records_min: 0, ..EmbeddedOptions::new(place.data().join("log.db")) };
    finish(async {
        let log = EmbeddedLog::open_existing(options).await.unwrap();
        work(&log, &Topics::new(&name_of(place))).await;
    });
}

fn states(place: &Place) -> BTreeMap<&'static str, BTreeMap<String, StateLine>> {
    ENTITIES.iter().map(|(entity, _)| (*entity, place.state(entity))).collect()
}

/// All that a log holds but its progress, part of which is about stores; and where its fold stands.
async fn records_of(log: &dyn Log) -> Records {
    let mut records = Records::new();
    for (topic, partitions) in log.topics().await.unwrap() {
        let is_changes = topic.contains(".changes.");
        for partition in (0..partitions).filter(|_| !topic.ends_with(".progress")) {
            let (mut from, mut found) = (0, Vec::new());
            loop {
                let batch = log.read(&topic, partition, from, ALL).await.unwrap();
                let Some(next) = batch.next_offset() else { break };
                found.extend(batch.iter().map(|record| {
                    let offset = is_changes.then_some(record.offset);
                    (offset, record.timestamp.div_euclid(1000), record.key.to_vec(), record.value.to_vec())
                }));
                from = next;
            }
            records.insert((topic.clone(), partition), found);
        }
    }
    for (topic, partition, next) in log.positions("fold").await.unwrap() {
        records.insert((format!("the fold on {topic}"), partition), vec![(Some(next), 0, Vec::new(), Vec::new())]);
    }
    records
}

fn records_in_file(place: &Place) -> Records {
    let found = std::cell::OnceCell::new();
    on_file(place, &async |log, _| drop(found.set(records_of(log).await)));
    found.into_inner().unwrap()
}

fn records_on_kafka(place: &Place) -> Records {
    let broker = Kind::Kafka.address("log_copy").unwrap();
    finish(async {
        let log = KafkaLog::open_existing(KafkaOptions::new(broker, name_of(place))).await.unwrap();
        records_of(&log).await
    })
}

fn assert_same(found: &Records, expected: &Records) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (partition, expected) in expected {
        let found = &found[partition];
        assert_eq!(found.len(), expected.len(), "{partition:?}");
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found, expected, "{partition:?}, record {index}");
        }
    }
}

#[test]
fn the_program_goes_on_on_kafka_where_it_stood() {
    let Some(mut place) = embedded("the_program_goes_on_on_kafka_where_it_stood") else { return };
    live(&mut place);
    let (states_before, records_before) = (states(&place), records_in_file(&place));
    let letters = place.succeed(&["dead-letters", "list", "--json"]);
    assert_eq!(letters.lines().count(), 1, "{letters}");
    let dump = |place: &Place| stores::FILES.map(|file| stores::dump(place.data(), file, &[]));
    let stores_before = dump(&place);

    let done = copy(&place);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert!(done.stdout.contains("of generation 1: copied") && done.stdout.contains("init --force-rebuild"), "{done:#?}");
    assert!(done.stderr.contains("log copy: 100 %"), "{done:#?}");

    place.set(KIND, "kafka");
    assert_eq!(states(&place), states_before, "versions too");
    assert_same(&records_on_kafka(&place), &records_before);
    assert_eq!(place.succeed(&["dead-letters", "list", "--json"]), letters);
    let check = place.run(&["check"]);
    assert!(
        check.code == Some(4) && check.stdout.contains("was filled from generation 0 of the log, which is at 1"),
        "{check:#?}"
    );

    place.succeed(&["init", "--force-rebuild"]);
    let said = place.once();
    assert!(said.contains("customers: 0"), "nothing is taken in twice: {said}");
    for (file, (found, expected)) in stores::FILES.iter().zip(dump(&place).iter().zip(&stores_before)) {
        stores::assert_same(found, expected, 1, file);
    }
    assert_same(&records_on_kafka(&place), &records_before);

    // What is known of files that came in before: one is a repeat, of the other only the refused record is tried.
    place.put(&day(2, "customers_add.json"), envelope(Insert, &[customer(9001, "张")]));
    place.once();
    let repeat = results::newest(&place.import(), "customers_add.json");
    assert!(repeat.text("repeats_of").is_some(), "{:#}", repeat.document);
    place.put(&day(3, "customers_add.json"), envelope(Insert, &[customer(9002, "王")]));
    place.put(&day(3, "customers_update.json"), envelope(Update, &[update(9001, "丙")]));
    place.once();
    place.put(&day(4, "customers_update.json"), with_a_reject());
    place.once();
    let customers = place.state("customer");
    let notes = |number| customers[&code(number)].row["notes"].clone();
    assert_eq!((notes(9001), notes(9002)), (json!("丙"), json!("乙")));
    let (old, new) = (states_before["customer"][&code(9001)].version, customers[&code(9001)].version);
    assert!(old < 1 << 40 && new > 1 << 40, "new versions are above all old ones: {old}, {new}");
    let id = serde_json::from_str::<Value>(&letters).unwrap()["id"].as_str().unwrap().to_owned();
    place.succeed(&["dead-letters", "discard", &id]);
    place.succeed(&["check"]);
}

#[test]
fn killed_on_the_way_the_same_command_goes_on() {
    let Some(mut place) = embedded("killed_on_the_way_the_same_command_goes_on") else { return };
    live(&mut place);
    let (states_before, records_before) = (states(&place), records_in_file(&place));
    for times in [1, 3, 20] {
        place.set("TIDEMARK_CRASH_AT", &format!("log-copy.after-batch:{times}"));
        let killed = copy(&place);
        assert!(killed.code.is_none() && killed.stderr.contains("crash point reached"), "{times}: {killed:#?}");
        place.unset("TIDEMARK_CRASH_AT");
        place.set(KIND, "kafka");
        for command in [&["state", "customer"][..], &["up", "--once"], &["init"]] {
            let refused = place.run(command);
            assert_eq!(refused.code, Some(1), "{refused:#?}");
            assert!(
                refused.stderr.contains("is not finished; run `tidemark log copy --from embedded --to kafka`"),
                "{refused:#?}"
            );
        }
        place.set(KIND, "embedded");
    }
    let done = copy(&place);
    assert_eq!(done.code, Some(0), "{done:#?}");
    let again = place.succeed(&[&COPY[..], &["kafka", "--json"]].concat());
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&again["finished_before"], &again["records"], &again["generation"]), (&json!(true), &json!(0), &json!(1)));
    place.set(KIND, "kafka");
    assert_eq!(states(&place), states_before);
    assert_same(&records_on_kafka(&place), &records_before);
    // Whoever goes on with the file has two logs, and is told.
    place.set(KIND, "embedded");
    place.put(&pending("customers_late.json"), envelope(Insert, &[customer(9003, "李")]));
    place.once();
    let late = copy(&place);
    assert!(late.code == Some(1) && late.stderr.contains("has been written to since"), "{late:#?}");
    place.set(KIND, "kafka");
    assert_same(&records_on_kafka(&place), &records_before);
}

#[test]
fn it_is_refused_where_it_would_do_harm() {
    let Some(mut place) = embedded("it_is_refused_where_it_would_do_harm") else { return };
    let nothing = copy(&place);
    assert!(nothing.code == Some(1) && nothing.stderr.contains("there is no log at"), "{nothing:#?}");
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(1, "张")]));
    let mut running = place.start(&["up"]);
    wait::until("the customer to be there", wait::PATIENCE, || (place.state_count("customer") == 1).then_some(()));
    let refused = copy(&place);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains(&format!("is run by process {}", running.id())), "{refused:#?}");
    running.interrupt();
    assert_eq!(running.wait(Duration::from_secs(20)).code(), Some(0), "{}", running.output());

    // Somebody else's log has the name.
    let Some(mut other) = embedded("it_is_refused_where_it_would_do_harm") else { return };
    for (name, value) in [(KIND, "kafka"), ("TIDEMARK__LOG__PREFIX", name_of(&place).as_str())] {
        other.set(name, value);
    }
    other.put(&pending("customers_add.json"), envelope(Insert, &[customer(2, "王")]));
    other.once();
    let (states_before, records_before) = (states(&other), records_on_kafka(&place));
    let refused = copy(&place);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("there is a log already") && refused.stderr.contains("--delete --topic"), "{refused:#?}");
    assert_eq!(states(&other), states_before);
    assert_same(&records_on_kafka(&place), &records_before);
    other.once();

    let usage = place.run(&[&COPY[..], &["embedded"]].concat());
    assert_eq!(usage.code, Some(2), "{usage:#?}");
    place.set("TIDEMARK__LOG__BROKERS", "127.0.0.1:1");
    let away = copy(&place);
    assert_eq!(away.code, Some(3), "{away:#?}");
    place.once();
}
