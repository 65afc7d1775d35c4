//! A log and stores on servers, under names of their own, which several workers may share; what was made there goes with it.

use std::net::TcpStream;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tidemark_test_support::Kind;

use crate::place::Place;
use crate::readers::{ClickHouse, Nebula, Postgres, Qdrant, Readers};
use crate::runtime::finish;
use crate::second::LogPlace;
use crate::server_stores::{Servers, keep_log_on_kafka};

/// The servers that a log and its stores need.
pub const KINDS: [Kind; 5] = [Kind::Kafka, Kind::Postgres, Kind::Nebula, Kind::Qdrant, Kind::ClickHouse];

/// The stages that every worker runs; one alone also runs `connector.file`.
pub const SHARED_STAGES: [&str; 5] = ["fold", "sink.relational", "sink.graph", "sink.vector", "sink.analytics"];

/// The command line of a worker that runs these stages, too.
pub fn run_with<'s>(more: &[&'s str]) -> Vec<&'s str> {
    [&["run"], more, &SHARED_STAGES].concat()
}

/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Names and addresses.
#[derive(Debug, Clone)]
pub struct OnServers {
    name: String,
    broker: String,
    stores: Servers,
}

impl OnServers {
    /// On the servers that all tests share; `None` where one of them is not to be had, and then `test` is listed as skipped.
    pub fn shared(test: &str) -> Option<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (broker, stores) = (Kind::Kafka.address(test), Servers::of(test));
        let name = format!("tidemark_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Some(Self { name, broker: broker?, stores: stores? })
    }

    /// The same with another server of this kind.
    #[must_use]
    pub fn with(mut self, kind: Kind, address: &str) -> Self {
        match kind {
            Kind::Kafka => address.clone_into(&mut self.broker),
            _ => self.stores = self.stores.with(kind, address),
        }
        self
    }

    /// The same with something in between that listens at `address`, `host:port`.
    #[must_use]
    pub fn through(self, kind: Kind, address: &str) -> Self {
        let whole = self.address(kind).replace(self.endpoint(kind), address);
        self.with(kind, &whole)
    }

    /// Where a server listens, `host:port`.
    pub fn endpoint(&self, kind: Kind) -> &str {
        let address = self.address(kind);
        let host = address.rsplit(['@', '/']).find(|part| part.contains(':')).unwrap_or(address);
        host.split('/').next().unwrap_or(host)
    }

    fn address(&self, kind: Kind) -> &str {
        if kind == Kind::Kafka { &self.broker } else { self.stores.address(kind) }
    }

    /// The log.
    pub fn log(&self) -> LogPlace<'_> {
        LogPlace::Kafka { brokers: &self.broker, prefix: &self.name }
    }

    /// A worker of its own data folder.
    pub fn worker(&self) -> Place {
        let mut place = Place::new();
        self.keep(&mut place);
        place
    }

    /// Puts log and stores of a place here.
    pub fn keep(&self, place: &mut Place) {
        keep_log_on_kafka(place, &self.broker, &self.name);
        // A worker that is stopped for longer than that is given up.
        place.set("TIDEMARK__LOG__PROPERTIES", "session.timeout.ms=6000");
        self.stores.keep(place, &self.name);
    }

    /// Looks into the stores, straight at the servers.
    pub fn readers(&self) -> Readers {
        Readers {
            relational: Box::new(self.postgres()),
            graph: Box::new(self.nebula()),
            vector: Box::new(self.qdrant()),
            analytics: Box::new(self.clickhouse()),
        }
    }

    /// Whether a store answers a query.
    pub fn answers(&self, kind: Kind) -> bool {
        match kind {
            Kind::Postgres => self.postgres().answers(),
            Kind::Qdrant => self.qdrant().answers(),
            Kind::ClickHouse => self.clickhouse().answers(),
            // The stand-in opens its port when it can answer.
            _ => TcpStream::connect(self.endpoint(kind)).is_ok(),
        }
    }

    /// Does something in the schema of Postgres that nobody should.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn in_postgres(&self, sql: &str) {
        self.postgres().run(sql);
    }

    /// Does something in the database of ClickHouse that nobody should.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn in_clickhouse(&self, sql: &str) {
        self.clickhouse().run(sql);
    }

    fn postgres(&self) -> Postgres {
        Postgres { url: self.address(Kind::Postgres).to_owned(), schema: self.name.clone() }
    }

    fn nebula(&self) -> Nebula {
        Nebula::new(self.address(Kind::Nebula), &self.name)
    }

    fn qdrant(&self) -> Qdrant {
        Qdrant { url: self.address(Kind::Qdrant).to_owned(), prefix: format!("{}_", self.name) }
    }

    fn clickhouse(&self) -> ClickHouse {
        ClickHouse { url: self.address(Kind::ClickHouse).to_owned(), database: self.name.clone() }
    }

    /// Takes away what was made under the names, so that servers that serve many runs stay small. For servers that still run, once
    /// no worker does.
    ///
    /// # Panics
    /// When a server refuses.
    pub fn remove(self) {
        self.postgres().remove();
        self.nebula().remove();
        self.qdrant().remove();
        self.clickhouse().remove();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker);
        let looking: BaseConsumer = config.create().expect("plain settings");
        let metadata = looking.fetch_metadata(None, ANSWER).expect("the broker answers");
        let names: Vec<&str> = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name).collect();
        let ours: Vec<&str> = names.into_iter().filter(|name| name.starts_with(&format!("{}.", self.name))).collect();
        let admin: AdminClient<DefaultClientContext> = config.create().expect("plain settings");
        let deleting = admin.delete_topics(&ours, &AdminOptions::new().request_timeout(Some(ANSWER)));
        for deleted in finish(deleting).expect("the broker answers") {
            deleted.unwrap_or_else(|(topic, code)| panic!("{topic}: {code}"));
        }
    }
}
