//! The relational sink on Postgres: a table for each entity in one schema, typed columns, position and rows in one transaction.
//!
//! Guarantees: a batch is applied behind its version gate together with its positions, or its positions do not move; a worker
//! that was superseded writes nothing; a row that the server refuses is named and stops no other; tables, columns, indexes and
//! views appear by themselves and only by adding.
//! Relies on: PostgreSQL 15 or newer, UTF-8, a schema of its own.
//! On failure: every error has a class (try again, these rows, needs a person); after any but refused rows the store is opened
//! anew.
//! Deliberately not here: retries and back-off, which are the engine's; foreign keys, since an order may arrive before its
//! customer (`dangling_reference` shows those).

mod apply;
mod bisect;
mod check;
mod connection;
mod ddl;
mod encode;
mod failure;
mod filling;
mod meta;
mod migrate;
mod options;
mod partitions;
mod poison;
mod reset;
mod sink;
mod table;

use std::sync::Arc;

use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;

pub use options::PostgresOptions;

/// The relational store in one schema of a Postgres database. Nothing is connected before its first call.
pub fn relational(options: PostgresOptions, catalog: Arc<Catalog>) -> Box<dyn Sink> {
    Box::new(sink::PostgresSink::new(options, catalog))
}

#[cfg(test)]
mod tests;
