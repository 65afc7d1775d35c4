//! What the store keeps about itself, beside its rows and in the same schema: whose it is, who writes, and how far it is.
//!
//! - `tidemark_meta`: role, format, log id, generation, the last writer epoch, the text of the view;
//! - `tidemark_epoch`: per partition number the epoch of the worker that writes it; [`ALL`] stands for a worker that holds all;
//! - `tidemark_position`: per entity and partition the next state offset, the offset up to which it is being refreshed, and the
//!   fingerprint of what its rows were derived by. Each worker looks at that for its own partitions, so workers of two releases can
//!   run beside each other;
//! - `tidemark_entity`: the entities whose tables are the store's.
//!
//! Each open takes a new epoch for its share. A batch begins by locking the rows of its partitions in `tidemark_epoch` for
//! sharing, and goes on only while they hold its own epoch: so an open waits for what is under way and ends what comes after.
//! The position moves only from where the batch begins. All of it is in the batch's own transaction.

use std::collections::BTreeSet;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Row};
use tidemark_log::{LogIdentity, Share};
use tidemark_schemas::Entity;
use tidemark_sink_core::sql::literal;
use tidemark_sink_core::{Role, SinkError, StorePosition, TopicBatch};

use crate::connection::Connection;
use crate::failure::{Failure, REBUILD, fatal};

/// Layout of the schema; another number is not read.
const FORMAT: &str = "2";
/// Raised when the same row would be kept otherwise.
const ROW_FORMAT: u64 = 1;
/// The partition number that stands for all.
pub(crate) const ALL: i32 = -1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS tidemark_meta(name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS tidemark_epoch(partition integer PRIMARY KEY, epoch bigint NOT NULL);
CREATE TABLE IF NOT EXISTS tidemark_position(
  entity text NOT NULL, partition integer NOT NULL, next bigint NOT NULL, refresh_until bigint NOT NULL DEFAULT 0,
  derived bigint NOT NULL, PRIMARY KEY (entity, partition)
);
CREATE TABLE IF NOT EXISTS tidemark_entity(entity text PRIMARY KEY);
";

/// Of what an entity's rows are derived by.
pub(crate) fn fingerprint(entity: &Entity) -> u64 {
    entity.derivation ^ ROW_FORMAT
}

/// A position with what the writer must know besides.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) position: StorePosition,
    pub(crate) refresh_until: u64,
}

/// Whether the schema holds a store at all, also an emptied one.
pub(crate) async fn exists(connection: &mut Connection) -> Result<bool, Failure> {
    let rows = connection.rows("SELECT to_regclass('tidemark_meta') IS NOT NULL".to_owned()).await?;
    rows.first().map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

/// Makes the tables, binds the store to its role and log on first use, and refuses what is not its own.
pub(crate) async fn bind(connection: &mut Connection, place: &str, log: LogIdentity) -> Result<(), Failure> {
    if !exists(connection).await? {
        let sql = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) \
                   AND relkind IN ('r', 'p', 'v', 'm')";
        let others: i64 = connection.rows(sql.to_owned()).await?.first().map_or(Ok(0), |row| row.try_get(0))?;
        if others > 0 {
            let step = format!("{place} holds tables of another program; name another schema in the configuration");
            return Err(fatal(step, "no table `tidemark_meta`").into());
        }
    }
    connection.run(TABLES.to_owned()).await?;
    match text(connection, "role").await? {
        Some(known) if known != Role::Relational.name() => {
            let step = format!("{place} is the {known} store; correct the schema in the configuration");
            return Err(fatal(step, "role differs").into());
        }
        _ => {}
    }
    if let Some(problem) = unreadable(connection, place).await? {
        return Err(fatal(problem, "format differs").into());
    }
    if let Some(problem) = foreign(connection, place, log).await? {
        return Err(SinkError::ForeignLog(problem).into());
    }
    set(connection, "role", Role::Relational.name()).await?;
    set(connection, "format", FORMAT).await?;
    set(connection, "log_id", &log.id.to_string()).await?;
    set(connection, "generation", &log.generation.to_string()).await
}

/// Why this version cannot read the store; `None` when it can, or there is nothing yet.
pub(crate) async fn unreadable(connection: &mut Connection, place: &str) -> Result<Option<String>, Failure> {
    let known = text(connection, "format").await?.filter(|known| known != FORMAT);
    Ok(known.map(|known| format!("{place} has format {known}, this version of tidemark reads format {FORMAT}; {REBUILD}")))
}

/// Why the store does not belong to this log; `None` when it does, or to no log yet.
pub(crate) async fn foreign(connection: &mut Connection, place: &str, log: LogIdentity) -> Result<Option<String>, Failure> {
    if let Some(id) = text(connection, "log_id").await?
        && id != log.id.to_string()
    {
        return Ok(Some(format!("{place} was filled from another log ({id}, this one is {}); {REBUILD}", log.id)));
    }
    if let Some(generation) = text(connection, "generation").await?
        && generation != log.generation.to_string()
    {
        let now = log.generation;
        return Ok(Some(format!("{place} was filled from generation {generation} of the log, which is at {now} now; {REBUILD}")));
    }
    Ok(None)
}

/// The log that the store belongs to, if it belongs to one.
pub(crate) async fn log(connection: &mut Connection) -> Result<Option<LogIdentity>, Failure> {
    let id = text(connection, "log_id").await?.and_then(|id| id.parse().ok());
    let generation = text(connection, "generation").await?.and_then(|generation| generation.parse().ok());
    Ok(id.zip(generation).map(|(id, generation)| LogIdentity { id, generation }))
}

/// Takes the next epoch for the partitions of the share, and waits for batches of theirs that are under way. A worker that
/// holds all is ended by any other open, whatever its share.
pub(crate) async fn raise_epoch(connection: &mut Connection, share: &Share) -> Result<i64, Failure> {
    let epoch = text(connection, "writer_epoch").await?.and_then(|epoch| epoch.parse::<i64>().ok()).unwrap_or(0) + 1;
    set(connection, "writer_epoch", &epoch.to_string()).await?;
    let numbers = match share {
        Share::All => {
            connection.run(format!("DELETE FROM tidemark_epoch WHERE partition <> {ALL}")).await?;
            vec![ALL]
        }
        Share::Partitions(numbers) => std::iter::once(ALL).chain(numbers.iter().map(|number| number.cast_signed())).collect(),
    };
    let values: Vec<String> = numbers.iter().map(|number| format!("({number}, {epoch})")).collect();
    connection
        .run(format!(
            "INSERT INTO tidemark_epoch(partition, epoch) VALUES {} ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch",
            values.join(", ")
        ))
        .await?;
    Ok(epoch)
}

/// The query that locks the epochs of these partitions (at least one) against an open until the transaction ends, and how many
/// it must find.
pub(crate) fn guard(share: &Share, partitions: &BTreeSet<u32>) -> (String, usize) {
    let numbers: Vec<i32> = match share {
        Share::All => vec![ALL],
        Share::Partitions(_) => partitions.iter().map(|number| number.cast_signed()).collect(),
    };
    let list: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let list = list.join(", ");
    let sql = format!("SELECT epoch FROM tidemark_epoch WHERE partition IN ({list}) ORDER BY partition FOR SHARE");
    (sql, numbers.len())
}

/// Refuses when another worker has taken one of the partitions since.
pub(crate) fn expect_epoch(rows: &[PgRow], expected: usize, epoch: i64, place: &str) -> Result<(), Failure> {
    let found = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    if found.len() == expected && found.iter().all(|found| *found == epoch) {
        return Ok(());
    }
    Err(SinkError::Stale(format!("{place} has writer epochs {found:?}, this writer has {epoch}")).into())
}

/// Where the rows of an entity on a partition of the share were derived otherwise, it is read again from the start, written where
/// not older, up to where it had been. One whose table has grown is, on all partitions.
pub(crate) async fn derive(
    connection: &mut Connection,
    fingerprints: &[(String, u64)],
    grown: &BTreeSet<String>,
    share: &Share,
) -> Result<(), Failure> {
    let of_share = match share {
        Share::All => "true".to_owned(),
        Share::Partitions(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            format!("partition = ANY ('{{{}}}'::integer[])", numbers.join(","))
        }
    };
    for (entity, fingerprint) in fingerprints {
        let (name, derived) = (literal(entity), fingerprint.cast_signed());
        let which = if grown.contains(entity) { "true".to_owned() } else { format!("derived <> {derived} AND {of_share}") };
        connection
            .run(format!(
                "UPDATE tidemark_position SET refresh_until = greatest(refresh_until, next), next = 0, \
                 derived = CASE WHEN {of_share} THEN {derived} ELSE derived END WHERE entity = {name} AND {which}"
            ))
            .await?;
    }
    Ok(())
}

/// Notes that the tables of these entities are the store's.
pub(crate) async fn own(connection: &mut Connection, entities: impl Iterator<Item = &str>) -> Result<(), Failure> {
    let names: Vec<String> = entities.map(|entity| format!("({})", literal(entity))).collect();
    if names.is_empty() {
        return Ok(());
    }
    connection.run(format!("INSERT INTO tidemark_entity VALUES {} ON CONFLICT DO NOTHING", names.join(", "))).await
}

/// The entities whose tables are the store's, also of one of the format before.
pub(crate) async fn owned(connection: &mut Connection) -> Result<Vec<String>, Failure> {
    let sql = "SELECT coalesce(to_regclass('tidemark_entity'), to_regclass('tidemark_derivation'))::text";
    let table: Option<String> = connection.rows(sql.to_owned()).await?.first().map_or(Ok(None), |row| row.try_get(0))?;
    let Some(table) = table else { return Ok(Vec::new()) };
    let rows = connection.rows(format!("SELECT entity FROM {table}")).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Forgets whose the store is and where it stands, whatever its format; who writes stays, so that no former writer goes on.
pub(crate) async fn forget(connection: &mut Connection) -> Result<(), Failure> {
    connection.run("DROP TABLE IF EXISTS tidemark_position, tidemark_entity, tidemark_derivation".to_owned()).await?;
    connection.run(TABLES.to_owned()).await?;
    connection.run("DELETE FROM tidemark_meta WHERE name NOT IN ('writer_epoch', 'dangling_reference')".to_owned()).await
}

/// All positions, by entity and partition.
pub(crate) async fn positions(connection: &mut Connection) -> Result<Vec<Standing>, Failure> {
    let sql = "SELECT entity, partition, next, refresh_until FROM tidemark_position \
               ORDER BY entity COLLATE \"C\", partition";
    let mut found = Vec::new();
    for row in connection.rows(sql.to_owned()).await? {
        let position = StorePosition {
            entity: row.try_get(0)?,
            partition: row.try_get::<i32, _>(1)?.cast_unsigned(),
            next: row.try_get::<i64, _>(2)?.cast_unsigned(),
        };
        found.push(Standing { position, refresh_until: row.try_get::<i64, _>(3)?.cast_unsigned() });
    }
    Ok(found)
}

/// Moves the positions of all parts, each of which must stand where its part begins; those that stand nowhere yet (not among
/// the known) are made to. Last of all in a batch.
pub(crate) async fn move_positions(
    connection: &mut Connection,
    place: &str,
    parts: &[TopicBatch],
    is_known: impl Fn(&TopicBatch) -> bool,
) -> Result<(), Failure> {
    const MAKE: &str = "INSERT INTO tidemark_position(entity, partition, next, derived) \
                        SELECT e, p, f, d FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) AS u(e, p, f, d) \
                        ON CONFLICT (entity, partition) DO NOTHING";
    const MOVE: &str = "UPDATE tidemark_position AS t SET next = u.n \
                        FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) AS u(e, p, f, n) \
                        WHERE t.entity = u.e AND t.partition = u.p AND t.next = u.f";
    let new: Vec<&TopicBatch> = parts.iter().filter(|part| !is_known(part)).collect();
    if !new.is_empty() {
        let mut arguments = places_of(&new)?;
        let derived: Vec<i64> = new.iter().map(|part| fingerprint(&part.entity).cast_signed()).collect();
        arguments.add(derived).map_err(unencodable)?;
        connection.execute(&MAKE.into(), arguments).await?;
    }
    let all: Vec<&TopicBatch> = parts.iter().collect();
    let mut arguments = places_of(&all)?;
    let next: Vec<i64> = parts.iter().map(|part| part.next.cast_signed()).collect();
    arguments.add(next).map_err(unencodable)?;
    if connection.execute(&MOVE.into(), arguments).await? == parts.len() as u64 {
        return Ok(());
    }
    let begins: Vec<String> =
        parts.iter().map(|part| format!("{}, partition {}: {}", part.entity.name, part.partition, part.from)).collect();
    Err(SinkError::Stale(format!("{place} does not stand where the batch begins ({})", begins.join("; "))).into())
}

fn places_of(parts: &[&TopicBatch]) -> Result<PgArguments, Failure> {
    let entities: Vec<&str> = parts.iter().map(|part| part.entity.name.as_str()).collect();
    let partitions: Vec<i32> = parts.iter().map(|part| part.partition.cast_signed()).collect();
    let from: Vec<i64> = parts.iter().map(|part| part.from.cast_signed()).collect();
    let mut arguments = PgArguments::default();
    let added = arguments.add(entities).and_then(|()| arguments.add(partitions)).and_then(|()| arguments.add(from));
    added.map_err(unencodable)?;
    Ok(arguments)
}

fn unencodable(error: sqlx::error::BoxDynError) -> Failure {
    Failure::Server(sqlx::Error::Encode(error))
}

/// A text kept under a name.
pub(crate) async fn text(connection: &mut Connection, name: &str) -> Result<Option<String>, Failure> {
    let sql = format!("SELECT value FROM tidemark_meta WHERE name = {}", literal(name));
    Ok(connection.rows(sql).await?.first().map(|row| row.try_get(0)).transpose()?)
}

/// Keeps a text under a name.
pub(crate) async fn set(connection: &mut Connection, name: &str, value: &str) -> Result<(), Failure> {
    connection
        .run(format!(
            "INSERT INTO tidemark_meta VALUES ({}, {}) ON CONFLICT (name) DO UPDATE SET value = excluded.value \
             WHERE tidemark_meta.value <> excluded.value",
            literal(name),
            literal(value)
        ))
        .await
}
