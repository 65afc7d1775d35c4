//! The four SQLite sinks: relational, graph, vector and analytics, each one file with a thread of its own.
//!
//! All that they share (transactions, positions, epochs, error classes) is in `store` and `meta`; a role says only what becomes
//! of a row. The public modules give the statements that make each store's tables, so that a bench can fill equal ones bare.

pub mod analytics;
mod failure;
mod file;
mod filling;
pub mod graph;
mod meta;
mod owned;
mod properties;
pub mod relational;
mod report;
mod statement;
mod store;
mod table;
pub mod vector;

use std::path::PathBuf;
use std::sync::Arc;

use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::search::Search;

use crate::store::SqliteSink;
use crate::vector::search::VectorSearch;

/// The relational store in this file.
pub fn relational(path: PathBuf, catalog: Arc<Catalog>) -> Box<dyn Sink> {
    Box::new(SqliteSink::new(path, Arc::new(relational::Relational::new(catalog))))
}

/// The graph store in this file.
pub fn graph(path: PathBuf, catalog: Arc<Catalog>) -> Box<dyn Sink> {
    Box::new(SqliteSink::new(path, Arc::new(graph::Graph::new(catalog))))
}

/// The vector store in this file, filled by this embedder.
pub fn vector(path: PathBuf, catalog: Arc<Catalog>, embedder: Arc<dyn Embedder>) -> Box<dyn Sink> {
    Box::new(SqliteSink::new(path, Arc::new(vector::Vector::new(catalog, embedder))))
}

/// The search in the vector store in this file, beside its owner. The embedder must be the one that fills it.
pub fn search(path: PathBuf, embedder: Arc<dyn Embedder>) -> Box<dyn Search> {
    Box::new(VectorSearch::new(path, embedder))
}

/// The analytics store in this file. `vip_levels` are the customers' levels that count as VIP; `utc_offset` is the zone's, in
/// seconds east: it says when a day begins in the views.
pub fn analytics(path: PathBuf, catalog: Arc<Catalog>, vip_levels: Vec<String>, utc_offset: i32) -> Box<dyn Sink> {
    Box::new(SqliteSink::new(path, Arc::new(analytics::Analytics::new(catalog, vip_levels, utc_offset))))
}

#[cfg(test)]
mod tests;
