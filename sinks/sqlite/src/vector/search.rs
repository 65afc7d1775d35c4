//! Search: the points nearest to a text, by an exact scan beside the running store.
//!
//! Every live point of the collection is compared (a dot product of normalised vectors); the best stand in a bounded heap. That
//! is exact and needs no index to keep; 100,000 points take about a fifth of a second. Nothing is written.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use serde_json::Value;
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::points::embed_query;
use tidemark_sink_core::search::{self, Hit, Query, Search};
use tidemark_sink_core::{Role, SinkError};

use crate::failure::{Failure, fatal};
use crate::file::connect_to_read;
use crate::meta;
use crate::store::beside;

/// Under which name the store keeps what its vectors were made by.
pub(super) const EMBEDDER: &str = "embedder";

/// Looks into the vector store in this file.
pub(crate) struct VectorSearch {
    path: PathBuf,
    embedder: Arc<dyn Embedder>,
}

impl VectorSearch {
    /// The embedder must be the store's own.
    pub(crate) fn new(path: PathBuf, embedder: Arc<dyn Embedder>) -> Self {
        Self { path, embedder }
    }
}

#[async_trait]
impl Search for VectorSearch {
    async fn search(&self, query: Query) -> Result<Vec<Hit>, SinkError> {
        let vector = embed_query(&*self.embedder, &query.text).await?;
        let (path, identity) = (self.path.clone(), self.embedder.identity());
        beside(move || {
            scan(&path, &identity, &vector, &query).map_err(|failure| failure.classify(Role::Vector, &path, "searching"))
        })
        .await
    }
}

fn scan(path: &Path, identity: &str, vector: &[f32], query: &Query) -> Result<Vec<Hit>, Failure> {
    let file = path.display();
    let Some(connection) = connect_to_read(path)? else {
        let step = format!("{file} is not there; run `tidemark up` once to fill it");
        return Err(fatal(step, "no such file").into());
    };
    if !meta::exists(&connection)? {
        return Err(fatal(format!("{file} is no vector store"), "no table `tidemark_meta`").into());
    }
    let known = meta::text(&connection, EMBEDDER)?.unwrap_or_default();
    if known != identity {
        return Err(search::other_embedder(&file.to_string(), &known, identity).into());
    }
    let best = nearest(&connection, vector, query)?;
    let mut hits = Vec::new();
    for found in best.into_sorted_vec() {
        let payload =
            serde_json::from_str(&found.payload).map_err(|error| fatal(format!("reading {file}, key {}", found.key), error))?;
        hits.push(Hit { entity: found.entity, key: found.key, score: found.score, payload });
    }
    Ok(hits)
}

fn nearest(connection: &Connection, vector: &[f32], query: &Query) -> Result<BinaryHeap<Found>, Failure> {
    let sql = "SELECT entity, key, payload, vector FROM point WHERE collection = ? AND deleted_at IS NULL";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([&query.collection])?;
    let mut best = BinaryHeap::new();
    while let Some(row) = rows.next()? {
        let score = search::score(likeness(vector, row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?));
        let text = |index| Ok::<_, rusqlite::Error>(row.get_ref(index)?.as_str()?.to_owned());
        let worst: Option<&Found> = best.peek();
        let full = best.len() == query.limit;
        if full && worst.is_none_or(|worst| score < worst.score) {
            continue;
        }
        let found = Found { score, entity: text(0)?, key: text(1)?, payload: text(2)? };
        if (full && worst.is_some_and(|worst| found >= *worst)) || !passes(&found.payload, &query.filters) {
            continue;
        }
        best.push(found);
        if best.len() > query.limit {
            best.pop();
        }
    }
    Ok(best)
}

fn likeness(vector: &[f32], bytes: &[u8]) -> f32 {
    let stored = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    vector.iter().zip(stored).map(|(one, other)| one * other).sum()
}

/// Whether the payload has all of these values.
fn passes(payload: &str, filters: &[(String, String)]) -> bool {
    if filters.is_empty() {
        return true;
    }
    let Ok(payload) = serde_json::from_str::<Value>(payload) else { return false };
    filters.iter().all(|(field, wanted)| match &payload[field] {
        Value::Array(items) if items.is_empty() => wanted.is_empty(),
        Value::Array(items) => items.iter().any(|item| is(item, wanted)),
        value => is(value, wanted),
    })
}

fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Null => wanted.is_empty(),
        Value::String(text) => text == wanted,
        Value::Bool(value) => wanted == if *value { "true" } else { "false" },
        Value::Number(number) => number.to_string() == wanted,
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// The greatest is the worst, so that a heap gives it up first.
#[derive(Debug, PartialEq)]
struct Found {
    score: f32,
    entity: String,
    key: String,
    payload: String,
}

impl Eq for Found {}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        search::order((self.score, &self.entity, &self.key), (other.score, &other.entity, &other.key))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
