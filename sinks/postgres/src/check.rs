//! Looks into the store beside its owner: where it stands, and whether it works.

use std::collections::BTreeMap;

use sqlx::Row;
use tidemark_log::LogIdentity;
use tidemark_sink_core::report::{grouped, told};
use tidemark_sink_core::sql::{literal, quoted};
use tidemark_sink_core::{SinkError, StorePosition, StoreReport};

use crate::connection::{Connection, Server};
use crate::failure::{Failure, REBUILD};
use crate::meta;
use crate::migrate::Inventory;
use crate::table::Table;

/// The oldest version that does all that is asked of it: `NULLS NOT DISTINCT` came with it.
const VERSION_MIN: i32 = 150_000;
/// Tables with more rows are not counted, since that takes a while: the server's own estimate is shown.
const COUNTED_ROWS_MAX: f32 = 100_000.0;

/// Positions; none for a store that is not there.
pub(crate) async fn positions(server: &Server) -> Result<Vec<StorePosition>, Failure> {
    let mut connection = server.connect().await?;
    if !meta::exists(&mut connection).await? {
        return Ok(Vec::new());
    }
    let standings = meta::positions(&mut connection).await?;
    Ok(standings.into_iter().map(|standing| standing.position).collect())
}

/// The log that the store belongs to; none for a store that is not there or was emptied.
pub(crate) async fn filled_from(server: &Server) -> Result<Option<LogIdentity>, Failure> {
    let mut connection = server.connect().await?;
    if !meta::exists(&mut connection).await? {
        return Ok(None);
    }
    meta::log(&mut connection).await
}

/// Refuses a server that cannot hold the store at all.
pub(crate) async fn fitness(connection: &mut Connection, place: &str) -> Result<(), Failure> {
    let server = ServerFacts::read(connection).await?;
    match server.problems(place).into_iter().next() {
        Some(problem) => Err(SinkError::Fatal { step: problem, cause: format!("PostgreSQL {}", server.version).into() }.into()),
        None => Ok(()),
    }
}

/// What a server says of itself.
struct ServerFacts {
    version: String,
    number: i32,
    encoding: String,
    read_only: bool,
}

impl ServerFacts {
    async fn read(connection: &mut Connection) -> Result<Self, Failure> {
        let sql = "SELECT current_setting('server_version'), current_setting('server_version_num')::integer, \
                   current_setting('server_encoding'), current_setting('transaction_read_only') = 'on'";
        let rows = connection.rows(sql.to_owned()).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        Ok(Self { version: row.try_get(0)?, number: row.try_get(1)?, encoding: row.try_get(2)?, read_only: row.try_get(3)? })
    }

    fn problems(&self, place: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if self.number < VERSION_MIN {
            problems.push(format!("{place}: PostgreSQL {} is too old; use version 15 or newer", self.version));
        }
        if self.encoding != "UTF8" {
            problems.push(format!(
                "{place}: the database's encoding is {}; make one with `createdb --encoding=UTF8 --template=template0`",
                self.encoding
            ));
        }
        problems
    }
}

/// Version, rows, and what stands in the way of a write.
pub(crate) async fn report(server: &Server, tables: &BTreeMap<String, Table>, log: LogIdentity) -> StoreReport {
    let place = server.place();
    let mut problems = Vec::new();
    let looked = look(server, &place, tables, log, &mut problems).await;
    let summary = match looked {
        Ok(summary) => summary,
        Err(failure) => {
            problems.push(told(&failure.classify(&place, "checking")));
            format!("Postgres, {place}")
        }
    };
    StoreReport { summary, problems }
}

async fn look(
    server: &Server,
    place: &str,
    tables: &BTreeMap<String, Table>,
    log: LogIdentity,
    problems: &mut Vec<String>,
) -> Result<String, Failure> {
    let mut connection = server.connect().await?;
    let facts = ServerFacts::read(&mut connection).await?;
    problems.extend(facts.problems(place));
    if facts.read_only {
        problems.push(format!(
            "{place}: the server is read-only; name the primary in the url, or end `default_transaction_read_only`"
        ));
    }
    let server_name = format!("PostgreSQL {}, {place}", facts.version);
    if !meta::exists(&mut connection).await? {
        problems.extend(cannot_make(&mut connection, &server.options.schema).await?);
        return Ok(format!("{server_name}, not there yet: the first start makes it"));
    }
    let unreadable = meta::unreadable(&mut connection, place).await?;
    let is_readable = unreadable.is_none();
    problems.extend(unreadable);
    problems.extend(meta::foreign(&mut connection, place, log).await?);
    if is_readable && !facts.read_only {
        imitate_write(&mut connection, place, tables, problems).await?;
    }
    let (rows, estimated) = count(&mut connection, tables).await?;
    let about = if estimated { "about " } else { "" };
    Ok(format!("{server_name}, {about}{} rows", grouped(rows)))
}

/// What the role lacks to make the store.
async fn cannot_make(connection: &mut Connection, schema: &str) -> Result<Option<String>, Failure> {
    let name = literal(schema);
    let sql = format!(
        "SELECT current_user::text, current_database()::text, \
         CASE WHEN to_regnamespace(quote_ident({name})) IS NULL THEN has_database_privilege(current_database(), 'CREATE') \
         ELSE has_schema_privilege(quote_ident({name})::regnamespace, 'CREATE') END"
    );
    let rows = connection.rows(sql).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let (user, database): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let may: bool = row.try_get(2)?;
    Ok((!may).then(|| {
        format!(
            "{user} may not make the schema: run `CREATE SCHEMA {} AUTHORIZATION {}` in {database} as its owner",
            quoted(schema),
            quoted(&user)
        )
    }))
}

/// Does what a batch does, row and position, and takes it back. Each table apart, so that all problems are told.
async fn imitate_write(
    connection: &mut Connection,
    place: &str,
    tables: &BTreeMap<String, Table>,
    problems: &mut Vec<String>,
) -> Result<(), Failure> {
    let inventory = Inventory::read(connection).await?;
    let position = "INSERT INTO tidemark_position(entity, partition, next, derived) VALUES ('#check', 0, 0, 0); \
                    UPDATE tidemark_position SET next = 1 WHERE entity = '#check'"
        .to_owned();
    let mut writes = vec![position];
    for table in tables.values() {
        let entity = &table.entity().name;
        if !inventory.has(entity) {
            continue;
        }
        if let Some(misfit) = inventory.misfit(table) {
            problems.push(format!("{place}: {misfit}; {REBUILD}"));
            continue;
        }
        let name = quoted(entity);
        writes.push(format!(
            "INSERT INTO {name}(\"key\", \"version\", \"changed_at\") VALUES ('#check', 0, now()); \
             UPDATE {name} SET \"version\" = 1 WHERE \"key\" = '#check'"
        ));
    }
    for write in writes {
        connection.run("BEGIN ISOLATION LEVEL READ COMMITTED".to_owned()).await?;
        let outcome = connection.run(write).await;
        connection.rollback().await?;
        if let Err(failure) = outcome {
            problems.push(told(&failure.classify(place, "imitating a write in")));
        }
    }
    Ok(())
}

/// Rows of all tables, and whether some of them are the server's estimate.
async fn count(connection: &mut Connection, tables: &BTreeMap<String, Table>) -> Result<(u64, bool), Failure> {
    let inventory = Inventory::read(connection).await?;
    let (mut rows, mut estimated) = (0, false);
    for table in tables.values().filter(|table| inventory.has(&table.entity().name)) {
        let name = quoted(&table.entity().name);
        let sql = format!("SELECT reltuples FROM pg_class WHERE oid = {}::regclass", literal(&name));
        let estimate: f32 = connection.rows(sql).await?.first().map_or(Ok(-1.0), |row| row.try_get(0))?;
        if estimate > COUNTED_ROWS_MAX {
            rows += estimate as u64;
            estimated = true;
        } else {
            let counted: i64 =
                connection.rows(format!("SELECT count(*) FROM {name}")).await?.first().map_or(Ok(0), |row| row.try_get(0))?;
            rows += counted.unsigned_abs();
        }
    }
    Ok((rows, estimated))
}
