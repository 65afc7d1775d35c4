//! What every store keeps about itself, beside its rows and in the same file: whose it is, and how far it is.
//!
//! - `tidemark_meta`: role, format, log id, generation, writer epoch;
//! - `tidemark_position`: per entity and partition the next state offset, and the offset up to which the store is being
//!   refreshed (versions that are *not older* are written again until then);
//! - `tidemark_derivation`: per entity the fingerprint of what its rows were derived by.
//!
//! The writer epoch rises at each open. A batch is written only while the epoch is still this writer's and each position stands
//! where the batch begins, all in the batch's own transaction: so of two writers one is always told that it is stale.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use tidemark_log::LogIdentity;
use tidemark_sink_core::sql::quoted;
use tidemark_sink_core::{Role, SinkError, StorePosition, TopicBatch};

use crate::failure::{Failure, fatal};

/// Layout of the file; another number is not read.
const FORMAT: i64 = 1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS tidemark_meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tidemark_position(
  entity TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, refresh_until INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(entity, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tidemark_derivation(entity TEXT PRIMARY KEY, fingerprint INTEGER NOT NULL) WITHOUT ROWID;
";

/// Whether the file is a store at all.
pub(crate) fn exists(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'tidemark_meta'", [], |row| row.get(0))
}

/// Makes the tables, binds the store to its role and log on first use, and refuses what is not its own.
pub(crate) fn bind(connection: &Connection, path: &Path, role: Role, log: LogIdentity) -> Result<(), Failure> {
    let file = path.display();
    if !exists(connection)? {
        let others: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if others > 0 {
            let step = format!("{file} is an SQLite file of another program; name another file, or move it away");
            return Err(fatal(step, "no table `tidemark_meta`").into());
        }
    }
    connection.execute_batch(TABLES)?;
    match text(connection, "role")? {
        Some(known) if known != role.name() => {
            let step =
                format!("{file} is the {known} store, not the {} store; correct the path in the configuration", role.name());
            return Err(fatal(step, "role differs").into());
        }
        _ => {}
    }
    match number(connection, "format")? {
        Some(known) if known != FORMAT => {
            let step = format!("{file} has format {known}, this version of tidemark reads format {FORMAT}; {}", role.remedy());
            return Err(fatal(step, "format differs").into());
        }
        _ => {}
    }
    if let Some(problem) = foreign(connection, path, role, log)? {
        return Err(SinkError::ForeignLog(problem).into());
    }
    set(connection, "role", role.name())?;
    set(connection, "format", FORMAT)?;
    set(connection, "log_id", log.id.to_string())?;
    set(connection, "generation", log.generation)?;
    Ok(())
}

/// Why the store does not belong to this log; `None` when it does, or to no log yet.
pub(crate) fn foreign(
    connection: &Connection,
    path: &Path,
    role: Role,
    log: LogIdentity,
) -> Result<Option<String>, rusqlite::Error> {
    let (file, remedy) = (path.display(), role.remedy());
    if let Some(id) = text(connection, "log_id")?
        && id != log.id.to_string()
    {
        return Ok(Some(format!(
            "{file} was filled from another log ({id}, this one is {}): put the right log back (`tidemark restore DIR` takes it from a \
             backup); if this one is right, {remedy}",
            log.id
        )));
    }
    if let Some(generation) = number(connection, "generation")?
        && generation != i64::from(log.generation)
    {
        let now = log.generation;
        return Ok(Some(format!("{file} was filled from generation {generation} of the log, which is at {now} now; {remedy}")));
    }
    Ok(None)
}

/// The log that the store belongs to, if it belongs to one.
pub(crate) fn log(connection: &Connection) -> Result<Option<LogIdentity>, rusqlite::Error> {
    let id = text(connection, "log_id")?.and_then(|id| id.parse().ok());
    let generation = number(connection, "generation")?.and_then(|generation| u32::try_from(generation).ok());
    Ok(id.zip(generation).map(|(id, generation)| LogIdentity { id, generation }))
}

/// Takes the next writer epoch.
pub(crate) fn raise_epoch(connection: &Connection) -> Result<i64, rusqlite::Error> {
    let epoch = number(connection, "writer_epoch")?.unwrap_or(0) + 1;
    set(connection, "writer_epoch", epoch)?;
    Ok(epoch)
}

/// Refuses when another writer has opened the store since.
pub(crate) fn expect_epoch(connection: &Connection, path: &Path, epoch: i64) -> Result<(), Failure> {
    match number(connection, "writer_epoch")? {
        Some(found) if found == epoch => Ok(()),
        found => {
            let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
            let text = format!("{} has writer epoch {found}, this writer has {epoch}", path.display());
            Err(SinkError::Stale(text).into())
        }
    }
}

/// Records what each entity's rows are derived by. Where that changed, the entity is read again from the start, written where
/// not older, up to where it had been.
pub(crate) fn derive(connection: &Connection, fingerprints: &[(String, u64)]) -> Result<(), rusqlite::Error> {
    for (entity, fingerprint) in fingerprints {
        let fingerprint = fingerprint.cast_signed();
        let known: Option<i64> = connection
            .query_row("SELECT fingerprint FROM tidemark_derivation WHERE entity = ?", [entity], |row| row.get(0))
            .optional()?;
        if known == Some(fingerprint) {
            continue;
        }
        connection.execute("INSERT OR REPLACE INTO tidemark_derivation VALUES (?, ?)", params![entity, fingerprint])?;
        let refresh = "UPDATE tidemark_position SET refresh_until = max(refresh_until, next), next = 0 WHERE entity = ?";
        connection.execute(refresh, [entity])?;
    }
    Ok(())
}

/// All positions, by entity and partition.
pub(crate) fn positions(connection: &Connection) -> Result<Vec<StorePosition>, rusqlite::Error> {
    let mut statement = connection.prepare("SELECT entity, partition, next FROM tidemark_position ORDER BY entity, partition")?;
    let rows = statement.query_map([], |row| {
        Ok(StorePosition { entity: row.get(0)?, partition: row.get(1)?, next: row.get::<_, i64>(2)?.cast_unsigned() })
    })?;
    rows.collect()
}

/// Whether none of these tables holds a row.
pub(crate) fn is_empty(connection: &Connection, tables: &[String]) -> Result<bool, rusqlite::Error> {
    for table in tables {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(table));
        if connection.query_row(&sql, [], |row| row.get(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether rows of this part are written when they are not older (else: only when they are newer).
pub(crate) fn refreshing(connection: &Connection, part: &TopicBatch) -> Result<bool, rusqlite::Error> {
    let sql = "SELECT refresh_until FROM tidemark_position WHERE entity = ? AND partition = ?";
    let until: Option<i64> =
        connection.prepare_cached(sql)?.query_row(params![part.entity.name, part.partition], |row| row.get(0)).optional()?;
    Ok(until.is_some_and(|until| part.from < until.cast_unsigned()))
}

/// Moves the position of a part, which must stand where the part begins. Last of all in a batch.
pub(crate) fn move_position(connection: &Connection, path: &Path, part: &TopicBatch) -> Result<(), Failure> {
    let entity = &part.entity.name;
    let (from, next) = (part.from.cast_signed(), part.next.cast_signed());
    let moved = connection
        .prepare_cached("UPDATE tidemark_position SET next = ? WHERE entity = ? AND partition = ? AND next = ?")?
        .execute(params![next, entity, part.partition, from])?;
    if moved == 1 {
        return Ok(());
    }
    if from == 0 {
        let made = connection
            .prepare_cached("INSERT OR IGNORE INTO tidemark_position(entity, partition, next) VALUES (?, ?, ?)")?
            .execute(params![entity, part.partition, next])?;
        if made == 1 {
            return Ok(());
        }
    }
    let text = format!("{} does not stand at offset {from} of {entity}, partition {}", path.display(), part.partition);
    Err(SinkError::Stale(text).into())
}

/// Empties the store: every table and view goes, and the epoch rises, so that a writer that still runs is stale.
pub(crate) fn reset(connection: &Connection) -> Result<(), rusqlite::Error> {
    if !exists(connection)? {
        return Ok(());
    }
    raise_epoch(connection)?;
    connection.execute("DELETE FROM tidemark_meta WHERE name <> 'writer_epoch'", [])?;
    let sql = "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT IN ('tidemark_meta') \
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC";
    let mut statement = connection.prepare(sql)?;
    let objects = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<(String, String)>, _>>()?;
    drop(statement);
    for (kind, name) in objects {
        connection.execute(&format!("DROP {kind} {}", quoted(&name)), [])?;
    }
    Ok(())
}

/// A text kept under a name.
pub(crate) fn text(connection: &Connection, name: &str) -> Result<Option<String>, rusqlite::Error> {
    get(connection, name)
}

/// Keeps a value under a name.
pub(crate) fn set(connection: &Connection, name: &str, value: impl rusqlite::ToSql) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("INSERT OR REPLACE INTO tidemark_meta VALUES (?, ?)")?.execute(params![name, value])?;
    Ok(())
}

fn number(connection: &Connection, name: &str) -> Result<Option<i64>, rusqlite::Error> {
    get(connection, name)
}

fn get<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> Result<Option<T>, rusqlite::Error> {
    connection.prepare_cached("SELECT value FROM tidemark_meta WHERE name = ?")?.query_row([name], |row| row.get(0)).optional()
}
