//! Search: the points nearest to a text, by an exact scan beside the running store.
//!
//! Every live point of the collection is compared (a dot product of normalised vectors); the best stand in a bounded heap. That
//! is exact and needs no index to keep; 100,000 points take about a fifth of a second. Nothing is written.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::embedder::Embedder;

use crate::failure::{Failure, fatal};
use crate::file::connect_to_read;
use crate::meta;
use crate::store::beside;

/// Under which name the store keeps what its vectors were made by.
pub(super) const EMBEDDER: &str = "embedder";

/// What is sought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// `customer_profiles`.
    pub collection: String,
    /// In any words.
    pub text: String,
    /// How many hits at the most.
    pub limit: usize,
    /// Payload field and the value that it must have; of a list, one of its items.
    pub filters: Vec<(String, String)>,
}

/// A point that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Entity.
    pub entity: String,
    /// Key.
    pub key: String,
    /// Cosine likeness, 1 at the most.
    pub score: f32,
    /// The point's payload.
    pub payload: Value,
}

/// The hits of a query, best first; of equal score by entity and key. The embedder must be the store's own.
pub async fn search(path: &Path, embedder: &dyn Embedder, query: Query) -> Result<Vec<Hit>, SinkError> {
    let embedded = embedder.embed(&[&query.text]).await;
    let mut vectors =
        embedded.map_err(|error| SinkError::Unavailable { step: "embedding the query".to_owned(), cause: error.into() })?;
    let vector = vectors.pop().ok_or_else(|| fatal("embedding the query".to_owned(), "the embedder gave nothing"))?;
    let (path, identity) = (path.to_owned(), embedder.identity());
    beside(move || scan(&path, &identity, &vector, &query).map_err(|failure| failure.classify(&path, "searching"))).await
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
        let step = format!(
            "{file} was filled by the embedder `{known}`, the configuration names `{identity}`; run `tidemark up` to fill it anew"
        );
        return Err(fatal(step, "embedder differs").into());
    }
    expect_collection(&connection, &query.collection)?;
    let best = nearest(&connection, vector, query)?;
    let mut hits = Vec::new();
    for found in best.into_sorted_vec() {
        let payload =
            serde_json::from_str(&found.payload).map_err(|error| fatal(format!("reading {file}, key {}", found.key), error))?;
        hits.push(Hit { entity: found.entity, key: found.key, score: found.score, payload });
    }
    Ok(hits)
}

fn expect_collection(connection: &Connection, collection: &str) -> Result<(), Failure> {
    let mut statement = connection.prepare("SELECT DISTINCT collection FROM point ORDER BY collection")?;
    let known = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    if known.is_empty() || known.iter().any(|known| known == collection) {
        return Ok(());
    }
    let step = format!("there is no collection `{collection}`; there are: {}", known.join(", "));
    Err(fatal(step, "unknown collection").into())
}

fn nearest(connection: &Connection, vector: &[f32], query: &Query) -> Result<BinaryHeap<Found>, Failure> {
    let sql = "SELECT entity, key, payload, vector FROM point WHERE collection = ? AND deleted_at IS NULL";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([&query.collection])?;
    let mut best = BinaryHeap::new();
    while let Some(row) = rows.next()? {
        let score = likeness(vector, row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?);
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
        other.score.total_cmp(&self.score).then_with(|| (&self.entity, &self.key).cmp(&(&other.entity, &other.key)))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
