//! What a log says of itself: which log this is, and by which schemas of a registry its records are framed. A compacted topic.
//!
//! Every process that finds no identity writes one under its own random id and reads again: the first one wins for all, and since
//! each has a key of its own, compaction keeps them in that order. A raised generation is a record under the key `generation`, a
//! registered schema one under `schema|<id>`, a copy from elsewhere one under `copy`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::broker::Broker;
use super::framing::Registered;
use super::lanes::Lanes;
use super::plain::PlainProducer;
use crate::blocking::blocking;
use crate::port::{LogError, LogIdentity, ReadLimit};
use crate::record::{Append, RecordRef};

/// Key of the records that raise the generation.
const GENERATION: &str = "generation";
/// Key of the records of a copy into this log.
const COPY: &str = "copy";
/// What the keys of registered schemas begin with.
const SCHEMA: &str = "schema|";
/// The topic has a few dozen records; larger reads would change nothing.
const LIMIT: ReadLimit = ReadLimit { records_max: 1_000, bytes_max: 1 << 20 };

/// `<prefix>.identity`.
pub(super) fn topic(prefix: &str) -> String {
    format!("{prefix}.identity")
}

/// The way to that topic.
#[derive(Clone)]
pub(super) struct Inner {
    pub(super) broker: Arc<Broker>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) plain: Arc<PlainProducer>,
    pub(super) prefix: String,
}

/// What stands there.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) identity: Option<LogIdentity>,
    pub(super) schemas: Vec<Registered>,
    pub(super) copy: Option<CopyRecord>,
    /// Where to look on.
    pub(super) next: u64,
}

/// A copy of a log into this one, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopyRecord {
    /// Of which log. That of another one says nothing here: somebody made this log while that copy began.
    pub(super) log: Uuid,
    /// Where the copied log ended, summed over its partitions; `None` = the copy is not finished.
    pub(super) finished: Option<u64>,
}

impl Facts {
    /// The copy that made this log, if one did.
    pub(super) fn copy_of(&self, log: Uuid) -> Option<&CopyRecord> {
        self.copy.as_ref().filter(|copy| copy.log == log)
    }
}

impl Inner {
    pub(super) fn topic(&self) -> String {
        topic(&self.prefix)
    }

    /// The facts, with the log's identity; made when there is none.
    pub(super) async fn look_or_make(&self) -> Result<(Facts, LogIdentity), LogError> {
        let facts = self.look(None).await?;
        if let Some(identity) = facts.identity {
            return Ok((facts, identity));
        }
        let mine = LogIdentity { id: Uuid::new_v4(), generation: 0 };
        self.put(&[(mine.id.to_string(), mine)]).await?;
        // somebody else may have been first
        let facts = self.look(None).await?;
        let identity = facts.identity.ok_or_else(|| LogError::Unavailable {
            step: format!("reading {}", self.topic()),
            cause: "the record that was just written is not there".into(),
        })?;
        Ok((facts, identity))
    }

    /// Makes the log that another one is copied into, under that one's id. That it is not whole is said before it has an identity.
    pub(super) async fn begin_copy(&self, identity: LogIdentity) -> Result<(), LogError> {
        self.put_copy(CopyRecord { log: identity.id, finished: None }).await?;
        self.put(&[(identity.id.to_string(), identity)]).await
    }

    /// Says how far a copy is.
    pub(super) async fn put_copy(&self, copy: CopyRecord) -> Result<(), LogError> {
        self.put(&[(COPY.to_owned(), copy)]).await
    }

    /// Writes the identity with a raised generation.
    pub(super) async fn raise(&self, identity: LogIdentity) -> Result<(), LogError> {
        self.put(&[(GENERATION.to_owned(), identity)]).await
    }

    /// Writes registered schemas.
    pub(super) async fn put_schemas(&self, schemas: &[Registered]) -> Result<(), LogError> {
        let keyed: Vec<_> = schemas.iter().map(|registered| (format!("{SCHEMA}{}", registered.id), registered)).collect();
        self.put(&keyed).await
    }

    async fn put(&self, facts: &[(String, impl Serialize)]) -> Result<(), LogError> {
        let mut append = Append::default();
        for (key, fact) in facts {
            let text = serde_json::to_vec(fact).expect("a fact is plain data");
            append.record(&self.topic().into(), 0, key.as_bytes(), |out| out.extend_from_slice(&text));
        }
        if append.is_empty() {
            return Ok(());
        }
        let plain = Arc::clone(&self.plain);
        blocking("writing what the log says of itself", move || plain.append(&append, &[])).await.map(|_| ())
    }

    /// Reads on from there; the whole topic from `None`.
    pub(super) async fn look(&self, from: Option<u64>) -> Result<Facts, LogError> {
        let topic = self.topic();
        let (asked, of) = (Arc::clone(&self.broker), topic.clone());
        let bounds = blocking("reading what the log says of itself", move || asked.bounds(&of, 0)).await?;
        let mut facts = Facts { next: from.unwrap_or(bounds.start), ..Facts::default() };
        let mut generation = 0;
        loop {
            let batch = self.lanes.read(&topic, 0, facts.next, LIMIT).await?.batch;
            for record in batch.iter() {
                if record.key.starts_with(SCHEMA.as_bytes()) {
                    facts.schemas.push(self.parsed(record)?);
                    continue;
                }
                if record.key == COPY.as_bytes() {
                    facts.copy = Some(self.parsed(record)?);
                    continue;
                }
                let identity: LogIdentity = self.parsed(record)?;
                if record.key == GENERATION.as_bytes() {
                    generation = generation.max(identity.generation);
                } else if facts.identity.is_none() {
                    facts.identity = Some(identity);
                }
            }
            let Some(next) = batch.next_offset() else { break };
            facts.next = next;
        }
        if let Some(identity) = &mut facts.identity {
            identity.generation = identity.generation.max(generation);
        }
        Ok(facts)
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, record: RecordRef<'_>) -> Result<T, LogError> {
        serde_json::from_slice(record.value).map_err(|_| {
            let (topic, offset, prefix) = (self.topic(), record.offset, &self.prefix);
            let text =
                format!("{topic} offset {offset} says nothing of a log; is the prefix `{prefix}` used by another program?");
            LogError::Damaged(text)
        })
    }
}
