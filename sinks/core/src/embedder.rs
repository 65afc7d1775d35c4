//! Embedders: text to vector.
//!
//! Guarantees: a vector is normalised and never zero, and the same text gives the same vector under one identity. What a store
//! holds was made under one identity; another one makes every point anew.

pub mod http;
pub mod ngram;

use async_trait::async_trait;

/// Why a text was not embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// It may work later.
    #[error("the embedder is unavailable: {0}")]
    Unavailable(String),
    /// This text is refused.
    #[error("the embedder refuses the text: {0}")]
    Rejected(String),
}

/// Turns texts into vectors.
#[async_trait]
pub trait Embedder: Send + Sync + 'static {
    /// Name and version: part of what a store was derived by.
    fn identity(&self) -> String;

    /// Dimensions of every vector.
    fn dimensions(&self) -> usize;

    /// Whether embedding a text again costs less than reading the vector that a store has of it.
    fn is_at_hand(&self) -> bool {
        false
    }

    /// One normalised, non-zero vector per text, in order. Refused texts fail the whole call: the caller tries them singly to
    /// learn which.
    async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;
}

/// Scales to length one; `false` when there is nothing to scale (a zero vector, or one that is no number).
pub(crate) fn normalise(vector: &mut [f32]) -> bool {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length < f64::from(f32::MIN_POSITIVE) {
        return false;
    }
    for value in vector {
        *value = (f64::from(*value) / length) as f32;
    }
    true
}
