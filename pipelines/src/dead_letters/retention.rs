//! Which dead letters are past their time: those that were closed long enough ago. Open ones wait for ever.
//!
//! The topic is read twice, so that what is held is bounded by what one round removes and not by how many letters wait: first for
//! the letters whose last record closed them, then for all their records. A record that cannot be read (another version wrote it)
//! is left where it is, and the letter with it if it is that one's last; the others come to their end all the same.

use std::collections::HashSet;

use serde::Deserialize;
use tidemark_log::{Log, ReadLimit, Topics};

use super::{DeadLetterError, LetterStatus};

/// What one read takes: letters hold the bytes of what was refused.
const LIMIT: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 8 << 20 };

/// What of a letter says whether it may go.
#[derive(Deserialize)]
struct Status {
    status: LetterStatus,
}

/// The offsets, ascending, of every record of the letters that were closed before `time` (UTC microseconds), of `letters_max`
/// letters at most; the others are for the next round.
pub async fn closed_before(log: &dyn Log, topics: &Topics, time: i64, letters_max: usize) -> Result<Vec<u64>, DeadLetterError> {
    let topic = &topics.dead_letters;
    let start = log.bounds(topic, 0).await?.start;
    let mut past: HashSet<Vec<u8>> = HashSet::new();
    let (mut unreadable, mut first_unreadable) = (0_u64, start);
    let mut end = start;
    loop {
        let batch = log.read(topic, 0, end, LIMIT).await?;
        let Some(next) = batch.next_offset() else { break };
        for record in batch.iter() {
            let read = serde_json::from_slice::<Status>(record.value);
            if read.is_err() {
                first_unreadable = if unreadable == 0 { record.offset } else { first_unreadable };
                unreadable += 1;
            }
            let is_past = read.is_ok_and(|read| read.status != LetterStatus::Open && record.timestamp < time);
            if !is_past {
                // A store that is filled anew may refuse once more what was closed before.
                past.remove(record.key);
            } else if past.len() < letters_max {
                past.insert(record.key.to_vec());
            }
        }
        end = next;
    }
    if unreadable > 0 {
        let (count, offset) = (unreadable, first_unreadable);
        tracing::warn!(%topic, offset, count, "dead letters cannot be read and are kept; the first stands here");
    }
    offsets_of(log, topic, &past, start, end).await
}

/// Where the records of these letters stand. What was added after `end` is not looked at: it may have opened one of them again.
async fn offsets_of(
    log: &dyn Log,
    topic: &str,
    letters: &HashSet<Vec<u8>>,
    start: u64,
    end: u64,
) -> Result<Vec<u64>, DeadLetterError> {
    let (mut offsets, mut from) = (Vec::new(), start);
    while !letters.is_empty() && from < end {
        let batch = log.read(topic, 0, from, LIMIT).await?;
        let Some(next) = batch.next_offset() else { break };
        let of_letters = batch.iter().filter(|record| record.offset < end && letters.contains(record.key));
        offsets.extend(of_letters.map(|record| record.offset));
        from = next;
    }
    Ok(offsets)
}
