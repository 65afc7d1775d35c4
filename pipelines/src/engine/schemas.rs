//! Writer schemas: what this process writes is told on the progress topic, and to the log, which may have a registry to tell; what
//! others wrote is learnt from there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemark_connector_core::progress;
use tidemark_log::{Append, Log, LogError, TopicSchema, Topics};
use tidemark_schemas::{Catalog, codec};

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
    let found = learn_published(&*pipeline.log, &pipeline.topics, &pipeline.catalog).await?;
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

/// Learns the schemas that are on the progress topic; returns them by key.
pub async fn learn_published(log: &dyn Log, topics: &Topics, catalog: &Catalog) -> Result<BTreeMap<String, String>, LogError> {
    let found = progress::load(log, topics, PREFIX).await?;
    for text in found.values() {
        learn_text(catalog, text);
    }
    Ok(found)
}

/// Tells the log by which schemas this process writes: before its first record, and again at no cost.
pub(crate) async fn declare(log: &dyn Log, topics: &Topics, catalog: &Catalog) -> Result<(), LogError> {
    let of = |entity: &tidemark_schemas::Entity| {
        [
            TopicSchema { topic: topics.changes(&entity.name), schema: codec::change_schema(entity) },
            TopicSchema { topic: topics.state(&entity.name), schema: codec::state_schema(entity) },
        ]
    };
    let schemas: Vec<_> = catalog.entities().iter().flat_map(|entity| of(entity)).collect();
    log.declare_schemas(&schemas).await
}

/// Tells `to`, into which the log `from` is copied, by which schemas records may have been written, whoever wrote them: first those
/// of others, then those of this process.
pub async fn declare_all(from: &dyn Log, to: &dyn Log, topics: &Topics, catalog: &Catalog) -> Result<(), LogError> {
    let mut schemas = Vec::new();
    for (key, text) in progress::load(from, topics, PREFIX).await? {
        let Ok(WriterSchema { entity, schema }) = serde_json::from_str(&text) else {
            tracing::warn!(key, "a writer's schema cannot be read; its records keep their own framing");
            continue;
        };
        let topic = if codec::is_state_schema(&schema) { topics.state(&entity) } else { topics.changes(&entity) };
        schemas.push(TopicSchema { topic, schema });
    }
    to.declare_schemas(&schemas).await?;
    declare(to, topics, catalog).await
}

/// Learns the schema with this fingerprint; `false` when nobody has published it or it cannot be read as ours.
pub(crate) async fn learn(pipeline: &Pipeline, fingerprint: u64) -> Result<bool, LogError> {
    let key = key_of(fingerprint);
    // Whoever writes by it has published it before, perhaps behind what a worker of the fold has under way.
    pipeline.log.include_pending(&pipeline.topics.progress, 0).await?;
    let found = progress::load(&*pipeline.log, &pipeline.topics, &key).await?;
    if let Some(text) = found.get(&key) {
        return Ok(learn_text(&pipeline.catalog, text));
    }
    Ok(learn_foreign(&*pipeline.log, &pipeline.catalog, fingerprint))
}

/// Learns the schema with this fingerprint from the log's registry: whoever writes through that alone publishes nothing on our
/// topic. `false` when it is not known there either or cannot be read as ours.
pub fn learn_foreign(log: &dyn Log, catalog: &Catalog, fingerprint: u64) -> bool {
    let foreign = log.foreign_schemas().into_iter().find(|schema| codec::fingerprint(schema) == Some(fingerprint));
    foreign.is_some_and(|schema| match catalog.learn_named(&schema) {
        Ok(()) => true,
        Err(problem) => {
            tracing::warn!(%problem, "schema of the registry not learnt");
            false
        }
    })
}

fn learn_text(catalog: &Catalog, text: &str) -> bool {
    let Ok(writer) = serde_json::from_str::<WriterSchema>(text) else {
        tracing::warn!("a writer's schema on the progress topic cannot be read; records by it end as dead letters");
        return false;
    };
    match catalog.learn(&writer.entity, &writer.schema) {
        Ok(()) => true,
        Err(problem) => {
            // Records of that writer end as dead letters, which say so; an entity that is not configured here has no stage.
            tracing::warn!(entity = %writer.entity, %problem, "writer schema not learnt");
            false
        }
    }
}
