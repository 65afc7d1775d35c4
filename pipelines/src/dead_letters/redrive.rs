//! Sending dead letters on their way again.

use std::borrow::Cow;
use std::collections::HashMap;

use tidemark_log::{Append, Log, LogError, ReadLimit, Topics};
use tidemark_schemas::change::{Change, Operation, event_id};
use tidemark_schemas::codec::{DecodeError, decode_change, decode_state, encode_change, header};
use tidemark_schemas::{Catalog, Cell, Entity, State};
use uuid::Uuid;

use super::{DeadLetter, DeadLetterError, LetterStatus, find, from_hex, put_closed};
use crate::engine::schemas;

/// Begins the source name of what is published anew: each call is a source of its own, so that letters which are sent on their way
/// at the same time, by whomever, do not make repeats of each other.
const SOURCE: &str = "redrive";
/// How much of a topic is read at once when a record is looked for.
const SCAN_LIMIT: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 4 << 20 };

/// What a redrive did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// Where the new change stands: topic, partition, offset.
    pub published: (String, u32, u64),
    /// A letter of a source: the key has been changed by somebody else since the letter was written, so the operator should
    /// look whether the old change did harm.
    pub changed_since: bool,
}

/// Why a letter was not sent on its way. It stays open.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// Reading or closing it.
    #[error(transparent)]
    Letter(#[from] DeadLetterError),
    /// Its entity is not known here.
    #[error("there is no entity `{0}` here; put its .avsc into the schema folder of the configuration")]
    NoEntity(String),
    /// Its bytes are gone.
    #[error("the record of the dead letter `{0}` is not on its topic any more; discard the letter")]
    Gone(Uuid),
    /// Its bytes are still not to be read.
    #[error("the record of the dead letter `{id}` still cannot be read; discard the letter, and send the record again")]
    Undecodable {
        /// The letter.
        id: Uuid,
        /// Why.
        #[source]
        cause: DecodeError,
    },
    /// The key has no state that could be applied.
    #[error("`{0}` has no state; discard the letter")]
    NoState(String),
}

impl From<LogError> for RedriveError {
    fn from(error: LogError) -> Self {
        Self::Letter(error.into())
    }
}

/// Letters that one call is best given: they are in memory and appended at once, and the topics are read through for each call.
pub const LETTERS_MAX: usize = 1_000;

/// What came of each letter.
pub type Redriven = Vec<(Uuid, Result<Redrive, RedriveError>)>;

/// Sends open letters on their way again, in this order, and closes them. `run` is drawn anew for each
/// call, `now` is when (UTC microseconds). What is published is in the log before its letters are closed: after a failure in
/// between they are open, and may be sent again.
pub async fn redrive(
    log: &dyn Log,
    topics: &Topics,
    catalog: &Catalog,
    ids: &[Uuid],
    run: Uuid,
    now: i64,
) -> Result<Redriven, DeadLetterError> {
    let letters = find(log, topics, ids).await?;
    let states = States::read(log, topics, catalog, letters.iter().filter_map(|letter| letter.as_ref().ok())).await?;
    schemas::declare(log, topics, catalog).await?;
    let source = format!("{SOURCE}/{run}");
    let (mut changes, mut closings) = (Append::default(), Append::default());
    let mut sent = Vec::with_capacity(ids.len());
    for (id, letter) in ids.iter().zip(letters) {
        let prepared = match letter {
            Err(error) => Err(error.into()),
            Ok(letter) => {
                let numbered = Numbered { source: &source, source_seq: changes.len() as u64 + 1, now };
                put_anew(log, topics, catalog, &states, &letter, numbered, &mut changes)
                    .await
                    .map(|changed_since| (letter, changed_since))
            }
        };
        let prepared = prepared.map(|(letter, changed_since)| {
            put_closed(&mut closings, topics, &letter, LetterStatus::Redriven);
            (topics.changes(&letter.entity).to_string(), letter.partition, changed_since)
        });
        sent.push((*id, prepared));
    }
    let mut offsets = log.append(changes).await?.into_iter();
    log.append(closings).await?;
    let redriven = sent.into_iter().map(|(id, prepared)| {
        let redrive = prepared.map(|(topic, partition, changed_since)| {
            let offset = offsets.next().expect("each that was prepared is one record");
            Redrive { published: (topic, partition, offset), changed_since }
        });
        (id, redrive)
    });
    Ok(redriven.collect())
}

/// Under which number a change is published, and when.
#[derive(Clone, Copy)]
struct Numbered<'s> {
    source: &'s str,
    source_seq: u64,
    now: i64,
}

/// Puts what a letter is about into the append, as one change. Says whether the key has been changed since.
async fn put_anew(
    log: &dyn Log,
    topics: &Topics,
    catalog: &Catalog,
    states: &States,
    letter: &DeadLetter,
    numbered: Numbered<'_>,
    changes: &mut Append,
) -> Result<bool, RedriveError> {
    let id = letter.id;
    let entity = catalog.entity(&letter.entity).ok_or_else(|| RedriveError::NoEntity(letter.entity.clone()))?;
    let of_source = *letter.topic == *topics.changes(&entity.name);
    let state = match states.of(letter) {
        None => None,
        Some(bytes) => Some(decode_state(catalog, entity, bytes).map_err(|cause| RedriveError::Undecodable { id, cause })?),
    };
    let bytes = if of_source { Some(original(log, letter).await?) } else { None };
    let change = match (&bytes, &state) {
        (Some(bytes), _) => {
            let change = match decode_change(catalog, entity, bytes) {
                Err(DecodeError::UnknownSchema(fingerprint)) if schemas::learn_foreign(log, catalog, fingerprint) => {
                    decode_change(catalog, entity, bytes)
                }
                decoded => decoded,
            };
            publish_anew(change.map_err(|cause| RedriveError::Undecodable { id, cause })?, numbered)
        }
        (None, Some(state)) => ask_for_state(entity, state, numbered),
        (None, None) => return Err(RedriveError::NoState(letter.key.clone())),
    };
    // All topics of an entity have the same partitions.
    let topic = topics.changes(&entity.name);
    changes.record(&topic, letter.partition, change.key.as_bytes(), |out| encode_change(entity, &change, out));
    Ok(of_source && state.is_some_and(|state| state.position.1 > letter.offset))
}

/// The same change as one of our own source, so that no mark or claim of the old one is touched.
fn publish_anew<'a>(change: Change<'a>, numbered: Numbered<'a>) -> Change<'a> {
    let Numbered { source, source_seq, now } = numbered;
    Change {
        source: Cow::Borrowed(source),
        source_seq,
        snapshot: false,
        ingested_at: now,
        event_id: event_id(source, source_seq),
        claim: Cow::Borrowed(""),
        ..change
    }
}

/// A change that names no field: the fold answers with the state as it is.
fn ask_for_state<'a>(entity: &Entity, state: &State<'a>, numbered: Numbered<'a>) -> Change<'a> {
    let Numbered { source, source_seq, now } = numbered;
    // What stands outside the mask is ignored, but fields of the key may not be null in the encoding.
    let of_key = |position| entity.key.iter().any(|path| path.positions.first() == Some(&position));
    let row = state.row.iter().enumerate().map(|(position, cell)| if of_key(position) { cell.clone() } else { Cell::Null });
    Change {
        key: state.key.clone(),
        tenant: state.tenant.clone(),
        operation: Operation::Update,
        mask: Vec::new(),
        row: Some(row.collect()),
        source: Cow::Borrowed(source),
        source_seq,
        snapshot: false,
        row_hash: 0,
        occurred_at: None,
        ingested_at: now,
        event_id: event_id(source, source_seq),
        claim: Cow::Borrowed(""),
    }
}

/// The bytes that were refused: from the letter, else from where they stand.
async fn original(log: &dyn Log, letter: &DeadLetter) -> Result<Vec<u8>, RedriveError> {
    if let Some(bytes) = letter.payload.as_deref().and_then(from_hex)
        // what nobody could explain then may be explained by now where it stands
        && header::framed(&bytes).is_none()
    {
        return Ok(bytes);
    }
    let limit = ReadLimit { records_max: 1, bytes_max: 1 };
    let records = log.read(&letter.topic, letter.partition, letter.offset, limit).await?;
    match records.iter().next() {
        Some(record) if record.offset == letter.offset => Ok(record.value.to_vec()),
        _ => Err(RedriveError::Gone(letter.id)),
    }
}

/// Last state records of keys.
struct States(HashMap<(String, u32), ByKey>);

/// Of one partition of an entity: the last record of each key that is wanted.
type ByKey = HashMap<String, Option<Vec<u8>>>;

impl States {
    /// Reads those of the letters' keys, each partition once.
    async fn read<'l>(
        log: &dyn Log,
        topics: &Topics,
        catalog: &Catalog,
        letters: impl Iterator<Item = &'l DeadLetter>,
    ) -> Result<Self, LogError> {
        let mut wanted: HashMap<(String, u32), ByKey> = HashMap::new();
        for letter in letters.filter(|letter| catalog.entity(&letter.entity).is_some()) {
            wanted.entry((letter.entity.clone(), letter.partition)).or_default().insert(letter.key.clone(), None);
        }
        for ((entity, partition), keys) in &mut wanted {
            let topic = topics.state(entity);
            let mut offset = log.bounds(&topic, *partition).await?.start;
            loop {
                let records = log.read(&topic, *partition, offset, SCAN_LIMIT).await?;
                let Some(next) = records.next_offset() else { break };
                for record in records.iter() {
                    if let Some(found) = std::str::from_utf8(record.key).ok().and_then(|key| keys.get_mut(key)) {
                        *found = Some(record.value.to_vec());
                    }
                }
                offset = next;
            }
        }
        Ok(Self(wanted))
    }

    fn of(&self, letter: &DeadLetter) -> Option<&[u8]> {
        self.0.get(&(letter.entity.clone(), letter.partition))?.get(&letter.key)?.as_deref()
    }
}
