//! The analytics store on ClickHouse.
//!
//! Guarantees: each entity is a table `<entity>_versions` (`ReplacingMergeTree(version, is_deleted)`, its sort key ending in the
//! record's key) and a view `<entity>` over its `FINAL` with the live rows; lists of records and the views that people ask first
//! have the names and columns of the SQLite store. ClickHouse has no transactions, so the order is: rows, then the writer's epoch
//! is looked at again, then the positions, all of a batch in one insert. A repeat merges away by version, an older version never
//! shows.
//!
//! Relies on one insert into one partition being taken whole or not at all, and on `FINAL`. On failure: what the server refuses
//! for want of something (parts, memory, time, the network) is `Unavailable`, a row that it will never take is `Rejected` alone,
//! found by halving; all else is fatal. A table that somebody dropped or replaced is noticed by its id: it is made again and
//! read from the start.
//!
//! Does not: write to replicas of its own choosing, make users, or keep aggregates of its own.

mod client;
mod encoding;
mod epoch;
mod failure;
mod gate;
mod https;
mod lines;
mod meta;
mod migration;
mod position;
mod report;
mod statement;
mod store;
mod table;
mod views;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tidemark_schemas::{Catalog, Entity};
use tidemark_sink_core::Sink;

use crate::store::ClickHouseSink;
use crate::table::Table;

/// Where the server is and as whom to speak to it.
#[derive(Clone)]
pub struct ClickHouseOptions {
    /// `http://127.0.0.1:8123`, `https://clickhouse.example.org:8443`: the HTTP interface.
    pub url: String,
    /// PEM file of the authorities to trust where that is https; the system's where left out.
    pub authorities: Option<PathBuf>,
    /// The database, made where it is missing; the store's own.
    pub database: String,
    /// Left out: the server's `default`.
    pub user: Option<String>,
    /// Left out: none.
    pub password: Option<String>,
}

impl ClickHouseOptions {
    /// This database on this server, as its `default` user.
    pub fn new(url: impl Into<String>, database: impl Into<String>) -> Self {
        Self { url: url.into(), authorities: None, database: database.into(), user: None, password: None }
    }
}

impl fmt::Debug for ClickHouseOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClickHouseOptions")
            .field("url", &client::without_credentials(&self.url))
            .field("authorities", &self.authorities)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .finish()
    }
}

/// The analytics store in this database. `vip_levels` are the customers' levels that count as VIP; `utc_offset` is the zone's, in
/// seconds east: it says when a day begins in the views.
#[expect(clippy::needless_pass_by_value, reason = "the same form as the other adapters' constructors")]
pub fn analytics(options: ClickHouseOptions, catalog: Arc<Catalog>, vip_levels: Vec<String>, utc_offset: i32) -> Box<dyn Sink> {
    Box::new(ClickHouseSink::new(options, &catalog, vip_levels, utc_offset))
}

/// The statements that make an entity's table and the views over it: what a bare writer needs to compare itself with this store.
pub fn ddl(catalog: &Catalog, entity: &Arc<Entity>) -> Vec<String> {
    let table = Table::new(catalog, entity);
    std::iter::once(table.ddl()).chain(table.views().into_iter().map(|view| view.ddl())).collect()
}

#[cfg(test)]
mod tests;
