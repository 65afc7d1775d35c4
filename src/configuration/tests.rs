//! What is refused, how it is said, and that the document is current.

use std::path::Path;

use super::raw::Raw;
use super::{Problem, reference, valid};

fn judge(text: &str) -> Result<valid::Configuration, Vec<Problem>> {
    let mut raw = Raw::default();
    raw.add_file(Path::new("/etc/tidemark.toml"), text)?;
    valid::validate(&raw, Path::new("/data"))
}

fn problems(text: &str) -> String {
    let problems = judge(text).expect_err("it should be refused");
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let configuration = judge("").unwrap();
    assert_eq!(configuration.log.place.to_string(), "/data/log.db");
    assert_eq!(configuration.sinks.len(), 4);
    assert_eq!(configuration.file.unwrap().root, Path::new("/data/import"));
    assert_eq!(configuration.http.unwrap().port(), 8787);
    assert_eq!(configuration.vip_levels, ["GOLD", "PLATINUM", "DIAMOND"]);
    assert_eq!(configuration.batch_bytes_max, 8 << 20);
}

#[test]
fn every_problem_is_reported_with_its_place() {
    let text = r#"
zone = "Mars/Olympus"
[log]
kind = "telex"
operators = "127.0.0.1:9092"
[sinks.relatonal]
path = "x.db"
[sinks.graph]
path = "/data/log.db"
enabled = "yes"
[batch]
records_max = 0
bytes_max = "8 megabytes"
[http]
listen = "8787"
[maintenance]
interval = "0s"
[connectors.file]
settle = 3
"#;
    insta::assert_snapshot!(problems(text), @r"
    /etc/tidemark.toml:5: log.operators: unknown key; `tidemark config schema` lists all
    /etc/tidemark.toml:7: sinks.relatonal.path: unknown key; did you mean `sinks.relational.path`?
    /etc/tidemark.toml:2: zone: `Mars/Olympus` does not read as time zone name
    /etc/tidemark.toml:4: log.kind: `telex` is not known; this build knows embedded, kafka
    /etc/tidemark.toml:19: connectors.file.settle: must be duration such as `500ms`, `30s`, `10m`, `2h`, `7d`, not a number
    /etc/tidemark.toml:10: sinks.graph.enabled: `yes` does not read as true or false
    /etc/tidemark.toml:9: sinks.graph.path: /data/log.db is the file of another part; every store has its own
    /etc/tidemark.toml:12: batch.records_max: `0` does not read as whole number, 1 to 100000
    /etc/tidemark.toml:13: batch.bytes_max: `8 megabytes` does not read as size such as `512KiB`, `8MiB`, `1GiB`
    /etc/tidemark.toml:17: maintenance.interval: must be longer than nothing
    /etc/tidemark.toml:15: http.listen: `8787` does not read as address with port
    ");
}

#[test]
fn two_parts_never_share_a_file() {
    let text = "[sinks.graph]\npath = \"/data/log.db\"\n[sinks.vector]\npath = \"/data/relational.db\"\n";
    let said = problems(text);
    assert!(said.contains("tidemark.toml:2: sinks.graph.path: /data/log.db is the file of another part"), "{said}");
    assert!(said.contains("tidemark.toml:4: sinks.vector.path: /data/relational.db is the file of another part"), "{said}");
}

#[test]
fn text_that_is_no_toml_names_its_line() {
    let said = problems("[log]\nprefix = \"a\n");
    assert!(said.starts_with("/etc/tidemark.toml:2: "), "{said}");
}

#[test]
fn an_openai_embedder_needs_an_address_and_a_model() {
    let said = problems("[embedder]\nkind = \"openai\"\n");
    assert!(said.contains("embedder.url: is needed"), "{said}");
    assert!(said.contains("embedder.model: is needed"), "{said}");
}

#[test]
#[cfg(not(feature = "kafka-tls"))]
fn what_this_build_cannot_speak_to_kafka_is_refused() {
    let text = "[log]\nkind = \"kafka\"\nproperties = { \"security.protocol\" = \"SASL_SSL\", \"sasl.mechanism\" = \"SCRAM-SHA-512\" }\n";
    insta::assert_snapshot!(problems(text), @"/etc/tidemark.toml:3: log.properties: `security.protocol` SASL_SSL, `sasl.mechanism` SCRAM-SHA-512 needs TLS for Kafka, which this build is without; build it with the feature `kafka-tls` (`cargo build --release --features kafka-tls`)");
    judge(&text.replace("kafka\"", "embedded\"")).expect("the embedded log has no use for it");
}

#[test]
fn passwords_stand_in_one_place() {
    let log = r#"
[log]
kind = "kafka"
password = "hidden"
properties = { "security.protocol" = "SASL_PLAINTEXT", "sasl.mechanism" = "PLAIN", "sasl.username" = "me" }
"#;
    let configuration = judge(log).unwrap();
    let shown = format!("{configuration:?}");
    assert!(shown.contains("sasl.password") && !shown.contains("hidden"), "{shown}");
    let twice = log.replace("\"sasl.username\"", "\"sasl.password\"");
    assert!(problems(&twice).contains("log.password: `sasl.password` stands in log.properties as well"), "{}", problems(&twice));
    let registry = "[schema_registry]\nurl = \"http://me:hidden@127.0.0.1:8081\"\n";
    insta::assert_snapshot!(problems(registry), @"/etc/tidemark.toml:2: schema_registry.url: must hold no credentials; `schema_registry.user` and `schema_registry.password` are for them");
    let alone = "[schema_registry]\nurl = \"127.0.0.1:8081\"\npassword = \"hidden\"\n[sinks.analytics]\nkind = \"clickhouse\"\nurl = \"db:8443\"\n";
    insta::assert_snapshot!(problems(alone), @r"
    /etc/tidemark.toml:2: schema_registry.url: must be an address that starts with http:// or https://
    schema_registry.user: is needed where a password is given
    /etc/tidemark.toml:6: sinks.analytics.url: must be an address that starts with http:// or https://
    ");
}

#[test]
fn every_default_of_the_reference_holds_and_has_one_variable() {
    for key in reference::KEYS {
        assert_eq!(reference::KEYS.iter().filter(|other| other.path == key.path).count(), 1, "{}", key.path);
        assert!(key.doc.ends_with('.') && !key.doc.contains('|'), "{}", key.path);
        assert_eq!(reference::variable(key.path), format!("TIDEMARK__{}", key.path.to_uppercase().replace('.', "__")));
    }
    judge("").expect("all defaults together hold");
}

#[test]
fn the_document_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(stored == reference::markdown(), "run `tidemark config schema > docs/configuration.md`");
}

#[test]
fn every_example_in_the_documents_holds() {
    let mut examples = 0;
    for name in ["README.md", "README.zh-CN.md", "docs/operations.md", "docs/architecture.md"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        for example in text.split("```toml\n").skip(1) {
            let example = example.split("```").next().unwrap();
            judge(example).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
            examples += 1;
        }
    }
    assert!(examples > 0);
}
