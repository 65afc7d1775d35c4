//! Where the servers of the tests are, how a test says that it cannot run here, and a proxy that stands between.
//!
//! A server's address is in the environment (`./dev servers up` prints it). Where it is not, the test lists itself by name as
//! skipped and passes; with `CI=true` it fails. Knows no other crate of this workspace, so that each may have it for its tests.

pub mod http;
pub mod proxy;
pub mod tls;

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

/// The servers that tests are run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Apache Kafka, one node.
    Kafka,
    /// A schema registry of the Confluent kind.
    SchemaRegistry,
    /// PostgreSQL.
    Postgres,
    /// The stand-in for NebulaGraph.
    Nebula,
    /// Qdrant's engine behind its gRPC services.
    Qdrant,
    /// ClickHouse's engine behind an HTTP front.
    ClickHouse,
}

impl Kind {
    /// Its name in `./dev servers`, and of its folder in `tests/servers/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::SchemaRegistry => "schema_registry",
            Self::Postgres => "postgres",
            Self::Nebula => "nebula",
            Self::Qdrant => "qdrant",
            Self::ClickHouse => "clickhouse",
        }
    }

    /// The variable with the server's address.
    #[must_use]
    pub fn variable(self) -> String {
        format!("TIDEMARK_TEST_{}", self.name().to_uppercase())
    }

    /// The server's address; where there is none, `test` is listed as skipped.
    ///
    /// # Panics
    /// As [`skip`] does.
    #[must_use]
    pub fn address(self, test: &str) -> Option<String> {
        let address = env::var(self.variable()).ok().filter(|address| !address.is_empty());
        if address.is_none() {
            skip(test, &format!("{} is not set (./dev servers up {})", self.variable(), self.name()));
        }
        address
    }
}

/// Says that a test cannot run here.
///
/// # Panics
/// With `CI=true`: there, a test that cannot run is a failure. When the list of skipped tests cannot be written.
pub fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
    assert!(env::var("CI").as_deref() != Ok("true"), "{test} must not be skipped with CI=true: {reason}");
    if let Some(list) = env::var_os("TIDEMARK_TEST_SKIPS") {
        let file = OpenOptions::new().append(true).create(true).open(list);
        file.and_then(|mut file| writeln!(file, "{test}: {reason}")).expect("the list of skipped tests takes a line");
    }
}
