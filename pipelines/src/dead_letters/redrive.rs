//! Sending a dead letter on its way again.

use std::borrow::Cow;

use tidemark_connector_core::progress::{EPOCH_SHIFT, take_epoch};
use tidemark_log::{Append, Log, LogError, ReadLimit, RecordBatch, Topics};
use tidemark_schemas::change::{Change, Operation, event_id};
use tidemark_schemas::codec::{DecodeError, decode_change, decode_state, encode_change, header};
use tidemark_schemas::{Catalog, Cell, Entity, State};
use uuid::Uuid;

use super::{DeadLetter, DeadLetterError, LetterStatus, from_hex, put_closed, show_open};
use crate::engine::schemas;

/// Begins the source name of what is published anew: each letter is a source of its own, so that letters which are sent on their way
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

/// Sends an open letter on its way again and closes it. `now` is when (UTC microseconds).
pub async fn redrive(log: &dyn Log, topics: &Topics, catalog: &Catalog, id: Uuid, now: i64) -> Result<Redrive, RedriveError> {
    let letter = show_open(log, topics, id).await?;
    let entity = catalog.entity(&letter.entity).ok_or_else(|| RedriveError::NoEntity(letter.entity.clone()))?;
    let of_source = *letter.topic == *topics.changes(&entity.name);
    let state = find_state(log, topics, entity, &letter).await?;
    let state = match &state {
        None => None,
        Some(record) => {
            let state = decode_state(catalog, entity, record.get(0).value);
            Some(state.map_err(|cause| RedriveError::Undecodable { id, cause })?)
        }
    };
    schemas::declare(log, topics, catalog).await?;
    let source = format!("{SOURCE}/{id}");
    // Two who send the same letter at once may take the same number: then the fold takes one of them.
    let source_seq = take_epoch(log, topics, &source).await? << EPOCH_SHIFT;
    let bytes = if of_source { Some(original(log, &letter).await?) } else { None };
    let change = match (&bytes, &state) {
        (Some(bytes), _) => {
            let change = match decode_change(catalog, entity, bytes) {
                Err(DecodeError::UnknownSchema(fingerprint)) if schemas::learn_foreign(log, catalog, fingerprint) => {
                    decode_change(catalog, entity, bytes)
                }
                decoded => decoded,
            };
            let change = change.map_err(|cause| RedriveError::Undecodable { id, cause })?;
            publish_anew(change, &source, source_seq, now)
        }
        (None, Some(state)) => ask_for_state(entity, state, &source, source_seq, now),
        (None, None) => return Err(RedriveError::NoState(letter.key)),
    };
    let changed_since = of_source && state.is_some_and(|state| state.position.1 > letter.offset);
    // All topics of an entity have the same partitions.
    let partition = letter.partition;
    let mut append = Append::default();
    let topic = topics.changes(&entity.name);
    append.record(&topic, partition, change.key.as_bytes(), |out| encode_change(entity, &change, out));
    put_closed(&mut append, topics, &letter, LetterStatus::Redriven);
    let offsets = log.append(append).await?;
    Ok(Redrive { published: (topic.to_string(), partition, offsets[0]), changed_since })
}

/// The same change as one of our own source, so that no mark or claim of the old one is touched.
fn publish_anew<'a>(change: Change<'a>, source: &'a str, source_seq: u64, now: i64) -> Change<'a> {
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
fn ask_for_state<'a>(entity: &Entity, state: &State<'a>, source: &'a str, source_seq: u64, now: i64) -> Change<'a> {
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

/// The last state record of the letter's key, alone in a batch.
async fn find_state(
    log: &dyn Log,
    topics: &Topics,
    entity: &Entity,
    letter: &DeadLetter,
) -> Result<Option<RecordBatch>, LogError> {
    let topic = topics.state(&entity.name);
    let mut found = None;
    let mut offset = log.bounds(&topic, letter.partition).await?.start;
    loop {
        let records = log.read(&topic, letter.partition, offset, SCAN_LIMIT).await?;
        let Some(next) = records.next_offset() else { return Ok(found) };
        for record in records.iter().filter(|record| record.key == letter.key.as_bytes()) {
            let mut alone = RecordBatch::default();
            alone.push(record.offset, record.timestamp, record.key, record.value);
            found = Some(alone);
        }
        offset = next;
    }
}
