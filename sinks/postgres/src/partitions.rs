//! List partitions, made when a value first appears: one institution's rows in a table of their own.
//!
//! They are made before the batch that needs them, in a short transaction under the schema's lock, so that no batch waits for
//! another worker's. One of nothing holds the rows without a value.

use std::collections::BTreeSet;

use sqlx::Row;
use tidemark_schemas::{Cell, text};
use tidemark_sink_core::sql::{literal, quoted};
use tidemark_sink_core::{SinkError, SinkRow};
use xxhash_rust::xxh3::xxh3_64;

use crate::connection::Connection;
use crate::ddl::shortened;
use crate::failure::{Failure, fatal};
use crate::migrate;
use crate::table::{Content, Table};

/// Most partitions of a table. More make every statement slower to plan: the column is not one to part a table by.
const PARTITIONS_MAX: usize = 1_000;
/// Characters of the value in a partition's name, for people; the hash makes it unique.
const SLUG_BYTES_MAX: usize = 20;

/// The name of the partition of a value.
pub(crate) fn name(table: &str, value: Option<&str>) -> String {
    let Some(value) = value else { return shortened(&format!("{table}_p_null")) };
    let slug: String = value
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(SLUG_BYTES_MAX)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    shortened(&format!("{table}_p_{slug}_{:016x}", xxh3_64(value.as_bytes())))
}

/// The statement that makes the partition of a value.
pub(crate) fn ddl(table: &str, value: Option<&str>) -> String {
    let listed = value.map_or_else(|| "NULL".to_owned(), literal);
    let partition = quoted(&name(table, value));
    format!("CREATE TABLE IF NOT EXISTS {partition} PARTITION OF {} FOR VALUES IN ({listed})", quoted(table))
}

/// The names of all partitions in the schema.
pub(crate) async fn known(connection: &mut Connection) -> Result<BTreeSet<String>, Failure> {
    let sql = "SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r' \
               AND relnamespace = to_regnamespace(quote_ident(current_schema()))";
    let rows = connection.rows(sql.to_owned()).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Makes those that the rows of a table need.
pub(crate) async fn make_missing(
    connection: &mut Connection,
    schema: &str,
    known: &mut BTreeSet<String>,
    table: &Table,
    rows: &[SinkRow<'_>],
) -> Result<(), Failure> {
    let Some(column) = table.partition_column() else { return Ok(()) };
    let entity = &table.entity().name;
    let values: BTreeSet<Option<String>> = rows.iter().map(|row| value(&column.content, row)).collect();
    let missing: Vec<Option<String>> =
        values.into_iter().filter(|value| !known.contains(&name(entity, value.as_deref()))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let prefix = format!("{entity}_p_");
    if known.iter().filter(|name| name.starts_with(&prefix)).count() + missing.len() > PARTITIONS_MAX {
        return Err(too_many(entity).into());
    }
    connection.run("BEGIN".to_owned()).await?;
    migrate::lock(connection, schema).await?;
    for value in &missing {
        connection.run(ddl(entity, value.as_deref())).await?;
    }
    connection.run("COMMIT".to_owned()).await?;
    known.extend(missing.iter().map(|value| name(entity, value.as_deref())));
    Ok(())
}

fn too_many(entity: &str) -> SinkError {
    fatal(
        format!("{entity} would have more than {PARTITIONS_MAX} partitions; name another column in `relational.partition_by`"),
        "too many values",
    )
}

/// The value of the column as Postgres reads it.
fn value(content: &Content, row: &SinkRow<'_>) -> Option<String> {
    let Content::Field(_, path) = content else { return None };
    let mut out = String::new();
    match path.get(&row.state.row) {
        Cell::Text(value) => out.push_str(value),
        Cell::Int(value) => text::write_int(*value, &mut out),
        Cell::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Cell::Date(days) => text::write_date(*days, &mut out),
        Cell::Timestamp(micros) => text::write_timestamp(*micros, &mut out),
        Cell::Decimal(value) => out.push_str(&value.to_string()),
        Cell::Null | Cell::Record(_) | Cell::Array(_) => return None,
    }
    Some(out)
}
