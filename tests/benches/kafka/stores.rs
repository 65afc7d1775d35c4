//! The stores that are measured: how the program is told to use one, and where it is.

use std::sync::Arc;

use anyhow::{Context, Result};
use tidemark_schemas::Catalog;
use tidemark_sink_clickhouse::ClickHouseOptions;
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_sink_core::{Role, Sink};
use tidemark_sink_nebula::NebulaOptions;
use tidemark_sink_postgres::PostgresOptions;
use tidemark_sink_qdrant::QdrantOptions;
use tidemark_test_support::Kind as ServerKind;
use tidemark_tests::servers::Own;

use crate::bare::Way;
use crate::rows::Kind;

/// User and password of the stand-in (`tests/servers/nebula`).
const NEBULA_PASSWORD: &str = "nebula";

/// A server that runs: that of the environment, or one that is started for this run and gone after it.
pub(crate) struct Server {
    pub(crate) address: String,
    own: Option<Own>,
}

impl Server {
    /// Where the environment says, else a new one.
    pub(crate) fn of(kind: ServerKind) -> Self {
        match std::env::var(kind.variable()).ok().filter(|address| !address.is_empty()) {
            Some(address) => Self { address, own: None },
            None => {
                let own = Own::launch(kind);
                Self { address: own.address().to_owned(), own: Some(own) }
            }
        }
    }

    /// Its main process, where it is ours.
    pub(crate) fn process(&self) -> Option<u32> {
        self.own.as_ref().map(Own::process)
    }
}

/// A store on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Store {
    Postgres,
    ClickHouse,
    Nebula,
    Qdrant,
}

impl Store {
    pub(crate) const ALL: [Self; 4] = [Self::Postgres, Self::ClickHouse, Self::Nebula, Self::Qdrant];

    /// For people, and on the command line.
    pub(crate) fn name(self) -> &'static str {
        self.server().name()
    }

    pub(crate) fn of_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|store| store.name() == name).with_context(|| format!("no store `{name}`"))
    }

    pub(crate) fn server(self) -> ServerKind {
        match self {
            Self::Postgres => ServerKind::Postgres,
            Self::ClickHouse => ServerKind::ClickHouse,
            Self::Nebula => ServerKind::Nebula,
            Self::Qdrant => ServerKind::Qdrant,
        }
    }

    pub(crate) fn role(self) -> Role {
        match self {
            Self::Postgres => Role::Relational,
            Self::ClickHouse => Role::Analytics,
            Self::Nebula => Role::Graph,
            Self::Qdrant => Role::Vector,
        }
    }

    /// Whether it keeps rows of this kind: orders make no points.
    pub(crate) fn keeps(self, kind: Kind) -> bool {
        self != Self::Qdrant || kind == Kind::Narrow
    }

    /// The ways in which a bare writer writes, the sink's own first.
    pub(crate) fn ways(self) -> &'static [Way] {
        match self {
            Self::Postgres => &[Way::Sink, Way::Copy],
            Self::ClickHouse | Self::Nebula | Self::Qdrant => &[Way::Sink],
        }
    }

    /// The program's settings for the store of this name (a schema, database, space or prefix) at this address.
    pub(crate) fn settings(self, address: &str, name: &str) -> Vec<(String, String)> {
        let pairs: &[(&str, &str)] = match self {
            Self::Postgres => &[("KIND", "postgres"), ("URL", address), ("SCHEMA", name)],
            Self::ClickHouse => &[("KIND", "clickhouse"), ("URL", address), ("DATABASE", name)],
            Self::Nebula => &[("KIND", "nebula"), ("ADDRESSES", address), ("PASSWORD", NEBULA_PASSWORD), ("SPACE", name)],
            Self::Qdrant => &[("KIND", "qdrant"), ("URL", address), ("PREFIX", name)],
        };
        let role = self.role().name().to_uppercase();
        pairs.iter().map(|(key, value)| (format!("TIDEMARK__SINKS__{role}__{key}"), (*value).to_owned())).collect()
    }

    /// The sink over the store of this name: to make its tables for the bare writer, and to take all away afterwards.
    pub(crate) fn sink(self, address: &str, name: &str, catalog: Arc<Catalog>) -> Box<dyn Sink> {
        match self {
            Self::Postgres => tidemark_sink_postgres::relational(PostgresOptions::new(address, name), catalog),
            Self::ClickHouse => {
                tidemark_sink_clickhouse::analytics(ClickHouseOptions::new(address, name), catalog, Vec::new(), 0)
            }
            Self::Nebula => tidemark_sink_nebula::graph(nebula(address, name), catalog),
            Self::Qdrant => {
                let options = QdrantOptions::new(address.to_owned(), name.to_owned());
                tidemark_sink_qdrant::vector(options, catalog, Arc::new(NgramEmbedder))
            }
        }
    }
}

/// How the stand-in is spoken to.
pub(crate) fn nebula(address: &str, name: &str) -> NebulaOptions {
    NebulaOptions {
        addresses: vec![address.to_owned()],
        password: NEBULA_PASSWORD.to_owned(),
        space: name.to_owned(),
        ..NebulaOptions::default()
    }
}
