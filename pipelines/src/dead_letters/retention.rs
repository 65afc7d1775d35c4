//! Which dead letters are past their time: those that were closed long enough ago. Open ones wait for ever.

use std::collections::HashMap;

use serde::Deserialize;
use tidemark_log::{Log, ReadLimit, Topics};

use super::{DeadLetterError, LetterStatus, unreadable};

/// What one read takes: letters hold the bytes of what was refused.
const LIMIT: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 8 << 20 };

/// What of a letter says whether it may go.
#[derive(Deserialize)]
struct Status {
    status: LetterStatus,
}

/// The records of one letter.
#[derive(Default)]
struct Records {
    offsets: Vec<u64>,
    /// The last one closed it, before the time asked for.
    is_past: bool,
}

/// The offsets, ascending, of every record of the letters that were closed before `time` (UTC microseconds).
pub async fn closed_before(log: &dyn Log, topics: &Topics, time: i64) -> Result<Vec<u64>, DeadLetterError> {
    let mut letters: HashMap<Vec<u8>, Records> = HashMap::new();
    let mut offset = log.bounds(&topics.dead_letters, 0).await?.start;
    loop {
        let batch = log.read(&topics.dead_letters, 0, offset, LIMIT).await?;
        let Some(next) = batch.next_offset() else { break };
        for record in batch.iter() {
            let read: Status =
                serde_json::from_slice(record.value).map_err(|cause| unreadable(&String::from_utf8_lossy(record.key), cause))?;
            let records = letters.entry(record.key.to_vec()).or_default();
            records.offsets.push(record.offset);
            records.is_past = read.status != LetterStatus::Open && record.timestamp < time;
        }
        offset = next;
    }
    let mut offsets: Vec<u64> =
        letters.into_values().filter(|records| records.is_past).flat_map(|records| records.offsets).collect();
    offsets.sort_unstable();
    Ok(offsets)
}
