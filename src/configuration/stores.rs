//! Which store keeps a role, and where the log is: read from their sections.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use tidemark_log::kafka::{KafkaOptions, RegistryOptions};
use tidemark_sink_clickhouse::ClickHouseOptions;
use tidemark_sink_core::Role;
use tidemark_sink_nebula::{NebulaOptions, TlsOptions};
use tidemark_sink_postgres::PostgresOptions;
use tidemark_sink_qdrant::QdrantOptions;

use super::valid::Reader;

/// The store of a role.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    /// A file, whatever the role.
    Sqlite(PathBuf),
    /// The relational one.
    Postgres(PostgresOptions),
    /// The graph.
    Nebula(NebulaOptions),
    /// The points.
    Qdrant(QdrantOptions),
    /// The analytics.
    ClickHouse(ClickHouseOptions),
}

impl fmt::Display for Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "{}", path.display()),
            // The address may hold a password.
            Self::Postgres(options) => write!(out, "Postgres, schema {}", options.schema),
            Self::Nebula(options) => write!(out, "NebulaGraph at {}, space {}", options.addresses.join(", "), options.space),
            Self::Qdrant(options) => write!(out, "Qdrant at {}, prefix `{}`", options.url, options.prefix),
            Self::ClickHouse(options) => write!(out, "ClickHouse, database {}", options.database),
        }
    }
}

/// Where the log is.
#[derive(Debug, Clone)]
pub(crate) enum LogPlace {
    /// In this file.
    Embedded(PathBuf),
    /// On these brokers; the instance is not known yet.
    Kafka(KafkaOptions),
}

impl fmt::Display for LogPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(path) => write!(out, "{}", path.display()),
            Self::Kafka(options) => write!(out, "on Kafka at {}, prefix {}", options.brokers, options.prefix),
        }
    }
}

/// Where the log is, of the two places that it may be in.
pub(super) fn place_of_log(reader: &mut Reader<'_>, path: &Path, kafka: &KafkaOptions) -> LogPlace {
    if reader.text("log.kind") != "kafka" {
        return LogPlace::Embedded(path.to_owned());
    }
    for problem in kafka.problems() {
        reader.refuse("log.properties", problem);
    }
    LogPlace::Kafka(kafka.clone())
}

/// The log on Kafka, whether it is there or not.
pub(super) fn read_kafka(reader: &mut Reader<'_>, prefix: &str) -> KafkaOptions {
    let mut properties = reader.pairs("log.properties");
    let password = reader.text("log.password");
    if !password.is_empty() && properties.insert("sasl.password".to_owned(), password).is_some() {
        reader.refuse("log.password", "`sasl.password` stands in log.properties as well; leave one of the two away".to_owned());
    }
    KafkaOptions {
        replication: u16::try_from(reader.whole("log.replication")).unwrap_or(1),
        properties,
        registry: read_registry(reader),
        ..KafkaOptions::new(reader.text("log.brokers"), prefix)
    }
}

fn read_registry(reader: &mut Reader<'_>) -> Option<RegistryOptions> {
    let (url, user) = (reader.text("schema_registry.url"), reader.text("schema_registry.user"));
    let password = reader.text("schema_registry.password");
    if url.is_empty() {
        if !user.is_empty() || !password.is_empty() {
            reader.refuse("schema_registry.url", "is needed where a user or password of the registry is given".to_owned());
        }
        return None;
    }
    if !is_http(&url) {
        reader.refuse("schema_registry.url", NOT_HTTP.to_owned());
    } else if url.contains('@') {
        // It is shown in messages.
        let text = "must hold no credentials; `schema_registry.user` and `schema_registry.password` are for them";
        reader.refuse("schema_registry.url", text.to_owned());
    }
    if user.is_empty() && !password.is_empty() {
        reader.refuse("schema_registry.user", "is needed where a password is given".to_owned());
    }
    Some(RegistryOptions { url, user: optional(user), password: optional(password) })
}

/// The stores that are kept, and those that are not.
pub(super) fn read_sinks(reader: &mut Reader<'_>, log: &LogPlace) -> (BTreeMap<Role, Store>, BTreeMap<Role, Store>) {
    let (mut sinks, mut off) = (BTreeMap::<Role, Store>::new(), BTreeMap::new());
    for role in Role::ALL {
        let key = |name: &str| format!("sinks.{}.{name}", role.name());
        let store = read_store(reader, role);
        if !reader.flag(&key("enabled")) {
            off.insert(role, store);
            continue;
        }
        if let Store::Sqlite(path) = &store
            && is_taken(path, log, &sinks)
        {
            reader.refuse(&key("path"), format!("{} is the file of another part; every store has its own", path.display()));
        }
        sinks.insert(role, store);
    }
    (sinks, off)
}

fn is_taken(path: &Path, log: &LogPlace, sinks: &BTreeMap<Role, Store>) -> bool {
    let of_log = matches!(log, LogPlace::Embedded(file) if file == path);
    of_log || sinks.values().any(|store| matches!(store, Store::Sqlite(other) if other == path))
}

fn read_store(reader: &mut Reader<'_>, role: Role) -> Store {
    let path = reader.path(&format!("sinks.{}.path", role.name()));
    let kind = reader.text(&format!("sinks.{}.kind", role.name()));
    let server = match role {
        Role::Relational => Store::Postgres(read_postgres(reader, kind == "postgres")),
        Role::Graph => Store::Nebula(read_nebula(reader)),
        Role::Vector => Store::Qdrant(read_qdrant(reader, kind == "qdrant")),
        Role::Analytics => Store::ClickHouse(read_clickhouse(reader, kind == "clickhouse")),
    };
    if kind == "sqlite" { Store::Sqlite(path) } else { server }
}

const NOT_HTTP: &str = "must be an address that starts with http:// or https://";

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

fn optional(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn read_postgres(reader: &mut Reader<'_>, used: bool) -> PostgresOptions {
    let options = PostgresOptions::new(reader.text("sinks.relational.url"), reader.text("sinks.relational.schema"));
    for problem in options.problems().into_iter().filter(|_| used) {
        reader.refuse("sinks.relational", problem);
    }
    options
}

fn read_nebula(reader: &mut Reader<'_>) -> NebulaOptions {
    let authorities = reader.optional_path("sinks.graph.tls_authorities");
    NebulaOptions {
        addresses: reader.texts("sinks.graph.addresses"),
        user: reader.text("sinks.graph.user"),
        password: reader.text("sinks.graph.password"),
        space: reader.text("sinks.graph.space"),
        tls: reader.flag("sinks.graph.tls").then_some(TlsOptions { authorities }),
        ..NebulaOptions::default()
    }
}

fn read_qdrant(reader: &mut Reader<'_>, used: bool) -> QdrantOptions {
    let mut options = QdrantOptions::new(reader.text("sinks.vector.url"), reader.text("sinks.vector.prefix"));
    options.api_key = optional(reader.text("sinks.vector.api_key"));
    for problem in options.problems().into_iter().filter(|_| used) {
        reader.refuse("sinks.vector", problem);
    }
    options
}

fn read_clickhouse(reader: &mut Reader<'_>, used: bool) -> ClickHouseOptions {
    let url = reader.text("sinks.analytics.url");
    if used && !is_http(&url) {
        reader.refuse("sinks.analytics.url", NOT_HTTP.to_owned());
    }
    ClickHouseOptions {
        authorities: reader.optional_path("sinks.analytics.tls_authorities"),
        url,
        database: reader.text("sinks.analytics.database"),
        user: optional(reader.text("sinks.analytics.user")),
        password: optional(reader.text("sinks.analytics.password")),
    }
}
