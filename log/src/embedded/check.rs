//! Is the file what was written? The tail at every open, everything on demand.
//!
//! Guarantees: at open, every partition ends where it says and its last record is whole; `deep` also reads the structure of the
//! whole file, every checksum, the order of offsets and times, that a topic kept for ever has no gap, and that no consumer
//! stands beyond the end. It reads in short steps, so appends go on meanwhile.

use rusqlite::{Connection, OptionalExtension};

use super::catalog::retention;
use super::connection::open_reader;
use super::place::Place;
use super::reader::{read, wrong_checksum};
use crate::port::{LogError, ReadLimit, Retention};
use crate::record::{RecordBatch, crc};

/// One step of the deep check: larger ones keep a transaction, and with it the WAL, longer.
const STEP: ReadLimit = ReadLimit { records_max: 5_000, bytes_max: 4 * 1024 * 1024 };

/// What the deep check has read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DeepCheck {
    /// Records.
    pub records: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// A partition as the file describes it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) id: i64,
    pub(super) topic: String,
    pub(super) number: u32,
    pub(super) next: u64,
    pub(super) last_time: i64,
    pub(super) retention: Retention,
    pub(super) compacted_to: u64,
    pub(super) compacted_kept: u64,
}

/// All partitions of the file.
pub(super) fn describe(place: &Place, connection: &Connection) -> Result<Vec<Described>, LogError> {
    let listed: rusqlite::Result<Vec<(Described, bool)>> = connection
        .prepare_cached(
            "SELECT p.id, t.name, p.number, p.next, p.last_time, t.retention, t.age_micros, p.compacted_to, p.compacted_kept
             FROM topic t JOIN partition p ON p.topic = t.id ORDER BY t.id, p.number",
        )
        .and_then(|mut statement| {
            let rows = statement.query_map([], |row| {
                let known = retention(row.get_ref(5)?.as_str()?, row.get(6)?);
                let described = Described {
                    id: row.get(0)?,
                    topic: row.get(1)?,
                    number: row.get(2)?,
                    next: row.get(3)?,
                    last_time: row.get(4)?,
                    retention: known.unwrap_or(Retention::Keep),
                    compacted_to: row.get(7)?,
                    compacted_kept: row.get(8)?,
                };
                Ok((described, known.is_some()))
            })?;
            rows.collect()
        });
    let listed = listed.map_err(|error| place.classify("reading the topics", error))?;
    if let Some((partition, _)) = listed.iter().find(|(_, known)| !known) {
        return Err(place.damaged(format!("the retention of topic {} is not readable", partition.topic)));
    }
    Ok(listed.into_iter().map(|(partition, _)| partition).collect())
}

/// Looks at the end of every partition; returns how many records were ever appended.
pub(super) fn tail(place: &Place, connection: &Connection) -> Result<u64, LogError> {
    // one transaction: other processes append meanwhile
    let transaction = connection.unchecked_transaction().map_err(|error| place.classify("checking the tail", error))?;
    let mut total = 0;
    for partition in describe(place, &transaction)? {
        check_last(place, &transaction, &partition)?;
        total += partition.next;
    }
    Ok(total)
}

fn check_last(place: &Place, connection: &Connection, partition: &Described) -> Result<(), LogError> {
    let (topic, number) = (&partition.topic, partition.number);
    let sql = format!("SELECT offset, time, key, value, crc FROM r{} ORDER BY offset DESC LIMIT 1", partition.id);
    let last = connection
        .query_row(&sql, [], |row| {
            let (offset, time): (u64, i64) = (row.get(0)?, row.get(1)?);
            let intact = crc(offset, time, row.get_ref(2)?.as_blob()?, row.get_ref(3)?.as_blob()?) == row.get::<_, u32>(4)?;
            Ok((offset, time, intact))
        })
        .optional()
        .map_err(|error| place.classify(format!("reading the last record of {topic}/{number}"), error))?;
    let Some((offset, time, intact)) = last else {
        // only retention by age removes the last record of a partition
        if partition.next == 0 || matches!(partition.retention, Retention::Age(_)) {
            return Ok(());
        }
        return Err(place.damaged(format!("{topic}/{number} is empty but says that it ends at {}", partition.next)));
    };
    if !intact {
        return Err(wrong_checksum(place, topic, number, offset));
    }
    if offset + 1 != partition.next || time > partition.last_time {
        return Err(
            place.damaged(format!("{topic}/{number} says that it ends at {}, its last record is {offset}", partition.next))
        );
    }
    Ok(())
}

/// Reads everything.
pub(super) fn deep(place: &Place) -> Result<DeepCheck, LogError> {
    let connection = open_reader(place)?;
    let failed = |error| place.classify("the deep check", error);
    let structure: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if structure != "ok" {
        return Err(place.damaged(format!("its structure is broken ({structure})")));
    }
    // positions first: what is appended meanwhile only moves the ends up
    let positions: Vec<(String, String, u32, u64)> = connection
        .prepare("SELECT consumer, topic, partition, next FROM position")
        .and_then(|mut statement| {
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?.collect()
        })
        .map_err(failed)?;
    let partitions = describe(place, &connection)?;
    for (consumer, topic, number, next) in positions {
        let end =
            partitions.iter().find(|partition| partition.topic == topic && partition.number == number).map(|found| found.next);
        if end.is_none_or(|end| next > end) {
            return Err(place.damaged(format!("{consumer} stands at {next} on {topic}/{number}, which is beyond its end")));
        }
    }
    let mut read = DeepCheck::default();
    for partition in &partitions {
        check_partition(place, &connection, partition, &mut read)?;
    }
    Ok(read)
}

fn check_partition(
    place: &Place,
    connection: &Connection,
    partition: &Described,
    read_so_far: &mut DeepCheck,
) -> Result<(), LogError> {
    let (topic, number) = (&partition.topic, partition.number);
    let (mut offset, mut time) = (0, i64::MIN);
    while offset < partition.next {
        let mut batch = RecordBatch::default();
        let broken = read(connection, partition.id, offset, STEP, &mut batch)
            .map_err(|error| place.classify(format!("reading {topic}/{number} from {offset}"), error))?;
        if let Some(broken) = broken {
            return Err(wrong_checksum(place, topic, number, broken));
        }
        for record in batch.iter() {
            if partition.retention == Retention::Keep && record.offset != offset {
                return Err(place.damaged(format!("{topic}/{number} has lost the records {offset} to {}", record.offset - 1)));
            }
            if record.timestamp < time {
                return Err(place.damaged(format!("the time of record {topic}/{number}/{} falls", record.offset)));
            }
            (offset, time) = (record.offset + 1, record.timestamp);
            read_so_far.records += 1;
        }
        read_so_far.bytes += batch.bytes() as u64;
        if batch.is_empty() {
            break;
        }
    }
    if partition.retention == Retention::Keep && offset < partition.next {
        return Err(place.damaged(format!("{topic}/{number} ends at {offset} and says {}", partition.next)));
    }
    Ok(())
}
