//! Writer schemas on the progress topic: what this process writes is told there, what others wrote is learnt from there.

use serde::{Deserialize, Serialize};
use tidemark_connector_core::progress;
use tidemark_log::{Append, LogError};

use super::Pipeline;

/// `schema|<fingerprint>`.
#[derive(Debug, Serialize, Deserialize)]
struct WriterSchema {
    entity: String,
    /// The envelope schema as JSON text.
    schema: String,
}

const PREFIX: &str = "schema|";

fn key_of(fingerprint: u64) -> String {
    format!("{PREFIX}{fingerprint:016x}")
}

/// Publishes the writer schemas of this process that are missing, and learns all that are there.
pub(super) async fn publish_and_learn(pipeline: &Pipeline) -> Result<(), LogError> {
    let found = progress::load(&*pipeline.log, &pipeline.topics, PREFIX).await?;
    for text in found.values() {
        learn_text(pipeline, text);
    }
    let mut append = Append::default();
    for (entity, fingerprint, schema) in pipeline.catalog.writer_schemas() {
        let key = key_of(fingerprint);
        if !found.contains_key(&key) {
            progress::put(&mut append, &pipeline.topics, &key, &WriterSchema { entity, schema });
        }
    }
    if !append.is_empty() {
        pipeline.log.append(append).await?;
    }
    Ok(())
}

/// Learns the schema with this fingerprint; `false` when nobody has published it or it cannot be read as ours.
pub(crate) async fn learn(pipeline: &Pipeline, fingerprint: u64) -> Result<bool, LogError> {
    let key = key_of(fingerprint);
    let found = progress::load(&*pipeline.log, &pipeline.topics, &key).await?;
    Ok(found.get(&key).is_some_and(|text| learn_text(pipeline, text)))
}

fn learn_text(pipeline: &Pipeline, text: &str) -> bool {
    let Ok(writer) = serde_json::from_str::<WriterSchema>(text) else { return false };
    match pipeline.catalog.learn(&writer.entity, &writer.schema) {
        Ok(()) => true,
        Err(problem) => {
            // Records of that writer end as dead letters, which say so; an entity that is not configured here has no stage.
            tracing::warn!(entity = %writer.entity, %problem, "writer schema not learnt");
            false
        }
    }
}
