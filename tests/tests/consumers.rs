//! docs/consumers.md: its examples, word for word, by the ordinary clients, against what `tidemark state` says; and a log beside a
//! schema registry as its users meet it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidemark_test_support::Kind;
use tidemark_tests::place::Place;
use tidemark_tests::running::http_get;
use tidemark_tests::servers::{Own, jars, python, run_script};
use tidemark_tests::wait;

const ENTITIES: [&str; 8] =
    ["institution", "staff", "project", "product", "catalog_relation", "customer", "consumption", "write_off"];

/// First byte of a value in a registry's framing, and of one in single-object encoding.
const FRAMED: &str = "0";
const SINGLE_OBJECT: &str = "195";

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/consumers.md")).unwrap()
}

/// The one example in this language.
fn example(language: &str) -> String {
    let text = document();
    let examples: Vec<&str> = text.split(&format!("```{language}\n")).skip(1).collect();
    assert_eq!(examples.len(), 1, "there is one example in {language}");
    examples[0].split_once("```").unwrap().0.to_owned()
}

/// A place whose log is on Kafka under a prefix of its own; its stores are files.
struct OnKafka {
    place: Place,
    broker: String,
    prefix: String,
}

impl OnKafka {
    fn new(test: &str) -> Option<Self> {
        let broker = Kind::Kafka.address(test)?;
        let mut place = Place::new();
        let prefix = format!("tidemark_test_{}_{}", std::process::id(), place.port());
        for (key, value) in
            [("LOG__KIND", "kafka"), ("LOG__BROKERS", &broker), ("LOG__PREFIX", &prefix), ("LOG__PARTITIONS", "3")]
        {
            place.set(&format!("TIDEMARK__{key}"), value);
        }
        Some(Self { place, broker, prefix })
    }

    fn set_registry(&mut self, url: &str) {
        self.place.set("TIDEMARK__SCHEMA_REGISTRY__URL", url);
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// First byte of the values → how many.
    fn framings(&self, topic: &str) -> BTreeMap<String, u64> {
        let output = run_script(Kind::Kafka, "framings.py", &[&self.broker, &self.topic(topic)]);
        assert!(output.status.success(), "{topic}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Values of the entities' topics by framing: (framed, single-object); there is nothing else.
    fn framed_and_not(&self) -> (u64, u64) {
        let (mut framed, mut single_object) = (0, 0);
        for topic in ENTITIES.iter().flat_map(|entity| [format!("changes.{entity}"), format!("state.{entity}")]) {
            let mut counts = self.framings(&topic);
            framed += counts.remove(FRAMED).unwrap_or_default();
            single_object += counts.remove(SINGLE_OBJECT).unwrap_or_default();
            assert!(counts.is_empty(), "{topic}: {counts:?}");
        }
        (framed, single_object)
    }

    /// What the examples must print of an entity: key → version and row.
    fn rows(&self, entity: &str) -> BTreeMap<String, (u64, Value)> {
        let state = self.place.state(entity).into_iter().filter(|(_, line)| !line.deleted);
        state.map(|(key, line)| (key, (line.version, line.row))).collect()
    }

    /// The arguments of both examples.
    fn arguments<'a>(&'a self, entity: &'a str, registry: Option<&'a str>) -> Vec<&'a str> {
        [self.broker.as_str(), &self.prefix, entity].into_iter().chain(registry).collect()
    }

    /// Runs the Python example for every entity.
    fn python_reads_every_row(&self, registry: Option<&str>) {
        let folder = TempDir::new().unwrap();
        let script = folder.path().join("tidemark_rows.py");
        fs::write(&script, example("python")).unwrap();
        let mut deleted = 0;
        for entity in ENTITIES {
            let output = python(Kind::Kafka, &script, &self.arguments(entity, registry)).output().unwrap();
            assert!(output.status.success(), "{entity}: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(printed(&output.stdout), self.rows(entity), "{entity}");
            deleted += self.place.state(entity).values().filter(|line| line.deleted).count();
        }
        assert!(deleted > 0, "a deleted key is among them");
    }
}

/// The lines of an example.
fn printed(output: &[u8]) -> BTreeMap<String, (u64, Value)> {
    let lines = std::str::from_utf8(output).unwrap().lines();
    lines
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let row = line["row"].take();
            (line["key"].as_str().unwrap().to_owned(), (line["version"].as_u64().unwrap(), row))
        })
        .collect()
}

#[test]
fn python_reads_single_object_encoding() {
    let Some(on_kafka) = OnKafka::new("python_reads_single_object_encoding") else { return };
    on_kafka.place.succeed(&["up", "--once", "--sample"]);
    assert!(matches!(on_kafka.framed_and_not(), (0, 1..)));
    on_kafka.python_reads_every_row(None);
}

#[test]
fn python_and_java_read_a_log_that_got_a_registry_later() {
    let test = "python_and_java_read_a_log_that_got_a_registry_later";
    let (Some(mut on_kafka), Some(registry)) = (OnKafka::new(test), Kind::SchemaRegistry.address(test)) else { return };
    on_kafka.place.succeed(&["up", "--once", "--sample"]);
    let (_, before) = on_kafka.framed_and_not();
    on_kafka.set_registry(&registry);
    let key = on_kafka.rows("customer").into_keys().next().unwrap();
    let institution = key.rsplit_once('-').unwrap().0.to_owned();
    let update = json!({"operation": "UPDATE", "timestamp": "2026-02-01T10:00:00", "institution_code": institution,
        "data": [{"customer_code": key, "updates": {"notes": "改过"}}]});
    on_kafka.place.put("incremental/pending/2026-02-01/customers_update.json", update.to_string());
    on_kafka.place.once();
    assert_eq!(on_kafka.rows("customer")[&key].1["notes"], "改过");
    assert_eq!(on_kafka.framed_and_not(), (2, before), "a change and a state are framed, nothing else has changed");
    on_kafka.python_reads_every_row(Some(&registry));
    java_reads_every_row(&on_kafka, &registry);
}

fn java_reads_every_row(on_kafka: &OnKafka, registry: &str) {
    let (folder, jars) = (TempDir::new().unwrap(), jars(Kind::Kafka));
    for jar in ["kafka-clients-4.1.0.jar", "avro-1.12.1.jar"] {
        let (name, version) = jar.strip_suffix(".jar").unwrap().rsplit_once('-').unwrap();
        assert!(jars.join(jar).exists() && document().contains(&format!("{name}:{version}`")), "the document says {jar}");
    }
    let source = folder.path().join("TidemarkRows.java");
    fs::write(&source, example("java")).unwrap();
    let class_path = format!("{}/*:{}", jars.display(), folder.path().display());
    let mut compiler = Command::new("javac");
    compiler.args(["-Xlint:all", "-Werror", "--release", "17", "-cp", &class_path, "-d"]).arg(folder.path()).arg(&source);
    let compiled = compiler.output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    for entity in ["customer", "consumption"] {
        let mut java = Command::new("java");
        java.args(["-cp", &class_path, "TidemarkRows"]).args(on_kafka.arguments(entity, Some(registry)));
        let output = java.output().unwrap();
        assert!(output.status.success(), "{entity}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(printed(&output.stdout), on_kafka.rows(entity), "{entity}");
    }
}

#[test]
fn the_document_names_every_topic_and_the_clients_that_it_is_tested_with() {
    let text = document();
    let requirements = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/kafka/requirements.txt")).unwrap();
    let client = requirements.lines().find(|line| line.starts_with("confluent-kafka==")).unwrap();
    let version = client.split_once("==").unwrap().1;
    assert!(text.contains(&format!("confluent-kafka[avro,schemaregistry]=={version}")), "{client}");
    let Some(on_kafka) = OnKafka::new("the_document_names_every_topic_and_the_clients_that_it_is_tested_with") else { return };
    on_kafka.place.succeed(&["init"]);
    let admin = run_script(Kind::Kafka, "topics.py", &[&on_kafka.broker, &format!("{}.", on_kafka.prefix)]);
    assert!(admin.status.success(), "{}", String::from_utf8_lossy(&admin.stderr));
    let topics: BTreeMap<String, String> = serde_json::from_slice(&admin.stdout).unwrap();
    assert!(topics.len() > 2 * ENTITIES.len());
    for (topic, policy) in topics {
        let name = ENTITIES.iter().fold(topic, |name, entity| match name.strip_suffix(&format!(".{entity}")) {
            Some(start) => format!("{start}.<entity>"),
            None => name,
        });
        let row = text.lines().find(|line| line.starts_with(&format!("| `tidemark.{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} has no line"));
        let is_compacted = policy == "compact";
        assert!(name == "work" || is_compacted == row.contains("compacted"), "{policy}: {row}");
    }
}

#[test]
fn another_program_publishes_through_the_registry() {
    let test = "another_program_publishes_through_the_registry";
    let (Some(mut on_kafka), Some(registry)) = (OnKafka::new(test), Kind::SchemaRegistry.address(test)) else { return };
    on_kafka.set_registry(&registry);
    on_kafka.place.succeed(&["init"]);
    let row = json!({"institution_code": "SH-001", "name": "上海一店"}).to_string();
    let topic = on_kafka.topic("changes.institution");
    let publish = |sequence: &str| {
        let output =
            run_script(Kind::Kafka, "publish.py", &[&on_kafka.broker, &registry, &topic, "theirs", sequence, "SH-001", &row]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    publish("7");
    publish("7");
    on_kafka.place.once();
    let state = on_kafka.place.state("institution");
    assert_eq!(state.keys().collect::<Vec<_>>(), ["SH-001"]);
    assert_eq!(state["SH-001"].row["name"], "上海一店");
    let tail = on_kafka.place.succeed(&["tail", "changes.institution", "--from", "earliest", "--once", "--json"]);
    let sources: Vec<Value> =
        tail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["value"]["source"].take()).collect();
    assert_eq!(sources, ["theirs", "theirs"], "the second one is a repeat: {tail}");
    let check = on_kafka.place.succeed(&["check"]);
    assert!(check.contains("none open"), "{check}");
}

#[test]
fn a_registry_that_is_away_is_waited_for_once_and_not_needed_again() {
    let test = "a_registry_that_is_away_is_waited_for_once_and_not_needed_again";
    let (Some(mut on_kafka), Some(registry)) = (OnKafka::new(test), Own::start(Kind::SchemaRegistry, test)) else { return };
    on_kafka.set_registry(registry.address());
    registry.stop();
    let gives_up = on_kafka.place.run(&["up", "--once", "--sample", "--timeout", "1"]);
    assert_eq!(gives_up.code, Some(3), "{}{}", gives_up.stdout, gives_up.stderr);
    let mut running = on_kafka.place.start(&["up"]);
    wait::until("the stages to say what they wait for", wait::PATIENCE, || {
        let (_, ready) = http_get(on_kafka.place.port(), "/ready")?;
        ready.contains("of the schema registry").then_some(())
    });
    registry.start_again();
    wait::until("the sample to be there", wait::PATIENCE, || (on_kafka.place.state_count("customer") > 10).then_some(()));
    registry.kill();
    let more = json!({"operation": "INSERT", "timestamp": "2026-02-01T10:00:00", "institution_code": "SH-001",
        "data": [{"customer_code": "SH-001-C1", "institution_code": "SH-001", "person": {"name": "新人"}}]});
    let seen = |key: &str| on_kafka.place.state("customer").contains_key(key).then_some(());
    let write = |name: &str, key: &str| {
        on_kafka.place.put(&format!("incremental/pending/2026-02-01/{name}.json"), more.to_string().replace("SH-001-C1", key));
    };
    write("customers_add", "SH-001-C1");
    wait::until("a record that came while the registry was away", wait::PATIENCE, || seen("SH-001-C1"));
    running.interrupt();
    assert_eq!(running.wait(Duration::from_secs(30)).code(), Some(0), "{}", running.output());
    // The ids stand in the log: it starts without the registry, too.
    write("customers_add2", "SH-001-C2");
    on_kafka.place.once();
    assert!(seen("SH-001-C2").is_some());
    assert!(matches!(on_kafka.framed_and_not(), (1.., 0)), "everything is framed");
    let check = on_kafka.place.run(&["check"]);
    assert_eq!(check.code, Some(4), "{}", check.stdout);
    assert!(check.stdout.contains("WRONG  registry"), "{}", check.stdout);
}

#[test]
fn a_registry_that_refuses_stops_the_start_with_the_remedy() {
    let test = "a_registry_that_refuses_stops_the_start_with_the_remedy";
    let (Some(mut on_kafka), Some(registry)) = (OnKafka::new(test), Kind::SchemaRegistry.address(test)) else { return };
    on_kafka.set_registry(&registry);
    let subject = format!("{}-value", on_kafka.topic("state.staff"));
    let taken = run_script(Kind::SchemaRegistry, "occupy.py", &[&registry, &subject]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let refused = on_kafka.place.run(&["up", "--once"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    for part in ["registering the schemas", &subject, "incompatible", "curl -X DELETE"] {
        assert!(refused.stderr.contains(part), "{part} is not in: {}", refused.stderr);
    }
    on_kafka.place.set("TIDEMARK__SCHEMA_REGISTRY__USER", "registry");
    on_kafka.place.set("TIDEMARK__SCHEMA_REGISTRY__PASSWORD", "wrong");
    let refused = on_kafka.place.run(&["up", "--once"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("401") && refused.stderr.contains("schema_registry.password"), "{}", refused.stderr);
}
