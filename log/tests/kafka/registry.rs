//! The log beside a schema registry, whose address is in `TIDEMARK_TEST_SCHEMA_REGISTRY`: what stands on the brokers, and that readers
//! of the port see none of it.

use std::sync::{Arc, Once};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use reqwest::Client;
use serde_json::{Value, json};
use tidemark_log::kafka::{CopyTarget, KafkaLog, KafkaOptions, RegistryOptions};
use tidemark_log::{Append, ConsumerPosition, Log, LogError, LogIdentity, ReadLimit, Retention, TopicSchema, TopicSpec};
use tidemark_schemas::Catalog;
use tidemark_schemas::codec::{change_schema, fingerprint, header, state_schema};
use tidemark_test_support::Kind;
use tidemark_test_support::http::serve;
use uuid::Uuid;

use crate::place::prefix;

const ALL: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 1 << 20 };

/// A log of its own beside the registry.
struct Place {
    broker: String,
    registry: String,
    prefix: String,
    topic: Arc<str>,
    /// The schema of that topic's values.
    schema: String,
}

impl Place {
    async fn new(test: &str) -> Option<Self> {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
        let (broker, registry) = (Kind::Kafka.address(test)?, Kind::SchemaRegistry.address(test)?);
        let prefix = prefix();
        let topic = format!("{prefix}.changes.customer").into();
        let catalog = Catalog::built_in();
        let place = Self { broker, registry, prefix, topic, schema: change_schema(catalog.entity("customer").unwrap()) };
        let spec = TopicSpec { name: place.topic.to_string(), partitions: 1, retention: Retention::Keep };
        place.plain().await.create_topics(&[spec]).await.unwrap();
        Some(place)
    }

    fn options(&self, url: Option<&str>) -> KafkaOptions {
        let registry = url.map(|url| RegistryOptions { url: url.to_owned(), user: None, password: None });
        KafkaOptions { registry, ..KafkaOptions::new(&self.broker, &self.prefix) }
    }

    /// A handle without a registry.
    async fn plain(&self) -> KafkaLog {
        KafkaLog::open(self.options(None)).await.unwrap()
    }

    /// A handle beside a registry at this address.
    async fn beside(&self, url: &str) -> KafkaLog {
        KafkaLog::open(self.options(Some(url))).await.unwrap()
    }

    fn declared(&self) -> [TopicSchema; 1] {
        [TopicSchema { topic: Arc::clone(&self.topic), schema: self.schema.clone() }]
    }

    /// A value by the topic's schema, as everybody here has it.
    fn value(&self, body: &str) -> Vec<u8> {
        single_object(&self.schema, body)
    }

    async fn append(&self, log: &KafkaLog, bodies: &[&str]) {
        let mut append = Append::default();
        for body in bodies {
            append.record(&self.topic, 0, b"K", |out| out.extend(self.value(body)));
        }
        log.append(append).await.unwrap();
    }

    async fn read(&self, log: &KafkaLog) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        let mut from = 0;
        loop {
            let batch = log.read(&self.topic, 0, from, ALL).await.unwrap();
            let Some(next) = batch.next_offset() else { return values };
            values.extend(batch.iter().map(|record| {
                assert_eq!(record.key, b"K");
                record.value.to_vec()
            }));
            from = next;
        }
    }

    /// What stands on the broker.
    fn stored(&self, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.broker)
            .set("group.id", &self.prefix)
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(&self.topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        let mut stored = Vec::new();
        while stored.len() < count {
            let message = consumer.poll(Duration::from_secs(30)).expect("the broker answers").unwrap();
            stored.push((message.key().unwrap().to_vec(), message.payload().unwrap().to_vec()));
        }
        stored
    }

    /// Puts values onto the topic as another program would.
    fn produce(&self, values: &[Vec<u8>]) {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &self.broker).create().unwrap();
        for value in values {
            producer.send(BaseRecord::to(&self.topic).partition(0).key("K").payload(value)).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        Client::new().get(format!("{}{path}", self.registry)).send().await.unwrap().json().await.unwrap()
    }

    /// Registers a schema under a subject of this log; its id.
    async fn register(&self, subject: &str, schema: &str) -> u32 {
        let url = format!("{}/subjects/{}-{subject}/versions", self.registry, self.prefix);
        let answer = Client::new().post(url).json(&json!({ "schema": schema })).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["id"].as_u64().unwrap_or_else(|| panic!("{answer}")).try_into().unwrap()
    }

    async fn id(&self) -> u32 {
        let shown = self.get(&format!("/subjects/{}-value/versions/latest", self.topic)).await;
        shown["id"].as_u64().unwrap_or_else(|| panic!("{shown}")).try_into().unwrap()
    }
}

fn single_object(schema: &str, body: &str) -> Vec<u8> {
    [&header::single_object(fingerprint(schema).unwrap())[..], body.as_bytes()].concat()
}

fn framed(id: u32, body: &str) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), body.as_bytes()].concat()
}

/// An address where nobody listens.
fn nowhere() -> String {
    format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_gets_a_registry_later_is_read_from_its_beginning() {
    let test = "a_log_that_gets_a_registry_later_is_read_from_its_beginning";
    let Some(place) = Place::new(test).await else { return };
    place.append(&place.plain().await, &["before"]).await;
    let log = place.beside(&place.registry).await;
    log.declare_schemas(&place.declared()).await.unwrap();
    log.declare_schemas(&place.declared()).await.unwrap();
    place.append(&log, &["plain"]).await;
    let mut append = Append::default();
    append.record(&place.topic, 0, b"K", |out| out.extend(place.value("in a transaction")));
    let (consumer, topic) = ("fold".to_owned(), place.topic.to_string());
    append.position(ConsumerPosition { consumer, topic, partition: 0, from: 0, next: 2 });
    log.append(append).await.unwrap();

    let id = place.id().await;
    let key = || b"K".to_vec();
    let stored = place.stored(3);
    let expected = [place.value("before"), framed(id, "plain"), framed(id, "in a transaction")];
    assert_eq!(stored, expected.map(|value| (key(), value)));
    let seen = ["before", "plain", "in a transaction"].map(|body| place.value(body));
    assert_eq!(place.read(&log).await, seen);
    // The ids stand in the log: a handle that knows of no registry reads it too.
    assert_eq!(place.read(&place.plain().await).await, seen);
    assert_eq!(place.read(&KafkaLog::open_existing(place.options(None)).await.unwrap()).await, seen);

    let rule = place.get(&format!("/config/{}-value", place.topic)).await;
    assert_eq!(rule, json!({"compatibilityLevel": "FULL_TRANSITIVE"}));
    let report = log.check_registry().await.unwrap().unwrap();
    assert_eq!(report.summary, format!("{}, 1 schemas of this log", place.registry));
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_copied_here_is_framed_too() {
    let Some(mut place) = Place::new("what_is_copied_here_is_framed_too").await else { return };
    place.prefix = prefix();
    place.topic = format!("{}.changes.customer", place.prefix).into();
    let specs = [TopicSpec { name: place.topic.to_string(), partitions: 1, retention: Retention::Keep }];
    let identity = LogIdentity { id: Uuid::new_v4(), generation: 1 };
    let target = CopyTarget::open(place.options(Some(&place.registry)), identity).await.unwrap();
    target.prepare(&specs).await.unwrap();
    target.log().declare_schemas(&place.declared()).await.unwrap();
    let mut append = Append::default();
    append.record(&place.topic, 0, b"K", |out| out.extend(place.value("copied")));
    target.put(append, vec![0], 0).await.unwrap();
    target.finish(&specs, 1).await.unwrap();
    assert_eq!(place.stored(1), [(b"K".to_vec(), framed(place.id().await, "copied"))]);
    assert_eq!(place.read(&place.plain().await).await, [place.value("copied")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_away_holds_up_only_what_is_new() {
    let Some(place) = Place::new("a_registry_that_is_away_holds_up_only_what_is_new").await else { return };
    let away = place.beside(&nowhere()).await.declare_schemas(&place.declared()).await;
    assert!(matches!(away, Err(LogError::Unavailable { .. })), "{away:?}");
    let log = place.beside(&place.registry).await;
    log.declare_schemas(&place.declared()).await.unwrap();
    // From here on its id stands in the log.
    let log = place.beside(&nowhere()).await;
    log.declare_schemas(&place.declared()).await.unwrap();
    place.append(&log, &["one"]).await;
    assert_eq!(place.stored(1), [(b"K".to_vec(), framed(place.id().await, "one"))]);
    assert_eq!(place.read(&log).await, [place.value("one")]);
    // A record that only the registry explains waits for it.
    let foreign = place.register("foreign", r#"{"type":"record","name":"foreign","fields":[]}"#).await;
    place.produce(&[framed(foreign, "two")]);
    let end = log.bounds(&place.topic, 0).await.unwrap().end;
    let away = log.read(&place.topic, 0, end - 1, ALL).await;
    assert!(matches!(away, Err(LogError::Unavailable { .. })), "{away:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_others_are_learnt_and_junk_holds_up_nothing() {
    let Some(place) = Place::new("ids_of_others_are_learnt_and_junk_holds_up_nothing").await else { return };
    let schema = format!(r#"{{"type":"record","name":"foreign","doc":"{}","fields":[]}}"#, place.prefix);
    let id = place.register("foreign", &schema).await;
    let log = place.beside(&place.registry).await;
    log.declare_schemas(&place.declared()).await.unwrap();
    place.append(&log, &["ours"]).await;
    let values = [framed(id, "theirs"), framed(u32::MAX, "junk"), vec![0, 1], framed(id, "again")];
    place.produce(&values);
    place.append(&log, &["ours again"]).await;
    let junk = [values[1].clone(), values[2].clone()];
    let seen = |theirs: [Vec<u8>; 2]| {
        let [first, second] = theirs;
        let [one, two] = junk.clone();
        [place.value("ours"), first, one, two, second, place.value("ours again")]
    };
    let theirs = ["theirs", "again"].map(|body| single_object(&schema, body));
    assert_eq!(place.read(&log).await, seen(theirs));
    assert_eq!(log.foreign_schemas(), [schema]);
    // Without a registry they are passed on as they are.
    let plain = place.plain().await;
    assert_eq!(place.read(&plain).await, seen([values[0].clone(), values[3].clone()]));
    assert!(plain.foreign_schemas().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_reads_ids_that_another_one_registered_meanwhile() {
    let Some(place) = Place::new("a_worker_reads_ids_that_another_one_registered_meanwhile").await else { return };
    // It was opened before, and its registry is out of its reach.
    let early = place.beside(&nowhere()).await;
    let log = place.beside(&place.registry).await;
    log.declare_schemas(&place.declared()).await.unwrap();
    place.append(&log, &["one"]).await;
    assert_eq!(early.bounds(&place.topic, 0).await.unwrap().end, 1);
    assert_eq!(place.read(&early).await, [place.value("one")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_has_something_else_is_refused() {
    let Some(place) = Place::new("a_registry_that_has_something_else_is_refused").await else { return };
    let other = r#"{"type":"record","name":"customer","namespace":"tidemark.change","fields":[{"name":"key","type":"int"}]}"#;
    let url = format!("{}/subjects/{}-value", place.registry, place.topic);
    Client::new()
        .post(format!("{url}/versions"))
        .json(&json!({ "schema": other }))
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    let refused = place.beside(&place.registry).await.declare_schemas(&place.declared()).await.unwrap_err();
    let LogError::Settings(text) = refused else { panic!("{refused:?}") };
    assert!(text.contains(&format!("subject {}-value", place.topic)) && text.contains("incompatible with version 1"), "{text}");
    let remedy = format!("curl -X DELETE {}/subjects/{}-value", place.registry, place.topic);
    assert!(text.contains(&remedy), "{text}");
    Client::new().delete(url).send().await.unwrap().error_for_status().unwrap();
    place.beside(&place.registry).await.declare_schemas(&place.declared()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_registry_is_noticed_by_its_ids() {
    let Some(place) = Place::new("another_registry_is_noticed_by_its_ids").await else { return };
    place.beside(&place.registry).await.declare_schemas(&place.declared()).await.unwrap();
    let id = place.id().await;
    // A registry begun anew gives the same number to the first schema that it is shown, whichever that is.
    let catalog = Catalog::built_in();
    let staff = state_schema(catalog.entity("staff").unwrap());
    let topic = format!("{}.state.staff", place.prefix);
    let rule = ("200 OK", r#"{"compatibilityLevel":"FULL_TRANSITIVE"}"#.to_owned());
    let shown = ("200 OK", json!({ "schema": staff }).to_string());
    let (url, _requests) = serve(vec![rule.clone(), ("200 OK", json!({ "id": id }).to_string()), rule, shown]);
    let log = place.beside(&url).await;
    let schemas = [TopicSchema { topic: topic.as_str().into(), schema: staff.clone() }];
    let refused = log.declare_schemas(&schemas).await.unwrap_err();
    let LogError::Settings(text) = refused else { panic!("{refused:?}") };
    for part in [&url, &topic, &format!("the id {id} "), "tidemark.change.customer", "schema_registry.url", "_schemas"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let report = log.check_registry().await.unwrap().unwrap();
    assert!(report.problems.iter().any(|problem| problem.contains("another schema")), "{:?}", report.problems);
}
