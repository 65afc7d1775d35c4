//! Search: the points nearest to a text, in whichever vector store.
//!
//! Guarantees: the same points under the same query give the same hits in the same order, whatever the store. Every live point of
//! the collection counts (no approximation); likeness counts to [`SCORE_PLACES`] places, because beyond them the stores'
//! arithmetic differs, and points that are alike are in order of entity and key.

use std::cmp::Ordering;

use async_trait::async_trait;
use serde_json::Value;

use crate::port::SinkError;

/// Decimal places of a score.
pub const SCORE_PLACES: i32 = 5;

/// What is sought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// `customer_profiles`; one that no entity names has no points.
    pub collection: String,
    /// In any words.
    pub text: String,
    /// How many hits at the most.
    pub limit: usize,
    /// Payload field and the value that it must have, as the payload shows it: of a list, one of its items; an empty one finds
    /// the points that have none.
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
    /// The point's payload, without the store's book-keeping.
    pub payload: Value,
}

/// A look into a vector store.
#[async_trait]
pub trait Search: Send + Sync {
    /// The hits of a query, best first. An error names what is missing and the remedy.
    async fn search(&self, query: Query) -> Result<Vec<Hit>, SinkError>;
}

/// A likeness as it counts.
pub fn score(likeness: f32) -> f32 {
    let places = 10_f64.powi(SCORE_PLACES);
    // Never -0, which would sort below 0.
    ((f64::from(likeness) * places).round() / places + 0.0) as f32
}

/// The order of hits (score, entity, key): the best is the least.
pub fn order(one: (f32, &str, &str), other: (f32, &str, &str)) -> Ordering {
    other.0.total_cmp(&one.0).then_with(|| (one.1, one.2).cmp(&(other.1, other.2)))
}

/// What says that `place` was filled by another embedder.
pub fn other_embedder(place: &str, known: &str, configured: &str) -> SinkError {
    let step = format!(
        "{place} was filled by the embedder `{known}`, the configuration names `{configured}`; run `tidemark up` to fill it anew"
    );
    SinkError::Fatal { step, cause: "embedder differs".into() }
}
