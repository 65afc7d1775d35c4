//! Records of the progress topic: small JSON documents under a key, the last one counts.
//!
//! Keys: `epoch|<source>`, `mark|<source>|<change topic>|<partition>` (the fold's high-water marks), `schema|<fingerprint>`
//! (writer schemas: `{entity, schema}`), `claim|<claim>` (the ledger), `scan-request|<id>` and `scan-answer|<id>`,
//! `build|<role>` (which build of a store is current, and whether it is to be emptied).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidemark_log::{Append, Log, LogError, ReadLimit, Topics};

/// Bits of a source number that count within an epoch.
pub const EPOCH_SHIFT: u32 = 40;

/// `epoch|<source>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Rises at every start of the source.
    pub epoch: u64,
}

/// `mark|…`: the highest source number that the fold has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Source number.
    pub source_seq: u64,
}

/// Key of a mark.
pub fn mark_key(source: &str, topic: &str, partition: u32) -> String {
    format!("mark|{source}|{topic}|{partition}")
}

/// Key of a source's epoch.
pub fn epoch_key(source: &str) -> String {
    format!("epoch|{source}")
}

/// Puts a progress record into an append.
pub fn put(append: &mut Append, topics: &Topics, key: &str, value: &impl Serialize) {
    append.record(&topics.progress, 0, key.as_bytes(), |out| {
        serde_json::to_writer(out, value).expect("progress records are plain data and a Vec takes every write");
    });
}

/// The last value of every key that starts with `prefix`, as JSON text. Reads the whole (compacted) topic.
pub async fn load(log: &dyn Log, topics: &Topics, prefix: &str) -> Result<BTreeMap<String, String>, LogError> {
    load_topic(log, &topics.progress, prefix).await
}

/// The same for any one-partition compacted topic of JSON documents.
pub async fn load_topic(log: &dyn Log, topic: &str, prefix: &str) -> Result<BTreeMap<String, String>, LogError> {
    const LIMIT: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 8 << 20 };
    let mut found = BTreeMap::new();
    let mut offset = log.bounds(topic, 0).await?.start;
    loop {
        let batch = log.read(topic, 0, offset, LIMIT).await?;
        let Some(next) = batch.next_offset() else {
            return Ok(found);
        };
        for record in batch.iter() {
            let key = String::from_utf8_lossy(record.key);
            if key.starts_with(prefix) {
                found.insert(key.into_owned(), String::from_utf8_lossy(record.value).into_owned());
            }
        }
        offset = next;
    }
}

/// Takes the next epoch of a source: reads the last one, appends one more.
pub async fn take_epoch(log: &dyn Log, topics: &Topics, source: &str) -> Result<u64, LogError> {
    let key = epoch_key(source);
    let last = load(log, topics, &key).await?.remove(&key);
    // Starting again from 1 would make new changes look like repeats, so what cannot be read must stop the source.
    let last = match last.map(|text| serde_json::from_str::<Epoch>(&text)) {
        None => 0,
        Some(Ok(epoch)) => epoch.epoch,
        Some(Err(error)) => {
            let problem =
                format!("the record `{key}` of {} cannot be read ({error}); restore the log from a backup", topics.progress);
            return Err(LogError::Damaged(problem));
        }
    };
    let mut append = Append::default();
    put(&mut append, topics, &key, &Epoch { epoch: last + 1 });
    log.append(append).await?;
    Ok(last + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidemark_log::memory::{MemoryLog, MemoryOptions};
    use tidemark_log::{Append, Log, Topics};

    use super::{load, put, take_epoch};

    async fn log() -> (MemoryLog, Topics) {
        let (log, topics) = (MemoryLog::new(MemoryOptions::default()), Topics::new("t"));
        log.create_topics(&topics.specs([], 1)).await.unwrap();
        (log, topics)
    }

    #[tokio::test]
    async fn epochs_rise_for_each_source() {
        let (log, topics) = log().await;
        assert_eq!(take_epoch(&log, &topics, "file").await.unwrap(), 1);
        assert_eq!(take_epoch(&log, &topics, "file").await.unwrap(), 2);
        // `file` is the start of this name, not its epoch.
        assert_eq!(take_epoch(&log, &topics, "filed").await.unwrap(), 1);
        assert_eq!(take_epoch(&log, &topics, "file").await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_damaged_epoch_stops_the_source() {
        let (log, topics) = log().await;
        let mut append = Append::default();
        put(&mut append, &topics, "epoch|file", &json!({"epoch": "x"}));
        log.append(append).await.unwrap();
        assert!(matches!(take_epoch(&log, &topics, "file").await, Err(tidemark_log::LogError::Damaged(_))));
    }

    #[tokio::test]
    async fn the_last_value_of_a_key_counts() {
        let (log, topics) = log().await;
        for (key, value) in [("a|1", 1), ("b|1", 2), ("a|1", 3), ("a|2", 4)] {
            let mut append = Append::default();
            put(&mut append, &topics, key, &json!({ "value": value }));
            log.append(append).await.unwrap();
        }
        let found = load(&log, &topics, "a|").await.unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, [("a|1", r#"{"value":3}"#), ("a|2", r#"{"value":4}"#)]);
    }
}
