//! What is known of a schema registry's ids: what this log's processes registered, and what the registry says of the rest.
//!
//! Guarantees: every id that a process of this log writes stands in the log itself (`schema|<id>` on `<prefix>.identity`) before
//! the first record with it, so the log explains itself: also when the registry is away, lost, or not configured any more. An id
//! that stands for something else in the log than in the registry is refused, because readers elsewhere would misread one of both.
//! On failure: a registry that is away holds up the first start with a new schema, and records by ids that it alone knows; nothing
//! else.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemark_schemas::codec::fingerprint;
use tokio::sync::Mutex;

use super::frames::{Frames, Whose};
use super::identity::{Facts, Inner};
use super::registry::{Registry, RegistryOptions, subject_of};
use crate::port::{LogError, TopicSchema};

/// Ids, and where they come from.
pub(super) struct Framing {
    inner: Inner,
    registry: Option<Registry>,
    frames: Arc<Frames>,
    progress: Mutex<Progress>,
}

/// One at a time asks, so that nothing is asked twice.
struct Progress {
    /// How far the log's own topic was read.
    next: u64,
    declared: Vec<TopicSchema>,
}

/// A registered schema, as it stands in the log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Registered {
    pub(super) id: u32,
    pub(super) schema: String,
}

/// What a look at the registry found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryReport {
    /// Where it is, and how many schemas of this log it has.
    pub summary: String,
    /// What is wrong, with the remedy.
    pub problems: Vec<String>,
}

impl Framing {
    pub(super) fn new(
        inner: Inner,
        registry: Option<RegistryOptions>,
        frames: Arc<Frames>,
        facts: Facts,
    ) -> Result<Self, LogError> {
        let registry = registry.map(Registry::new).transpose()?;
        let next = facts.next;
        let framing = Self { inner, registry, frames, progress: Mutex::new(Progress { next, declared: Vec::new() }) };
        framing.take_in(facts)?;
        Ok(framing)
    }

    /// Takes in what stands in the log.
    fn take_in(&self, facts: Facts) -> Result<(), LogError> {
        for Registered { id, schema } in facts.schemas {
            let damaged = |why: &str| LogError::Damaged(format!("{} says of schema {id}: {why}", self.inner.topic()));
            let fingerprint = fingerprint(&schema).ok_or_else(|| damaged("it is no Avro schema"))?;
            if self.frames.known(id).is_some_and(|(known, _)| known != fingerprint) {
                return Err(damaged("it is two of them; the log was written with two registries at once"));
            }
            self.frames.learn(id, &schema, fingerprint, Whose::Ours);
            if self.registry.is_some() {
                self.frames.write(fingerprint, id);
            }
        }
        Ok(())
    }

    /// See [`crate::Log::declare_schemas`].
    pub(super) async fn declare(&self, schemas: &[TopicSchema]) -> Result<(), LogError> {
        let Some(registry) = &self.registry else { return Ok(()) };
        let mut progress = self.progress.lock().await;
        let wanted: Vec<_> = schemas.iter().filter(|schema| !progress.declared.contains(schema)).cloned().collect();
        let mut ids = Vec::with_capacity(wanted.len());
        for TopicSchema { topic, schema } in &wanted {
            match registry.register(topic, schema).await {
                Ok(id) => ids.push(id),
                Err(LogError::Unavailable { step, cause }) if wanted.iter().all(|one| self.frames.has_own(&one.schema)) => {
                    // asked again by the next process: nobody here waits for what nobody needs
                    tracing::warn!(step, %cause, "schema registry away; its ids stand in the log");
                    progress.declared.extend(wanted);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let mut found = Vec::with_capacity(ids.len());
        let mut new = Vec::new();
        for (TopicSchema { topic, schema }, id) in wanted.iter().zip(ids) {
            let Some(fingerprint) = fingerprint(schema) else {
                return Err(LogError::Settings(format!("the schema of {topic} is no Avro schema")));
            };
            match self.frames.known(id) {
                Some((known, other)) if known != fingerprint => {
                    return Err(LogError::Settings(another_registry(registry, &subject_of(topic), id, &other)));
                }
                Some((_, known)) if known == *schema && self.frames.has_own(schema) => {}
                _ => new.push(Registered { id, schema: schema.clone() }),
            }
            found.push((id, schema, fingerprint));
        }
        // In the log first, then on records.
        self.inner.put_schemas(&new).await?;
        for (id, schema, fingerprint) in found {
            self.frames.learn(id, schema, fingerprint, Whose::Ours);
            self.frames.write(fingerprint, id);
        }
        progress.declared.extend(wanted);
        Ok(())
    }

    /// Finds out what an id stands for; afterwards the table knows it or has given it up.
    pub(super) async fn learn(&self, id: u32) -> Result<(), LogError> {
        let mut progress = self.progress.lock().await;
        // Another process of this log may have registered it meanwhile.
        let facts = self.inner.look(Some(progress.next)).await?;
        progress.next = facts.next;
        self.take_in(facts)?;
        if self.frames.known(id).is_some() {
            return Ok(());
        }
        let schema = match &self.registry {
            Some(registry) => registry.schema(id).await?,
            None => None,
        };
        match schema.as_deref().and_then(|schema| Some((schema, fingerprint(schema)?))) {
            Some((schema, fingerprint)) => self.frames.learn(id, schema, fingerprint, Whose::Foreign),
            None => {
                tracing::warn!(id, "records are framed by an id that no schema registry explains");
                self.frames.give_up(id);
            }
        }
        Ok(())
    }

    /// Whether the registry knows this log's ids as the log does; `None` without one.
    pub(super) async fn check(&self) -> Result<Option<RegistryReport>, LogError> {
        let Some(registry) = &self.registry else { return Ok(None) };
        registry.reach().await?;
        let own = self.frames.own();
        let mut problems = Vec::new();
        for (id, known) in &own {
            match registry.schema(*id).await?.as_deref().map(fingerprint) {
                Some(Some(found)) if found == *known => {}
                Some(_) => problems.push(format!(
                    "id {id} stands for another schema there than in this log: it is not the registry that the log was written with"
                )),
                None => problems.push(format!(
                    "id {id} of this log is not there: readers elsewhere cannot read its records; put the registry's schemas back \
                     (its topic `_schemas`)"
                )),
            }
        }
        Ok(Some(RegistryReport { summary: format!("{}, {} schemas of this log", registry.url(), own.len()), problems }))
    }
}

fn another_registry(registry: &Registry, subject: &str, id: u32, other: &str) -> String {
    let other = serde_json::from_str::<serde_json::Value>(other).unwrap_or_default();
    let part = |name: &str| other[name].as_str().unwrap_or("?").to_owned();
    format!(
        "the schema registry at {} gives the id {id} to the schema of subject {subject}, but in this log that id stands for {}.{}: \
         it is not the registry that the log was written with, or that one was begun anew. Set `schema_registry.url` to the right \
         one, or put its schemas back (its topic `_schemas`); readers of the topics elsewhere would misread them",
        registry.url(),
        part("namespace"),
        part("name"),
    )
}
