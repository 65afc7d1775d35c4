//! An entity's table as the writer sees it: what stands in which column, and the statements that write rows.
//!
//! One statement takes all rows of a chunk as one array for each column (`UNNEST`): measured, it beats `COPY` into a temporary
//! table up to 5,000 rows, which a lane never has more of. Only rows that pass the version gate are written.

use std::sync::Arc;

use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Row};
use tidemark_schemas::Entity;
use tidemark_schemas::entity::FieldPath;
use tidemark_sink_core::sql::quoted;
use tidemark_sink_core::{SinkError, SinkRow};

use crate::connection::Connection;
use crate::ddl::{self, SqlType, quoted_list};
use crate::encode::ColumnOf;
use crate::failure::{Failure, fatal};
use crate::options::NAME_BYTES_MAX;

/// Which rows pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gate {
    /// Those that are newer than what is stored.
    Newer,
    /// Also those of the same version: the table is being refreshed.
    NotOlder,
}

/// What stands in a column.
#[derive(Debug)]
pub(crate) enum Content {
    Key,
    Version,
    Tenant,
    DeletedAt,
    ChangedAt,
    /// The field of this number, at this path of the row.
    Field(u32, FieldPath),
}

/// A column.
#[derive(Debug)]
pub(crate) struct TableColumn {
    pub(crate) kind: SqlType,
    pub(crate) content: Content,
}

/// A table bound to its entity.
#[derive(Debug)]
pub(crate) struct Table {
    entity: Arc<Entity>,
    columns: Vec<TableColumn>,
    newer: Arc<str>,
    not_older: Arc<str>,
    moving: Option<Moving>,
}

/// What a table in list partitions needs besides: a record whose partition changes leaves the old one.
#[derive(Debug)]
struct Moving {
    /// Index of the column that the partitions are made by.
    column: usize,
    newer: Arc<str>,
    not_older: Arc<str>,
}

impl Table {
    pub(crate) fn new(entity: &Arc<Entity>) -> Self {
        let mut columns: Vec<TableColumn> = [
            (SqlType::Text, Content::Key),
            (SqlType::Bigint, Content::Version),
            (SqlType::Text, Content::Tenant),
            (SqlType::Timestamp, Content::DeletedAt),
            (SqlType::Timestamp, Content::ChangedAt),
        ]
        .map(|(kind, content)| TableColumn { kind, content })
        .into();
        columns.extend(entity.columns.iter().map(|column| TableColumn {
            kind: ddl::column_type(entity, column),
            content: Content::Field(column.number, column.path.clone()),
        }));
        let moving = entity.relational.partition_by.as_deref().map(|name| Moving {
            column: ddl::columns(entity).iter().position(|column| column.0 == name).expect("a schema's partition is a column"),
            newer: moving(entity, name, Gate::Newer),
            not_older: moving(entity, name, Gate::NotOlder),
        });
        Self {
            newer: upsert(entity, Gate::Newer),
            not_older: upsert(entity, Gate::NotOlder),
            entity: Arc::clone(entity),
            columns,
            moving,
        }
    }

    pub(crate) fn entity(&self) -> &Arc<Entity> {
        &self.entity
    }

    /// The column that the partitions are made by.
    pub(crate) fn partition_column(&self) -> Option<&TableColumn> {
        self.moving.as_ref().map(|moving| &self.columns[moving.column])
    }

    /// Refuses names that Postgres would cut short.
    pub(crate) fn check_names(&self) -> Result<(), SinkError> {
        let names =
            std::iter::once(self.entity.name.as_str()).chain(self.entity.columns.iter().map(|column| column.name.as_str()));
        for name in names {
            if name.len() > NAME_BYTES_MAX {
                let step = format!(
                    "{}: `{name}` is longer than the {NAME_BYTES_MAX} bytes of a name in Postgres; shorten it in the schema",
                    self.entity.name
                );
                return Err(fatal(step, "name too long"));
            }
        }
        Ok(())
    }

    /// Whether it holds no row yet.
    pub(crate) async fn is_empty(&self, connection: &mut Connection) -> Result<bool, Failure> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", quoted(&self.entity.name));
        let rows = connection.rows(sql).await?;
        Ok(rows.first().map_or(Ok(true), |row| row.try_get(0))?)
    }

    /// Writes the rows (each key once) that pass the gate; returns how many.
    pub(crate) async fn upsert(&self, connection: &mut Connection, rows: &[SinkRow<'_>], gate: Gate) -> Result<u64, Failure> {
        if let Some(moving) = &self.moving {
            let mut arguments = PgArguments::default();
            for column in [&self.columns[0], &self.columns[1], &self.columns[moving.column]] {
                self.bind(&mut arguments, column, rows)?;
            }
            let sql = if gate == Gate::Newer { &moving.newer } else { &moving.not_older };
            connection.execute(sql, arguments).await?;
        }
        let mut arguments = PgArguments::default();
        for column in &self.columns {
            self.bind(&mut arguments, column, rows)?;
        }
        let sql = if gate == Gate::Newer { &self.newer } else { &self.not_older };
        connection.execute(sql, arguments).await
    }

    fn bind(&self, arguments: &mut PgArguments, column: &TableColumn, rows: &[SinkRow<'_>]) -> Result<(), Failure> {
        let added = arguments.add(ColumnOf { entity: &self.entity, column, rows });
        added.map_err(|error| Failure::Server(sqlx::Error::Encode(error)))
    }
}

fn upsert(entity: &Entity, gate: Gate) -> Arc<str> {
    let columns = ddl::columns(entity);
    let table = quoted(&entity.name);
    let names = quoted_list(columns.iter().map(|column| column.0));
    let arrays: Vec<String> =
        columns.iter().enumerate().map(|(index, column)| format!("${}::{}", index + 1, column.1.array())).collect();
    let sets: Vec<String> = columns[1..].iter().map(|column| format!("{0} = excluded.{0}", quoted(column.0))).collect();
    let (target, unless_elsewhere) = match &entity.relational.partition_by {
        None => ("\"key\"".to_owned(), String::new()),
        Some(column) => {
            let column = quoted(column);
            let elsewhere = format!(
                " WHERE NOT EXISTS (SELECT 1 FROM {table} AS o WHERE o.\"key\" = u.\"key\" AND o.{column} IS DISTINCT FROM u.{column})"
            );
            (format!("\"key\", {column}"), elsewhere)
        }
    };
    format!(
        "INSERT INTO {table} AS t({names}) SELECT * FROM unnest({}) AS u({names}){unless_elsewhere} \
         ON CONFLICT ({target}) DO UPDATE SET {} WHERE t.\"version\" {} excluded.\"version\"",
        arrays.join(", "),
        sets.join(", "),
        comparison(gate)
    )
    .into()
}

/// Takes away what is older in another partition; what is left in another one is newer, and stays.
fn moving(entity: &Entity, column: &str, gate: Gate) -> Arc<str> {
    let columns = ddl::columns(entity);
    let kind = columns.iter().find(|known| known.0 == column).expect("a schema's partition is a column").1;
    let (table, column) = (quoted(&entity.name), quoted(column));
    format!(
        "DELETE FROM {table} AS t USING unnest($1::text[], $2::bigint[], $3::{}) AS u(k, v, p) \
         WHERE t.\"key\" = u.k AND t.{column} IS DISTINCT FROM u.p AND t.\"version\" {} u.v",
        kind.array(),
        comparison(gate)
    )
    .into()
}

fn comparison(gate: Gate) -> &'static str {
    match gate {
        Gate::Newer => "<",
        Gate::NotOlder => "<=",
    }
}
