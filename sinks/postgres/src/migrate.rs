//! Making and growing the tables, the indexes and the view, only ever by adding.
//!
//! What is there is read once and compared; only what is missing is made, so that an open in a settled store takes no lock that
//! a reader would feel. It runs under an advisory lock of the schema: of workers that start together one does it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row;
use tidemark_schemas::Catalog;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::references::{DANGLING_REFERENCE, dangling_select};
use tidemark_sink_core::sql::{literal, quoted};

use crate::connection::Connection;
use crate::ddl;
use crate::failure::{Failure, REBUILD, fatal};
use crate::meta;
use crate::partitions;
use crate::table::Table;

/// How long a change waits for readers of a table before the engine hears of it.
const LOCK_TIMEOUT: &str = "10s";

/// What the schema holds.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// Table → (its kind as in `pg_class`, column → type).
    relations: BTreeMap<String, (String, BTreeMap<String, String>)>,
    /// Indexes that work.
    indexes: BTreeSet<String>,
}

/// Takes the lock under which everything in the schema is made, until the transaction ends.
pub(crate) async fn lock(connection: &mut Connection, schema: &str) -> Result<(), Failure> {
    let name = literal(&format!("tidemark {schema}"));
    connection
        .run(format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SELECT pg_advisory_xact_lock(hashtextextended({name}, 0))"))
        .await
}

/// Makes the schema, if it is not there: a role without the right to make one may use one made for it.
pub(crate) async fn make_schema(connection: &mut Connection, schema: &str) -> Result<(), Failure> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = {})", literal(schema));
    let there = connection.rows(sql).await?.first().map_or(Ok(false), |row| row.try_get(0))?;
    if there { Ok(()) } else { connection.run(format!("CREATE SCHEMA {}", quoted(schema))).await }
}

impl Inventory {
    /// Reads what is there.
    pub(crate) async fn read(connection: &mut Connection) -> Result<Self, Failure> {
        let sql = "SELECT c.relname::text, c.relkind::text, a.attname::text, format_type(a.atttypid, a.atttypmod) \
                   FROM pg_class AS c LEFT JOIN pg_attribute AS a \
                     ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') \
                   WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) \
                     AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition";
        let mut inventory = Self::default();
        for row in connection.rows(sql.to_owned()).await? {
            let relation = inventory.relations.entry(row.try_get(0)?).or_default();
            relation.0 = row.try_get(1)?;
            if let Some(column) = row.try_get::<Option<String>, _>(2)? {
                relation.1.insert(column, row.try_get(3)?);
            }
        }
        let sql = "SELECT c.relname::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
                   WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND i.indisvalid";
        for row in connection.rows(sql.to_owned()).await? {
            inventory.indexes.insert(row.try_get(0)?);
        }
        Ok(inventory)
    }

    /// Whether a table of this entity is there.
    pub(crate) fn has(&self, entity: &str) -> bool {
        self.relations.contains_key(entity)
    }

    /// Whether an index that works is there.
    pub(crate) fn has_index(&self, name: &str) -> bool {
        self.indexes.contains(name)
    }

    /// Why the table cannot become the entity's by adding to it; `None` when it can.
    pub(crate) fn misfit(&self, table: &Table) -> Option<String> {
        let entity = table.entity();
        let (kind, columns) = self.relations.get(&entity.name)?;
        let wanted = if entity.relational.partition_by.is_some() { "p" } else { "r" };
        if kind != wanted {
            let (is, should) = if kind == "p" { ("in partitions", "whole") } else { ("no table in partitions", "one") };
            return Some(format!("{} is {is} and should be {should}", entity.name));
        }
        ddl::columns(entity).into_iter().find_map(|(name, kind, _)| {
            let found = columns.get(name)?;
            (*found != kind.name()).then(|| format!("{}.{name} is {found} and should be {}", entity.name, kind.name()))
        })
    }
}

/// Makes what is missing. Returns the entities whose tables gained something, and so must be read again.
pub(crate) async fn migrate<'t>(
    connection: &mut Connection,
    place: &str,
    catalog: &Catalog,
    tables: impl Iterator<Item = &'t Table>,
) -> Result<BTreeSet<String>, Failure> {
    let inventory = Inventory::read(connection).await?;
    let mut grown = BTreeSet::new();
    for table in tables {
        table.check_names()?;
        let entity = table.entity();
        if let Some(misfit) = inventory.misfit(table) {
            return Err(misfitting(place, &misfit).into());
        }
        let Some((_, known)) = inventory.relations.get(&entity.name) else {
            for statement in ddl::table(entity) {
                connection.run(statement).await?;
            }
            if entity.relational.partition_by.is_some() {
                connection.run(partitions::ddl(&entity.name, None)).await?;
            }
            grown.insert(entity.name.clone());
            continue;
        };
        let missing: Vec<String> = ddl::columns(entity)
            .into_iter()
            .filter(|(name, ..)| !known.contains_key(*name))
            .map(|(name, kind, _)| format!("ADD COLUMN {} {}", quoted(name), kind.name()))
            .collect();
        if !missing.is_empty() {
            connection.run(format!("ALTER TABLE {} {}", quoted(&entity.name), missing.join(", "))).await?;
            grown.insert(entity.name.clone());
        }
    }
    make_view(connection, catalog, &inventory).await?;
    Ok(grown)
}

/// Makes the view, or makes it anew when its text changed.
async fn make_view(connection: &mut Connection, catalog: &Catalog, inventory: &Inventory) -> Result<(), Failure> {
    if catalog.entity(DANGLING_REFERENCE).is_some() {
        return Ok(());
    }
    let query = dangling_select(catalog, ddl::DIALECT);
    if inventory.has(DANGLING_REFERENCE) && meta::text(connection, DANGLING_REFERENCE).await?.as_ref() == Some(&query) {
        return Ok(());
    }
    // All its columns are texts of the same names, so that what depends on it stays.
    connection.run(format!("CREATE OR REPLACE VIEW {DANGLING_REFERENCE} AS\n{query}")).await?;
    meta::set(connection, DANGLING_REFERENCE, &query).await
}

fn misfitting(place: &str, misfit: &str) -> SinkError {
    fatal(format!("{place}: {misfit}, and a table only grows; {REBUILD}"), "the schema changed beyond adding")
}
