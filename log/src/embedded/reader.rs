//! Reading: a few connections, used off the async threads and given back after each step.
//!
//! No step leaves a transaction open, so a reader that waits never holds up the checkpoint of the WAL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

use super::connection::open_reader;
use super::place::Place;
use crate::blocking::blocking;
use crate::port::{Bounds, LogError, ReadLimit};
use crate::record::{RecordBatch, crc};
use crate::refusal::no_such;

/// Reads that run at once: each has a connection with its own page cache, further ones wait.
const CONNECTIONS_MAX: usize = 4;

/// The connections.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: Arc<Place>,
    idle: Mutex<Vec<Connection>>,
    /// Topic → ids of its partitions. Topics stay for ever, so what was once found holds.
    tables: RwLock<HashMap<String, Vec<i64>>>,
}

impl Readers {
    pub(super) fn new(place: Arc<Place>) -> Self {
        let shared = Shared { place, idle: Mutex::default(), tables: RwLock::default() };
        Self { shared: Arc::new(shared), room: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// Runs one step on a connection.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        step: &'static str,
        work: impl FnOnce(&Shared, &Connection) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        let permit = permit.map_err(|error| LogError::Fatal { step: step.to_owned(), cause: Box::new(error) })?;
        let shared = Arc::clone(&self.shared);
        blocking(step, move || {
            let connection = shared.take()?;
            let done = work(&shared, &connection);
            shared.give_back(connection);
            drop(permit);
            done
        })
        .await
    }

    pub(super) async fn topics(&self) -> Result<Vec<(String, u32)>, LogError> {
        self.run("listing topics", |shared, connection| {
            let listed = connection
                .prepare_cached("SELECT name, partitions FROM topic ORDER BY name")
                .and_then(|mut statement| statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect());
            listed.map_err(|error| shared.place.classify("listing topics", error))
        })
        .await
    }

    pub(super) async fn positions(&self, consumer: &str) -> Result<Vec<(String, u32, u64)>, LogError> {
        let consumer = consumer.to_owned();
        self.run("reading positions", move |shared, connection| {
            let listed = connection.prepare_cached("SELECT topic, partition, next FROM position WHERE consumer = ?").and_then(
                |mut statement| statement.query_map([&consumer], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect(),
            );
            listed.map_err(|error| shared.place.classify(format!("reading the positions of {consumer}"), error))
        })
        .await
    }

    pub(super) async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError> {
        let topic = topic.to_owned();
        self.run("reading bounds", move |shared, connection| {
            let id = shared.table(connection, &topic, partition)?;
            bounds(connection, id)
                .map_err(|error| shared.place.classify(format!("reading the bounds of {topic}/{partition}"), error))
        })
        .await
    }

    pub(super) async fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError> {
        let topic = topic.to_owned();
        self.run("searching by time", move |shared, connection| {
            let id = shared.table(connection, &topic, partition)?;
            offset_at(connection, id, time)
                .map_err(|error| shared.place.classify(format!("searching {topic}/{partition} by time"), error))
        })
        .await
    }

    pub(super) async fn read(&self, topic: &str, partition: u32, offset: u64, limit: ReadLimit) -> Result<RecordBatch, LogError> {
        let topic = topic.to_owned();
        self.run("reading", move |shared, connection| {
            let id = shared.table(connection, &topic, partition)?;
            let mut batch = RecordBatch::default();
            let broken = read(connection, id, offset, limit, &mut batch)
                .map_err(|error| shared.place.classify(format!("reading {topic}/{partition} from {offset}"), error))?;
            match broken {
                None => Ok(batch),
                Some(offset) => Err(wrong_checksum(&shared.place, &topic, partition, offset)),
            }
        })
        .await
    }
}

impl Shared {
    /// The id of a partition's table.
    pub(super) fn table(&self, connection: &Connection, topic: &str, partition: u32) -> Result<i64, LogError> {
        let index = partition as usize;
        if let Some(ids) = self.tables.read().unwrap_or_else(PoisonError::into_inner).get(topic) {
            return ids.get(index).copied().ok_or_else(|| no_such(topic, partition));
        }
        let ids: Vec<i64> = connection
            .prepare_cached("SELECT p.id FROM topic t JOIN partition p ON p.topic = t.id WHERE t.name = ? ORDER BY p.number")
            .and_then(|mut statement| statement.query_map([topic], |row| row.get(0))?.collect())
            .map_err(|error| self.place.classify(format!("looking up {topic}"), error))?;
        let found = ids.get(index).copied().ok_or_else(|| no_such(topic, partition));
        if !ids.is_empty() {
            self.tables.write().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), ids);
        }
        found
    }

    fn take(&self) -> Result<Connection, LogError> {
        self.place.still_there()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => open_reader(&self.place),
        }
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

pub(super) fn wrong_checksum(place: &Place, topic: &str, partition: u32, offset: u64) -> LogError {
    place.damaged(format!("record {topic}/{partition}/{offset} does not match its checksum"))
}

/// Fills `batch`; returns the offset of a record whose checksum is wrong.
pub(super) fn read(
    connection: &Connection,
    id: i64,
    offset: u64,
    limit: ReadLimit,
    batch: &mut RecordBatch,
) -> rusqlite::Result<Option<u64>> {
    // No `LIMIT`: SQLite plans a statement anew for each limit that is bound.
    let sql = format!("SELECT offset, time, key, value, crc FROM r{id} WHERE offset >= ? ORDER BY offset");
    let mut statement = connection.prepare_cached(&sql)?;
    // offsets are far below 2^63: one beyond is beyond the end
    let from = i64::try_from(offset).unwrap_or(i64::MAX);
    let mut rows = statement.query([from])?;
    while batch.len() < limit.records_max.max(1)
        && let Some(row) = rows.next()?
    {
        let (offset, time): (u64, i64) = (row.get(0)?, row.get(1)?);
        let (key, value) = (row.get_ref(2)?.as_blob()?, row.get_ref(3)?.as_blob()?);
        if !batch.is_empty() && batch.bytes() + key.len() + value.len() > limit.bytes_max {
            break;
        }
        if crc(offset, time, key, value) != row.get::<_, u32>(4)? {
            return Ok(Some(offset));
        }
        batch.push(offset, time, key, value);
    }
    Ok(None)
}

pub(super) fn bounds(connection: &Connection, id: i64) -> rusqlite::Result<Bounds> {
    let sql = format!("SELECT (SELECT min(offset) FROM r{id}), next FROM partition WHERE id = ?");
    connection.prepare_cached(&sql)?.query_row([id], |row| {
        let end = row.get(1)?;
        Ok(Bounds { start: row.get::<_, Option<u64>>(0)?.unwrap_or(end), end })
    })
}

/// Halves the range until one record is left: times never fall within a partition.
pub(super) fn offset_at(connection: &Connection, id: i64, time: i64) -> rusqlite::Result<u64> {
    let Bounds { start, end } = bounds(connection, id)?;
    let mut at_or_after =
        connection.prepare_cached(&format!("SELECT offset, time FROM r{id} WHERE offset >= ? ORDER BY offset LIMIT 1"))?;
    let (mut low, mut high, mut found) = (start, end, end);
    while low < high {
        let middle = low + (high - low) / 2;
        let record: Option<(u64, i64)> = at_or_after.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match record {
            Some((offset, stamp)) if stamp < time => low = offset + 1,
            Some((offset, _)) if offset < end => (high, found) = (middle, offset),
            // nothing in between (compaction), or only what came after the bounds were read
            _ => high = middle,
        }
    }
    Ok(found)
}
