//! The four SQLite sinks: relational, graph, vector and analytics, each one file with a thread of its own.
//!
//! All that they share (transactions, positions, epochs, error classes) is in `store` and `meta`; a role says only what becomes
//! of a row. The public modules give the statements that make each store's tables, so that a bench can fill equal ones bare.

mod failure;
mod meta;
pub mod relational;
mod report;
mod statement;
mod store;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;

use crate::store::SqliteSink;

/// The relational store in this file.
pub fn relational(path: PathBuf, catalog: Arc<Catalog>) -> Box<dyn Sink> {
    Box::new(SqliteSink::new(path, Arc::new(relational::Relational::new(catalog))))
}

#[cfg(test)]
mod tests;
