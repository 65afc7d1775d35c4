//! Dead letters: records that the fold or a store refused, kept with their bytes until somebody has dealt with each.
//!
//! On the dead-letter topic, keyed by an id made of the stage and the record's position, so that a refusal that is repeated
//! after a crash is the same letter. A letter is closed by a record that supersedes it under the same id, so the number of open
//! ones returns to zero.
//!
//! *Redrive.* A letter of a source (its change was refused by the fold) is published anew as a change of another source,
//! `redrive/<run>`, and the answer says whether the key has changed since. A letter of a sink asks in the same way for the key's
//! *current* state: a change that names no field makes the fold write the state once more with the same version, which every store already has but the one
//! that refused it. Only the fold writes states, so an old one can never come to lie behind a newer one. Either way the letter
//! is closed when the change is in the log; what is refused again becomes a new letter.

mod redrive;
mod retention;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tidemark_connector_core::progress;
use tidemark_log::{Append, Log, LogError, RECORD_BYTES_MAX, ReadLimit, Topics};
use uuid::Uuid;

pub use redrive::{LETTERS_MAX, Redrive, RedriveError, Redriven, redrive};
pub use retention::closed_before;

/// Longest payload that is kept as hexadecimal text within one record; a longer one is found by its position.
const PAYLOAD_BYTES_MAX: usize = RECORD_BYTES_MAX / 2 - 64 * 1024;

/// What has become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterStatus {
    /// Nobody has dealt with it.
    Open,
    /// It was sent on its way again.
    Redriven,
    /// Somebody decided that it is not needed.
    Discarded,
}

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id: [`letter_id`].
    pub id: Uuid,
    /// Who refused it: `fold`, `sink.vector`.
    pub stage: String,
    /// Entity.
    pub entity: String,
    /// Topic that it stands on: of changes for the fold, of states for a sink.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// Record key.
    pub key: String,
    /// Short code: `unknown_key`, `undecodable` …
    pub reason: String,
    /// For a person.
    pub detail: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The original bytes in hexadecimal; `None` when they are too long for one record (the position finds them).
    pub payload: Option<String>,
    /// What has become of it.
    pub status: LetterStatus,
}

/// The id of the letter that a stage writes for a record.
pub fn letter_id(stage: &str, topic: &str, partition: u32, offset: u64) -> Uuid {
    /// Our own name space for letters; fixed for ever.
    const LETTER_SPACE: Uuid = Uuid::from_u128(0x7469_6465_6d61_726b_0002_6c65_7474_6572);
    Uuid::new_v5(&LETTER_SPACE, format!("{stage}|{topic}|{partition}|{offset}").as_bytes())
}

/// A record that is refused: where it stands and what it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused<'a> {
    pub(crate) stage: &'a str,
    pub(crate) entity: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// Puts an open letter into an append.
pub(crate) fn put_open(append: &mut Append, topics: &Topics, refused: Refused<'_>, reason: &str, detail: &str) {
    let letter = DeadLetter {
        id: letter_id(refused.stage, refused.topic, refused.partition, refused.offset),
        stage: refused.stage.to_owned(),
        entity: refused.entity.to_owned(),
        topic: refused.topic.to_owned(),
        partition: refused.partition,
        offset: refused.offset,
        key: String::from_utf8_lossy(refused.key).into_owned(),
        reason: reason.to_owned(),
        detail: detail.to_owned(),
        attempts: 1,
        payload: (refused.value.len() <= PAYLOAD_BYTES_MAX).then(|| to_hex(refused.value)),
        status: LetterStatus::Open,
    };
    put(append, topics, &letter);
}

fn put(append: &mut Append, topics: &Topics, letter: &DeadLetter) {
    append.record(&topics.dead_letters, 0, letter.id.to_string().as_bytes(), |out| {
        serde_json::to_writer(out, letter).expect("a letter is plain data and a Vec takes every write");
    });
}

/// Puts the end of a letter into an append; its payload is not needed any more.
fn put_closed(append: &mut Append, topics: &Topics, letter: &DeadLetter, status: LetterStatus) {
    put(append, topics, &DeadLetter { status, payload: None, ..letter.clone() });
}

/// Why letters could not be read or closed.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record of the dead-letter topic that is no letter.
    #[error("the dead letter `{id}` cannot be read; it was written by another version of this program")]
    Unreadable {
        /// Its key.
        id: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// No such letter.
    #[error("there is no dead letter `{0}`; `dead-letters list` shows those that are open")]
    Unknown(Uuid),
    /// It was closed before.
    #[error("the dead letter `{0}` is closed already")]
    Closed(Uuid),
}

/// All letters that are open, in the order of their positions.
pub async fn list(log: &dyn Log, topics: &Topics) -> Result<Vec<DeadLetter>, DeadLetterError> {
    let mut letters = Vec::new();
    for (id, text) in progress::load_topic(log, &topics.dead_letters, "").await? {
        let letter = parse(&id, &text)?;
        if letter.status == LetterStatus::Open {
            letters.push(letter);
        }
    }
    letters.sort_by(|one, other| {
        (&one.stage, &one.topic, one.partition, one.offset).cmp(&(&other.stage, &other.topic, other.partition, other.offset))
    });
    Ok(letters)
}

/// How many letters of each stage are open.
pub async fn count_open(log: &dyn Log, topics: &Topics) -> Result<BTreeMap<String, u64>, DeadLetterError> {
    let mut counts = BTreeMap::new();
    for letter in list(log, topics).await? {
        *counts.entry(letter.stage).or_default() += 1;
    }
    Ok(counts)
}

/// One letter, open or closed.
pub async fn show(log: &dyn Log, topics: &Topics, id: Uuid) -> Result<DeadLetter, DeadLetterError> {
    let key = id.to_string();
    match progress::load_topic(log, &topics.dead_letters, &key).await?.get(&key) {
        Some(text) => parse(&key, text),
        None => Err(DeadLetterError::Unknown(id)),
    }
}

/// Closes a letter without doing anything about it.
pub async fn discard(log: &dyn Log, topics: &Topics, id: Uuid) -> Result<(), DeadLetterError> {
    let letter = show_open(log, topics, id).await?;
    let mut append = Append::default();
    put_closed(&mut append, topics, &letter, LetterStatus::Discarded);
    log.append(append).await?;
    Ok(())
}

async fn show_open(log: &dyn Log, topics: &Topics, id: Uuid) -> Result<DeadLetter, DeadLetterError> {
    find(log, topics, &[id]).await?.remove(0)
}

/// These letters, in their order; what is not open is an error in its place. Reads the topic once and keeps no others.
async fn find(log: &dyn Log, topics: &Topics, ids: &[Uuid]) -> Result<Vec<Result<DeadLetter, DeadLetterError>>, LogError> {
    const LIMIT: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 8 << 20 };
    let mut found: HashMap<String, Option<String>> = ids.iter().map(|id| (id.to_string(), None)).collect();
    let mut offset = log.bounds(&topics.dead_letters, 0).await?.start;
    loop {
        let records = log.read(&topics.dead_letters, 0, offset, LIMIT).await?;
        let Some(next) = records.next_offset() else { break };
        for record in records.iter() {
            if let Some(text) = std::str::from_utf8(record.key).ok().and_then(|key| found.get_mut(key)) {
                *text = Some(String::from_utf8_lossy(record.value).into_owned());
            }
        }
        offset = next;
    }
    let letter = |id: &Uuid| {
        let key = id.to_string();
        let text = found.get(&key).and_then(Option::as_deref).ok_or(DeadLetterError::Unknown(*id))?;
        let letter = parse(&key, text)?;
        if letter.status == LetterStatus::Open { Ok(letter) } else { Err(DeadLetterError::Closed(*id)) }
    };
    Ok(ids.iter().map(letter).collect())
}

fn parse(id: &str, text: &str) -> Result<DeadLetter, DeadLetterError> {
    serde_json::from_str(text).map_err(|cause| unreadable(id, cause))
}

fn unreadable(id: &str, cause: serde_json::Error) -> DeadLetterError {
    DeadLetterError::Unreadable { id: id.to_owned(), cause }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{from_hex, letter_id, to_hex};

    proptest! {
        #[test]
        fn hexadecimal_text_is_read_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn ids_are_fixed_for_ever() {
        let id = letter_id("sink.graph", "tidemark.state.customer", 2, 77);
        assert_eq!(id, letter_id("sink.graph", "tidemark.state.customer", 2, 77));
        assert_ne!(id, letter_id("sink.vector", "tidemark.state.customer", 2, 77));
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("abc"), None);
    }
}
