//! Rows that a store refuses, through the whole program on servers: each ends as one dead letter with its original bytes, its
//! neighbours in the batch are applied, the other stores take it, and a redrive applies it once the cause is removed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tidemark_test_support::Kind;
use tidemark_tests::on_servers::OnServers;
use tidemark_tests::oracle::{Event, Meaning};
use tidemark_tests::place::Place;
use tidemark_tests::servers::Own;
use tidemark_tests::{second, wait};

const MANY: u32 = 60;
/// Refused by constraints, and by a server that is told to.
const POISON: u32 = 33;
/// Refused by what a text is there.
const NUL: u32 = 44;

fn code(number: u32) -> String {
    format!("BJ-HA-001-C{number:04}")
}

fn customer(number: u32, name: &str) -> Value {
    json!({"customer_code": code(number), "institution_code": "BJ-HA-001", "person": {"name": name}})
}

/// Stage and key of the open letters, each once.
fn letters(place: &Place) -> BTreeMap<(String, String), Value> {
    let text = place.succeed(&["dead-letters", "list", "--json"]);
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let letter: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| letter[field].as_str().unwrap().to_owned();
        let before = found.insert((text("stage"), text("key")), letter.clone());
        assert!(before.is_none(), "a second letter for one row: {letter}");
    }
    found
}

fn open_letters(place: &Place) -> BTreeSet<(String, String)> {
    letters(place).into_keys().collect()
}

fn expected(refusals: &[(&str, u32)]) -> BTreeSet<(String, String)> {
    refusals.iter().map(|(stage, number)| ((*stage).to_owned(), code(*number))).collect()
}

/// The customers that each store has, by stage.
fn stored(servers: &OnServers) -> BTreeMap<&'static str, BTreeSet<String>> {
    let readers = servers.readers();
    let keys = |rows: BTreeMap<Vec<String>, _>| rows.into_keys().map(|key| key.concat()).collect();
    let vertices = readers.graph.vertices().into_keys().filter_map(|vid| Some(vid.strip_prefix("customer:")?.to_owned()));
    let points = readers.vector.points().into_keys().filter(|(collection, _)| collection == "customer_profiles");
    BTreeMap::from([
        ("sink.relational", keys(readers.relational.rows("customer", &["customer_code"]))),
        ("sink.graph", vertices.collect()),
        ("sink.vector", points.map(|(_, key)| key).collect()),
        ("sink.analytics", keys(readers.analytics.rows("customer", &["customer_code"]))),
    ])
}

/// Every store has everybody but those whom it refuses.
fn expect_all_but(servers: &OnServers, refusals: &[(&str, u32)]) {
    for (stage, keys) in stored(servers) {
        let refused = |number: &u32| refusals.contains(&(stage, *number));
        let expected: BTreeSet<String> = (1..=MANY).filter(|number| !refused(number)).map(code).collect();
        assert_eq!(keys, expected, "{stage}");
    }
}

/// The bytes of a record, as any client reads them.
fn bytes_at(broker: &str, topic: &str, partition: i32, offset: i64) -> Vec<u8> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("group.id", "nobody").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    consumer.assign(&place).unwrap();
    wait::until("the record to be read", wait::PATIENCE, || {
        let message = consumer.poll(wait::PATIENCE)?.unwrap();
        assert_eq!(message.offset(), offset);
        Some(message.payload().unwrap().to_vec())
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_one_store_refuses_is_one_dead_letter_and_can_be_redriven() {
    const NAME: &str = "what_one_store_refuses_is_one_dead_letter_and_can_be_redriven";
    let (Some(servers), Some(qdrant)) = (OnServers::shared(NAME), Own::start(Kind::Qdrant, NAME)) else { return };
    let servers = servers.with(Kind::Qdrant, qdrant.address());
    let place = servers.worker();
    place.put("incremental/pending/2026-01-15/customers_first_add.json", file(&[customer(1, "甲")]));
    place.once();

    servers.in_postgres("ALTER TABLE customer ADD CONSTRAINT no_poison CHECK (person_name NOT LIKE '%毒%')");
    servers
        .in_clickhouse("ALTER TABLE customer_versions ADD CONSTRAINT no_poison CHECK ifNull(position(person_name, '毒'), 0) = 0");
    fs::write(qdrant.folder().join("poison"), "毒").unwrap();
    let nul = Event { entity: "customer", key: code(NUL), meaning: Meaning::Row(customer(NUL, "张\0")) };
    second::publish(servers.log(), 1, &[(nul, false)]);
    let others: Vec<Value> = (2..=MANY)
        .filter(|number| *number != NUL)
        .map(|number| customer(number, if number == POISON { "毒" } else { "张" }))
        .collect();
    place.put("incremental/pending/2026-01-15/customers_add.json", file(&others));
    place.once();
    let refusals = [
        ("sink.relational", POISON),
        ("sink.vector", POISON),
        ("sink.analytics", POISON),
        ("sink.relational", NUL),
        ("sink.graph", NUL),
        ("sink.vector", NUL),
        ("sink.analytics", NUL),
    ];
    let found = letters(&place);
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), expected(&refusals));
    for letter in found.values() {
        assert_eq!(letter["attempts"], 1, "{letter}");
        let (topic, partition) = (letter["topic"].as_str().unwrap(), letter["partition"].as_i64().unwrap());
        let bytes = bytes_at(servers.endpoint(Kind::Kafka), topic, partition as i32, letter["offset"].as_i64().unwrap());
        assert_eq!(letter["payload"], hex(&bytes), "{letter}");
    }
    expect_all_but(&servers, &refusals);

    // The causes that are outside of the row are removed.
    servers.in_postgres("ALTER TABLE customer DROP CONSTRAINT no_poison");
    servers.in_clickhouse("ALTER TABLE customer_versions DROP CONSTRAINT no_poison");
    fs::remove_file(qdrant.folder().join("poison")).unwrap();
    let ids =
        |number| found.iter().filter(move |((_, key), _)| *key == code(number)).map(|(_, letter)| letter["id"].as_str().unwrap());
    for id in ids(POISON) {
        place.succeed(&["dead-letters", "redrive", id]);
    }
    place.once();
    let nowhere = ["sink.relational", "sink.graph", "sink.vector", "sink.analytics"].map(|stage| (stage, NUL));
    assert_eq!(open_letters(&place), expected(&nowhere));
    expect_all_but(&servers, &nowhere);

    // The other one is in the row: its source corrects it, and nobody needs the letters any more.
    let corrected = Event { entity: "customer", key: code(NUL), meaning: Meaning::Row(customer(NUL, "张")) };
    second::publish(servers.log(), 2, &[(corrected, false)]);
    place.once();
    expect_all_but(&servers, &[]);
    for id in ids(NUL) {
        place.succeed(&["dead-letters", "discard", id]);
    }
    assert_eq!(open_letters(&place), BTreeSet::new());
    servers.remove();
}

fn file(records: &[Value]) -> String {
    json!({"operation": "INSERT", "institution_code": "BJ-HA-001", "data": records}).to_string()
}
