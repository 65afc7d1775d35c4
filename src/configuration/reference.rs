//! The reference table: every key, its type, its default, and what it is for.
//!
//! Guarantees: a key that is not here is refused; a default that is shown is the one that applies, because validation reads it
//! from here. `tidemark config schema` and docs/configuration.md are printed from this table, and a test holds the document
//! against it.

use std::fmt::Write;

use crate::suggestion;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A text that is never shown; also as `<key>_file`.
    Secret,
    /// A path; relative to the file that names it.
    Path,
    /// `true`, `false`.
    Flag,
    /// A whole number from the first to the second.
    Whole(u64, u64),
    /// `500ms`, `30s`, `10m`, `2h`, `7d`.
    Duration,
    /// `512KiB`, `8MiB`, `1GiB`, or bytes.
    Size,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A list of texts; in the environment separated by commas.
    Texts,
    /// Names with texts, a table; in the environment `name=text`, separated by commas. Values may be secrets.
    Pairs,
    /// `address:port`.
    Listen,
    /// A name of the time zone database.
    Zone,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// `sinks.relational.path`.
    pub(crate) path: &'static str,
    /// How it is written.
    pub(crate) kind: Kind,
    /// As one would write it; empty = none.
    pub(crate) default: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, doc }
}

const ENABLED_SINK: &str = "Whether this store is kept.";
const KIND_SINK: &str = "Which adapter keeps it.";

/// Every key, by section.
pub(crate) const KEYS: &[Key] = &[
    key(
        "zone",
        Kind::Zone,
        "Asia/Shanghai",
        "Zone of time stamps that come without one. The analytics view `inactive_customers` takes from it what day is today, by the \
         offset when the process starts.",
    ),
    key(
        "log.kind",
        Kind::Choice(&["embedded", "kafka"]),
        "embedded",
        "Where the log lives: `embedded` is one SQLite file, `kafka` an Apache Kafka cluster.",
    ),
    key("log.path", Kind::Path, "<data>/log.db", "The file of the embedded log."),
    key("log.prefix", Kind::Text, "tidemark", "Before every topic name: letters, digits, `-`, `_` and `.`."),
    key("log.partitions", Kind::Whole(1, 64), "1", "Partitions of every entity topic; fixed once the log is there."),
    key("log.brokers", Kind::Text, "127.0.0.1:9092", "Kafka's brokers, `host:port`, several by commas."),
    key("log.replication", Kind::Whole(1, 9), "1", "Replicas of topics that are made on Kafka."),
    key(
        "log.properties",
        Kind::Pairs,
        "",
        "Further settings of librdkafka, passed through as they are: `{ \"security.protocol\" = \"SASL_SSL\" }`. TLS and SCRAM need a \
         build with the feature `kafka-tls`.",
    ),
    key("log.password", Kind::Secret, "", "librdkafka's `sasl.password`, so that it can stand in a file."),
    key(
        "schema_registry.url",
        Kind::Text,
        "",
        "Schema registry of the Confluent kind beside Kafka, `http://127.0.0.1:8081`: records are framed by its ids, for other readers. \
         Left out: single-object encoding. The embedded log has no use for it.",
    ),
    key("schema_registry.user", Kind::Text, "", "User of the registry (basic authentication)."),
    key("schema_registry.password", Kind::Secret, "", "Its password."),
    key("schemas.folder", Kind::Path, "", "Folder of more entities (`.avsc`) and vocabularies (`.json`), which add or override."),
    key("connectors.file.enabled", Kind::Flag, "true", "Whether files are taken in."),
    key("connectors.file.root", Kind::Path, "<data>/import", "The import root: `initial/` and `incremental/` stand below it."),
    key(
        "connectors.file.scan_interval",
        Kind::Duration,
        "2s",
        "How often the tree is scanned besides being watched: events get lost.",
    ),
    key(
        "connectors.file.settle",
        Kind::Duration,
        "2s",
        "How long a file must be unchanged when nobody said that it is complete.",
    ),
    key(
        "connectors.file.broken_after",
        Kind::Duration,
        "5s",
        "How long a file that does not parse may still be growing before it fails.",
    ),
    key("sinks.relational.enabled", Kind::Flag, "true", ENABLED_SINK),
    key("sinks.relational.kind", Kind::Choice(&["sqlite", "postgres"]), "sqlite", KIND_SINK),
    key("sinks.relational.path", Kind::Path, "<data>/relational.db", "The file of the relational store."),
    key(
        "sinks.relational.url",
        Kind::Secret,
        "",
        "Where Postgres is, for `postgres`: `postgres://tidemark@127.0.0.1:5432/tidemark`, as libpq reads it; may hold a password.",
    ),
    key("sinks.relational.schema", Kind::Text, "tidemark", "The schema that holds the tables in Postgres."),
    key("sinks.graph.enabled", Kind::Flag, "true", ENABLED_SINK),
    key("sinks.graph.kind", Kind::Choice(&["sqlite", "nebula"]), "sqlite", KIND_SINK),
    key("sinks.graph.path", Kind::Path, "<data>/graph.db", "The file of the graph store."),
    key("sinks.graph.addresses", Kind::Texts, "[\"127.0.0.1:9669\"]", "Where graphd is, for `nebula`; tried in turn."),
    key("sinks.graph.user", Kind::Text, "root", "User of NebulaGraph; needs the role ADMIN on the space, and GOD to make it."),
    key("sinks.graph.password", Kind::Secret, "", "Its password."),
    key("sinks.graph.space", Kind::Text, "tidemark", "The space: letters, digits and `_`."),
    key("sinks.graph.tls", Kind::Flag, "false", "Whether NebulaGraph is spoken to by TLS."),
    key(
        "sinks.graph.tls_authorities",
        Kind::Path,
        "",
        "PEM file of the authorities to trust for it; the system's where left out.",
    ),
    key("sinks.vector.enabled", Kind::Flag, "true", ENABLED_SINK),
    key("sinks.vector.kind", Kind::Choice(&["sqlite", "qdrant"]), "sqlite", KIND_SINK),
    key("sinks.vector.path", Kind::Path, "<data>/vector.db", "The file of the vector store."),
    key(
        "sinks.vector.url",
        Kind::Text,
        "http://127.0.0.1:6334",
        "Where Qdrant answers gRPC, for `qdrant`; `https://` trusts the system's authorities.",
    ),
    key(
        "sinks.vector.prefix",
        Kind::Text,
        "",
        "Before every collection name in Qdrant: letters, digits, `_` and `-`; what begins so and is named after a collection is the store's own.",
    ),
    key("sinks.vector.api_key", Kind::Secret, "", "Sent to Qdrant with every call; must be allowed to manage collections."),
    key("sinks.analytics.enabled", Kind::Flag, "true", ENABLED_SINK),
    key("sinks.analytics.kind", Kind::Choice(&["sqlite", "clickhouse"]), "sqlite", KIND_SINK),
    key("sinks.analytics.path", Kind::Path, "<data>/analytics.db", "The file of the analytics store."),
    key(
        "sinks.analytics.url",
        Kind::Text,
        "http://127.0.0.1:8123",
        "ClickHouse's HTTP interface, for `clickhouse`; also `https://`.",
    ),
    key(
        "sinks.analytics.tls_authorities",
        Kind::Path,
        "",
        "PEM file of the authorities to trust where that is `https://`; the system's where left out.",
    ),
    key("sinks.analytics.database", Kind::Text, "tidemark", "The database in ClickHouse; the store's own."),
    key("sinks.analytics.user", Kind::Text, "", "User of ClickHouse; the server's `default` where left out."),
    key("sinks.analytics.password", Kind::Secret, "", "Its password."),
    key(
        "sinks.analytics.vip_levels",
        Kind::Texts,
        "[\"GOLD\", \"PLATINUM\", \"DIAMOND\"]",
        "The levels that count as VIP in the analytics views.",
    ),
    key(
        "embedder.kind",
        Kind::Choice(&["built-in", "openai"]),
        "built-in",
        "Who turns texts into vectors: `built-in` counts character n-grams, `openai` asks a server that speaks that interface.",
    ),
    key("embedder.url", Kind::Text, "", "Base address for `openai`: `http://127.0.0.1:8080/v1`."),
    key("embedder.model", Kind::Text, "", "Model name for `openai`."),
    key(
        "embedder.dimensions",
        Kind::Whole(1, 8192),
        "1024",
        "Dimensions of the model's vectors, for `openai`; `built-in` has 256.",
    ),
    key("embedder.api_key", Kind::Secret, "", "Sent as bearer token, for `openai`."),
    key(
        "embedder.texts_per_request",
        Kind::Whole(1, 2048),
        "64",
        "Texts in one request, for `openai`; some services take only 10. A SQLite vector store then takes as many records at once.",
    ),
    key(
        "batch.records_max",
        Kind::Whole(1, 100_000),
        "8000",
        "Records in one batch of a stage: larger is faster and takes more memory. Where a write or commit has a cost of its own, one \
         holds several within the same bytes: 8 for the fold on Kafka, 12 for ClickHouse, 2 for SQLite (not its vector store).",
    ),
    key("batch.bytes_max", Kind::Size, "8MiB", "Bytes in one batch of a stage; each stage holds a few of them."),
    key(
        "disk.free_min",
        Kind::Size,
        "256MiB",
        "Intake pauses, visibly, while less than this is free on the disk of the import root, the data folder or \
         the log; 0 = never.",
    ),
    key(
        "retention.processed",
        Kind::Duration,
        "0s",
        "How long `processed/` and its result files are kept, in whole days (`90d`); 0s = for ever.",
    ),
    key(
        "retention.dead_letters",
        Kind::Duration,
        "0s",
        "How long a dead letter is kept once it was redriven or discarded (`90d`); 0s = for ever. An open one is always kept.",
    ),
    key("maintenance.interval", Kind::Duration, "10m", "How often the log is compacted, and freed of closed dead letters."),
    key("http.enabled", Kind::Flag, "true", "Whether `/health`, `/ready` and `/metrics` are served."),
    key("http.listen", Kind::Listen, "127.0.0.1:8787", "Where they are served; there is no password, so keep it local."),
];

/// The key with this path.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The known path that this one was probably meant to be.
pub(crate) fn nearest(path: &str) -> Option<&'static str> {
    suggestion::nearest(path, KEYS.iter().map(|key| key.path))
}

/// Name of the environment variable that sets a key.
pub(crate) fn variable(path: &str) -> String {
    format!("TIDEMARK__{}", path.replace('.', "__").to_uppercase())
}

impl Kind {
    /// For a person.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secret => "secret text".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Whole(least, most) => format!("whole number, {least} to {most}"),
            Self::Duration => "duration such as `500ms`, `30s`, `10m`, `2h`, `7d`".to_owned(),
            Self::Size => "size such as `512KiB`, `8MiB`, `1GiB`".to_owned(),
            Self::Choice(choices) => {
                format!("one of {}", choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", "))
            }
            Self::Texts => "list of texts".to_owned(),
            Self::Pairs => "table of texts".to_owned(),
            Self::Listen => "address with port".to_owned(),
            Self::Zone => "time zone name".to_owned(),
        }
    }
}

/// The reference as Markdown: docs/configuration.md.
pub(crate) fn markdown() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         Printed by `tidemark config schema`; do not edit.\n\n\
         Everything has a default, so there need be no file. `tidemark.toml` in the working folder is read when it is there, \
         another one with `--config FILE`. Relative paths in it are relative to it. Every key can also be set by an environment \
         variable, which wins: `TIDEMARK__HTTP__LISTEN` sets `http.listen`; lists (and `name=text` of a table) are separated by commas there, and relative \
         paths are relative to the working folder. A secret can also be read from a file: `<key>_file`. An unknown key is an \
         error. `<data>` is the folder given by `--data`, by default `./data`.\n",
    );
    let mut section = None;
    for key in KEYS {
        let (prefix, _) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if section != Some(prefix) {
            section = Some(prefix);
            let title = if prefix.is_empty() { "General".to_owned() } else { format!("`[{prefix}]`") };
            let _ = write!(text, "\n## {title}\n\n| key | is | default | for |\n|---|---|---|---|\n");
        }
        let default = if key.default.is_empty() { "none".to_owned() } else { format!("`{}`", key.default) };
        let _ = writeln!(text, "| `{}` | {} | {default} | {} |", key.path, key.kind.describe(), key.doc);
    }
    text
}
