//! Retention by age and compaction by key, beside running appends.
//!
//! Guarantees: of a compacted topic the last record of each key stays, so a consumer that comes late still arrives at the same
//! state; by age, no record goes that a stored consumer position has not passed. Each transaction removes a bounded number of
//! records and queues with the appends; memory is bounded by the number of keys that one pass looks at.
//! How compaction works: it notes the last offset of each key among the records that are new since the last time, then
//! walks from the start and removes what has a later record. When the keys are too many to note at once, it does so in sections.
//! On failure: what was removed stays removed, the rest is done the next time. Two processes may do this at once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use rusqlite::{Connection, params};

use super::check::{Described, describe};
use super::place::Place;
use super::reader::{Readers, offset_at};
use super::writer::Writer;
use crate::port::{LogError, Retention};
use crate::refusal::no_such;

/// Keys that one section notes, about 20 bytes each: fewer means more walks over the partition.
const SECTION_KEYS_MAX: usize = 450_000;
/// Records that one step reads: longer steps keep the WAL from being reset.
const STEP_RECORDS: usize = 20_000;
/// Records that one transaction removes: an append waits this long at the most, some milliseconds.
const REMOVE_RECORDS: usize = 1_000;

/// How many records went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Because a later one has the same key.
    pub compacted: u64,
    /// Because of their age.
    pub expired: u64,
}

/// One round over all topics.
pub(super) async fn run(readers: &Readers, writer: &Writer, now: i64, records_min: u64) -> Result<Removed, LogError> {
    let mut removed = Removed::default();
    let partitions = readers.run("planning maintenance", |shared, connection| describe(&shared.place, connection)).await?;
    for partition in partitions {
        match partition.retention {
            Retention::Keep => {}
            Retention::Compact => {
                // a walk costs as much as it kept the last time: waiting for as many new records keeps the cost per record constant
                let new = partition.next - partition.compacted_to;
                let enough = if records_min == 0 { 1 } else { records_min.max(partition.compacted_kept) };
                if new >= enough {
                    removed.compacted += compact(readers, writer, &partition).await?;
                }
            }
            Retention::Age(age) => {
                let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
                removed.expired += expire(readers, writer, &partition, now.saturating_sub(age)).await?;
            }
        }
    }
    Ok(removed)
}

/// Removes records of a compacted topic by their offsets, the last of the partition excepted.
pub(super) async fn forget(
    readers: &Readers,
    writer: &Writer,
    topic: &str,
    partition: u32,
    offsets: &[u64],
) -> Result<u64, LogError> {
    let partitions = readers.run("planning the removal", |shared, connection| describe(&shared.place, connection)).await?;
    let found = partitions.into_iter().find(|found| found.topic == topic && found.number == partition);
    let found = found.ok_or_else(|| no_such(topic, partition))?;
    if found.retention != Retention::Compact {
        let cause = "only a compacted topic may have gaps".into();
        return Err(LogError::Fatal { step: format!("removing records of {topic}/{partition}"), cause });
    }
    let offsets: Vec<u64> = offsets.iter().copied().filter(|offset| offset + 1 < found.next).collect();
    let id = found.id;
    // in order: what an interruption leaves of a key are its last records
    for some in offsets.chunks(REMOVE_RECORDS) {
        let some = some.to_vec();
        writer
            .transact("removing records", move |place, connection| {
                let done = connection
                    .prepare_cached(&format!("DELETE FROM r{id} WHERE offset = ?"))
                    .and_then(|mut statement| some.iter().try_for_each(|offset| statement.execute([offset]).map(drop)));
                done.map_err(|error| place.classify("removing records", error))
            })
            .await?;
    }
    Ok(offsets.len() as u64)
}

async fn compact(readers: &Readers, writer: &Writer, partition: &Described) -> Result<u64, LogError> {
    let (id, mut from, mut removed) = (partition.id, partition.compacted_to, 0);
    while from < partition.next {
        let mut last: HashMap<u64, u64> = HashMap::new();
        while from < partition.next && last.len() + STEP_RECORDS <= SECTION_KEYS_MAX {
            let (keys, next) = keys(readers, id, from, partition.next).await?;
            last.extend(keys.iter().map(|(offset, key)| (*key, *offset)));
            from = next;
        }
        let (mut at, mut kept) = (0, 0);
        while at < from {
            let (keys, next) = keys(readers, id, at, from).await?;
            let superseded: Vec<(u64, u64)> = keys
                .iter()
                .filter_map(|(offset, key)| last.get(key).filter(|later| *later > offset).map(|later| (*offset, *later)))
                .collect();
            kept += (keys.len() - superseded.len()) as u64;
            for some in superseded.chunks(REMOVE_RECORDS) {
                removed += some.len() as u64;
                let some = some.to_vec();
                writer.transact("compacting", move |place, connection| remove(place, connection, id, &some)).await?;
            }
            at = next;
        }
        writer.transact("compacting", move |place, connection| note(place, connection, id, from, kept)).await?;
    }
    Ok(removed)
}

/// Offsets and key hashes from `from` on, before `end`, and where to go on.
async fn keys(readers: &Readers, id: i64, from: u64, end: u64) -> Result<(Vec<(u64, u64)>, u64), LogError> {
    readers
        .run("reading keys", move |shared, connection| {
            let sql =
                format!("SELECT offset, key FROM r{id} WHERE offset >= ? AND offset < ? ORDER BY offset LIMIT {STEP_RECORDS}");
            let found: rusqlite::Result<Vec<(u64, u64)>> = connection.prepare_cached(&sql).and_then(|mut statement| {
                let rows = statement.query_map([from, end], |row| Ok((row.get(0)?, hash(row.get_ref(1)?.as_blob()?))))?;
                rows.collect()
            });
            let found = found.map_err(|error| shared.place.classify("reading keys", error))?;
            let next = match found.last() {
                Some((offset, _)) if found.len() == STEP_RECORDS => offset + 1,
                _ => end,
            };
            Ok((found, next))
        })
        .await
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Removes records whose key comes again later. The keys are compared here, so two keys of one hash lose nothing.
fn remove(place: &Place, connection: &Connection, id: i64, superseded: &[(u64, u64)]) -> Result<(), LogError> {
    let sql = format!("DELETE FROM r{id} WHERE offset = ?1 AND key = (SELECT key FROM r{id} WHERE offset = ?2)");
    let done = connection.prepare_cached(&sql).and_then(|mut statement| {
        for (offset, later) in superseded {
            statement.execute([offset, later])?;
        }
        Ok(())
    });
    done.map_err(|error| place.classify("compacting", error))
}

fn note(place: &Place, connection: &Connection, id: i64, to: u64, kept: u64) -> Result<(), LogError> {
    connection
        .execute("UPDATE partition SET compacted_to = ?, compacted_kept = ? WHERE id = ?", params![to, kept, id])
        .map(drop)
        .map_err(|error| place.classify("compacting", error))
}

async fn expire(readers: &Readers, writer: &Writer, partition: &Described, before: i64) -> Result<u64, LogError> {
    let (id, topic, number) = (partition.id, partition.topic.clone(), partition.number);
    let (start, limit) = readers
        .run("planning retention", move |shared, connection| {
            let found = offset_at(connection, id, before).and_then(|by_age| {
                let start = super::reader::bounds(connection, id)?.start;
                let slowest: Option<u64> = connection.query_row(
                    "SELECT min(next) FROM position WHERE topic = ? AND partition = ?",
                    params![topic, number],
                    |row| row.get(0),
                )?;
                Ok((start, slowest.map_or(by_age, |slowest| by_age.min(slowest))))
            });
            found.map_err(|error| shared.place.classify(format!("planning the retention of {topic}/{number}"), error))
        })
        .await?;
    let mut at = start;
    while at < limit {
        // such a topic has no gaps before its start, so offsets count records
        let to = limit.min(at + REMOVE_RECORDS as u64);
        writer
            .transact("removing old records", move |place, connection| {
                connection
                    .prepare_cached(&format!("DELETE FROM r{id} WHERE offset < ?"))
                    .and_then(|mut statement| statement.execute([to]))
                    .map(drop)
                    .map_err(|error| place.classify("removing old records", error))
            })
            .await?;
        at = to;
    }
    Ok(limit.saturating_sub(start))
}
