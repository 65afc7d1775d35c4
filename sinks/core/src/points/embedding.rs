//! Texts of rows to vectors; a text that the embedder refuses is found by itself, and its row named.

use crate::batch::{SinkBatch, SinkRow};
use crate::embedder::{EmbedError, Embedder};
use crate::port::{RejectedRow, SinkError};

/// A text that no service has a reason to refuse.
const HARMLESS: &str = "tidemark";

/// The vectors of these rows' texts, in order. Where the embedder refuses some, all that it refuses are returned as rejected.
pub async fn embed(
    embedder: &dyn Embedder,
    batch: &SinkBatch,
    rows: &[(&SinkRow<'_>, &str)],
) -> Result<Vec<Vec<f32>>, SinkError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let texts: Vec<&str> = rows.iter().map(|(_, text)| *text).collect();
    match embedder.embed(&texts).await {
        Ok(vectors) => Ok(vectors),
        Err(EmbedError::Rejected(_)) => embed_singly(embedder, batch, rows).await,
        Err(error) => Err(unavailable("embedding", error)),
    }
}

/// One text after the other, to learn which are refused.
async fn embed_singly(
    embedder: &dyn Embedder,
    batch: &SinkBatch,
    rows: &[(&SinkRow<'_>, &str)],
) -> Result<Vec<Vec<f32>>, SinkError> {
    let mut vectors = Vec::new();
    let mut refused = Vec::new();
    for (row, text) in rows {
        match embedder.embed(&[text]).await {
            Ok(made) => vectors.extend(made),
            Err(EmbedError::Rejected(problem)) => {
                let detail = format!("{problem}; correct the record's text and it is embedded, or redrive the dead letter");
                refused.push(RejectedRow::of(batch, row, "not_embedded", detail));
            }
            Err(error) => return Err(unavailable("embedding", error)),
        }
    }
    if refused.is_empty() {
        return Ok(vectors);
    }
    // A service whose account or model is at fault refuses in the same words.
    if vectors.is_empty()
        && let Err(error) = embedder.embed(&[HARMLESS]).await
    {
        return Err(unavailable("embedding", error));
    }
    Err(SinkError::Rejected(refused))
}

/// The vector of what is sought.
pub async fn embed_query(embedder: &dyn Embedder, text: &str) -> Result<Vec<f32>, SinkError> {
    const STEP: &str = "embedding the query";
    let mut vectors = embedder.embed(&[text]).await.map_err(|error| unavailable(STEP, error))?;
    vectors.pop().ok_or_else(|| SinkError::Fatal { step: STEP.to_owned(), cause: "the embedder gave nothing".into() })
}

fn unavailable(step: &str, error: EmbedError) -> SinkError {
    SinkError::Unavailable { step: step.to_owned(), cause: error.into() }
}
