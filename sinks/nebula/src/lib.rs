//! The graph sink on NebulaGraph 3.x, with a small client of its own.
//!
//! Guarantees: a record is a vertex, its references are edges from it, as in the embedded graph store; a batch that came through
//! is all there, and a repeat changes nothing. NebulaGraph has no transaction and no gate, so the order of steps does it: stored
//! versions are read first where a row may be a repeat, rows are written, positions move last and only while this writer's token
//! stands. What a stale writer or a request that the network delayed wrote last is healed by going back over the partition.
//! Relies on: one writer for each partition at a time, except for the moment of a takeover.
//! On failure: nothing is repeated here; the engine opens the store anew and brings the batch again.
//!
//! Tried against a stand-in with the official wire code, never against a real cluster.

mod client;
mod failure;
mod identity;
mod meta;
mod ngql;
mod render;
mod report;
mod rows;
mod schema;
mod settle;
mod setup;
mod shape;
mod sink;
mod statements;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;

pub use client::Statement;
pub use statements::Statements;

/// Where the graph store is and how it is spoken to.
#[derive(Clone)]
pub struct NebulaOptions {
    /// graphd, each `host:port`; tried in turn.
    pub addresses: Vec<String>,
    /// User; needs the role ADMIN on the space, and GOD to make it.
    pub user: String,
    /// Password.
    pub password: String,
    /// The space: letters, digits and `_`.
    pub space: String,
    /// Speaks TLS.
    pub tls: Option<TlsOptions>,
    /// Partitions of a space that is made.
    pub partitions: u32,
    /// Replicas of a space that is made.
    pub replicas: u32,
    /// Statements under way at a time.
    pub sessions: usize,
    /// How texts go to the server.
    pub values: Values,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
    /// How long a statement may take.
    pub request_timeout: Duration,
}

/// How servers are recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM file of the authorities to trust; the system's where left out.
    pub authorities: Option<PathBuf>,
}

/// How texts go to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Values {
    /// As parameters if every server is 3.5 or newer, else as literals.
    #[default]
    ByVersion,
    /// As parameters: for servers that do not tell their version to this user.
    Parameters,
    /// As escaped literals.
    Literals,
}

impl Default for NebulaOptions {
    fn default() -> Self {
        Self {
            addresses: vec!["127.0.0.1:9669".to_owned()],
            user: "root".to_owned(),
            password: String::new(),
            space: "tidemark".to_owned(),
            tls: None,
            // The server's own default is 100, meant for clusters of many disks; it cannot be changed later.
            partitions: 10,
            replicas: 1,
            // Importers use 4 to 16; more gain nothing on a server of a few cores and take from its 300 sessions for an address.
            sessions: 4,
            values: Values::ByVersion,
            connect_timeout: Duration::from_secs(5),
            // Longer than the server's own limit on its storage, so that it is the server that gives up first.
            request_timeout: Duration::from_secs(65),
        }
    }
}

impl std::fmt::Debug for NebulaOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { addresses, user, space, tls, values, .. } = self;
        formatter
            .debug_struct("NebulaOptions")
            .field("addresses", addresses)
            .field("user", user)
            .field("space", space)
            .field("tls", tls)
            .field("values", values)
            .finish_non_exhaustive()
    }
}

/// The graph store in a space of NebulaGraph. Nothing is connected yet; what is wrong with the options is said by each call.
pub fn graph(options: NebulaOptions, catalog: Arc<Catalog>) -> Box<dyn Sink> {
    let setup = setup::Setup::new(options, &catalog);
    Box::new(sink::NebulaSink::new(setup, catalog))
}

#[cfg(test)]
pub(crate) mod tests;
