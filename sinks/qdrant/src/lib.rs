//! The vector store on Qdrant.
//!
//! Guarantees: the points of the embedded vector store (collections, ids, payloads, vectors up to normalisation), each collection
//! behind an alias of its name, so that another one can be put in its place. A deleted record keeps its point, marked, and no
//! late event brings it back. Text that did not change is not embedded again. A repeat changes nothing.
//!
//! Relies on the server applying the requests of one point one after the other. Qdrant has no transaction, so the order does it:
//! whose the partitions are, stored versions, points, positions, and these move only while they are still this writer's
//! (`meta`). A point is written only over one of an earlier request (`write`): so neither an overtaken writer nor a request that
//! the network delayed undoes a newer one. Servers before 1.16 do not know such a condition and pass over it, which is found out
//! by trying; there, the last request wins, and a writer looks whether it is still the owner before it sends.
//!
//! On failure: nothing is repeated here but what the client repeats by itself (a call whose connection broke, once); the engine
//! opens the store anew and brings the batch again. A collection that somebody dropped is noticed by its name, which is never
//! used twice: it is made again and read from the start.
//!
//! Tried against Qdrant's engine behind services of our own, never against a real server.

mod client;
mod collections;
mod failure;
mod meta;
mod names;
mod open;
mod options;
mod payload;
mod prepare;
mod report;
mod search;
mod sink;
mod write;

use std::sync::Arc;

use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::search::Search;

pub use options::QdrantOptions;

/// The vector store in collections of a Qdrant server, filled by this embedder. Nothing is connected yet.
pub fn vector(options: QdrantOptions, catalog: Arc<Catalog>, embedder: Arc<dyn Embedder>) -> Box<dyn Sink> {
    Box::new(sink::QdrantSink::new(options, catalog, embedder))
}

/// The search in that store, beside its owner. The embedder must be the one that fills it.
pub fn search(options: QdrantOptions, catalog: &Catalog, embedder: Arc<dyn Embedder>) -> Box<dyn Search> {
    Box::new(search::QdrantSearch::new(options, catalog, embedder))
}

#[cfg(test)]
mod tests;
