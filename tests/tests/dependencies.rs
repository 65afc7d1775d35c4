//! Holds the edges between crates, and the places where vendor crates may stand, against a table.
//!
//! Dependencies point one way: schemas ← log ← {connector core, sink core} ← adapters; pipelines see only the cores and the log's
//! port, and so does replay; the binary alone names concrete adapters. A new edge is a decision: change the table in the same commit and say why.

#![allow(clippy::unwrap_used, reason = "a rule that cannot be read is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Crate → the crates of this workspace that it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("tidemark-test-support", &[]),
    ("tidemark-schemas", &[]),
    ("tidemark-log", &["schemas"]),
    ("tidemark-connector-core", &["schemas", "log"]),
    ("tidemark-sink-core", &["schemas", "log"]),
    ("tidemark-connector-file", &["schemas", "log", "connector-core"]),
    ("tidemark-sink-sqlite", &["schemas", "log", "sink-core"]),
    ("tidemark-sink-postgres", &["schemas", "log", "sink-core"]),
    ("tidemark-sink-nebula", &["schemas", "log", "sink-core"]),
    ("tidemark-sink-qdrant", &["schemas", "log", "sink-core"]),
    ("tidemark-sink-clickhouse", &["schemas", "log", "sink-core"]),
    ("tidemark-pipelines", &["schemas", "log", "connector-core", "sink-core"]),
    // Beside the pipelines and not above them: the engine runs what it wraps, and neither needs the other.
    ("tidemark-replay", &["schemas", "log", "connector-core", "sink-core"]),
    (
        "tidemark",
        &[
            "schemas",
            "log",
            "connector-core",
            "connector-file",
            "sink-core",
            "sink-sqlite",
            "sink-postgres",
            "sink-nebula",
            "sink-qdrant",
            "sink-clickhouse",
            "pipelines",
            "replay",
        ],
    ),
];

/// Vendor crate → the crates that may use it outside tests. Its types appear in no public signature.
const VENDORS: &[(&str, &[&str])] = &[
    ("rusqlite", &["tidemark-log", "tidemark-sink-sqlite"]),
    ("rdkafka", &["tidemark-log"]),
    ("sqlx", &["tidemark-sink-postgres"]),
    ("qdrant-client", &["tidemark-sink-qdrant"]),
    ("clickhouse", &["tidemark-sink-clickhouse"]),
    // whoever speaks HTTPS by a vendor's client alone; the TLS front of the tests
    ("hyper-rustls", &["tidemark-sink-clickhouse"]),
    ("hyper-util", &["tidemark-sink-clickhouse"]),
    ("tokio-rustls", &["tidemark-sink-nebula", "tidemark-test-support"]),
    ("rustls-native-certs", &["tidemark-sink-core"]),
    ("apache-avro", &["tidemark-schemas"]),
    ("backoff", &["tidemark-pipelines"]),
    // the embedder; the schema registry, which speaks nothing but HTTP
    ("reqwest", &["tidemark-sink-core", "tidemark-log"]),
    ("notify", &["tidemark-connector-file"]),
    ("cap-std", &["tidemark-connector-file"]),
    ("axum", &["tidemark"]),
    ("clap", &["tidemark"]),
    ("indicatif", &["tidemark"]),
    ("metrics-exporter-prometheus", &["tidemark"]),
    ("anyhow", &["tidemark"]),
];

/// The tests see everything.
const TESTS: &str = "tidemark-tests";

/// Package → its normal dependencies (no dev or build ones).
fn workspace() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let dependencies = package["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["kind"].is_null());
        packages.insert(text(&package["name"]), dependencies.map(|dependency| text(&dependency["name"])).collect());
    }
    packages
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (package, dependencies) in workspace() {
        if package == TESTS {
            continue;
        }
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package) else {
            wrong.push(format!("{package} is not in the table"));
            continue;
        };
        for dependency in dependencies.iter().filter_map(|name| name.strip_prefix("tidemark-")) {
            if !allowed.contains(&dependency) {
                wrong.push(format!("{package} uses tidemark-{dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the table does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn vendor_crates_stay_where_the_table_puts_them() {
    let mut wrong = Vec::new();
    for (package, dependencies) in workspace() {
        for (vendor, allowed) in VENDORS {
            if package != TESTS && dependencies.contains(*vendor) && !allowed.contains(&package.as_str()) {
                wrong.push(format!("{package} uses {vendor}, which belongs in {}", allowed.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
