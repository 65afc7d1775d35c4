//! Embedders: text to vector.

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

    /// One normalised, non-zero vector per text, in order.
    async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;
}
