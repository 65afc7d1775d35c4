//! Topics, partitions and consumer positions as the file has them: what the writer must know to append.
//!
//! The writer keeps it in memory and reads it again whenever another connection has changed the file.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::place::Place;
use super::schema;
use crate::port::{LogError, Retention, TopicSpec};
use crate::refusal::{PositionKey, check_spec, no_such, refused_partitions};

/// One partition.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    /// Its records are in table `r<id>`.
    pub(super) id: i64,
    /// Offset of the next record.
    pub(super) next: u64,
    /// Time of the last record.
    pub(super) last_time: i64,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// Partitions; a topic's lie one behind the other.
    pub(super) partitions: Vec<Partition>,
    /// Topic → index of its first partition, and how many it has.
    pub(super) topics: HashMap<String, (usize, u32)>,
    /// Stored positions.
    pub(super) positions: HashMap<PositionKey, u64>,
}

impl Catalog {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut catalog = Self::default();
        let mut statement = connection.prepare_cached(
            "SELECT t.name, t.partitions, p.id, p.next, p.last_time
             FROM topic t JOIN partition p ON p.topic = t.id ORDER BY t.id, p.number",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(0)?.as_str()?;
            if !catalog.topics.contains_key(name) {
                catalog.topics.insert(name.to_owned(), (catalog.partitions.len(), row.get(1)?));
            }
            catalog.partitions.push(Partition { id: row.get(2)?, next: row.get(3)?, last_time: row.get(4)? });
        }
        let mut statement = connection.prepare_cached("SELECT consumer, topic, partition, next FROM position")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            catalog.positions.insert((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?);
        }
        Ok(catalog)
    }

    /// Index of a partition.
    pub(super) fn find(&self, topic: &str, partition: u32) -> Result<usize, LogError> {
        match self.topics.get(topic) {
            Some((first, count)) if partition < *count => Ok(first + partition as usize),
            _ => Err(no_such(topic, partition)),
        }
    }

    /// Records ever appended, over all partitions: what `appended` counts.
    pub(super) fn total(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.next).sum()
    }
}

/// Makes the topics that are missing and updates the retention of the others.
pub(super) fn create(place: &Place, connection: &Connection, specs: &[TopicSpec]) -> Result<(), LogError> {
    for spec in specs {
        check_spec(spec)?;
        let failed = |error| place.classify(format!("creating topic {}", spec.name), error);
        let found: Option<(i64, u32)> = connection
            .query_row("SELECT id, partitions FROM topic WHERE name = ?", [&spec.name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(failed)?;
        match found {
            Some((_, count)) if count != spec.partitions => return Err(refused_partitions(spec, count)),
            Some((id, _)) => {
                let (retention, age) = stored(spec.retention);
                connection
                    .execute("UPDATE topic SET retention = ?, age_micros = ? WHERE id = ?", params![retention, age, id])
                    .map_err(failed)?;
            }
            None => add(connection, spec).map_err(failed)?,
        }
    }
    Ok(())
}

fn add(connection: &Connection, spec: &TopicSpec) -> rusqlite::Result<()> {
    let (retention, age) = stored(spec.retention);
    connection.execute(
        "INSERT INTO topic (name, partitions, retention, age_micros) VALUES (?, ?, ?, ?)",
        params![spec.name, spec.partitions, retention, age],
    )?;
    let topic = connection.last_insert_rowid();
    for number in 0..spec.partitions {
        connection
            .execute("INSERT INTO partition (topic, number, next, last_time) VALUES (?, ?, 0, 0)", params![topic, number])?;
        connection.execute_batch(&schema::records_table(connection.last_insert_rowid()))?;
    }
    Ok(())
}

fn stored(retention: Retention) -> (&'static str, Option<i64>) {
    match retention {
        Retention::Keep => ("keep", None),
        Retention::Compact => ("compact", None),
        Retention::Age(age) => ("age", Some(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))),
    }
}

/// A topic's retention as it is stored; `None` when it is not one of ours.
pub(super) fn retention(name: &str, age_micros: Option<i64>) -> Option<Retention> {
    match (name, age_micros) {
        ("keep", _) => Some(Retention::Keep),
        ("compact", _) => Some(Retention::Compact),
        ("age", Some(age)) => Some(Retention::Age(Duration::from_micros(u64::try_from(age).ok()?))),
        _ => None,
    }
}
