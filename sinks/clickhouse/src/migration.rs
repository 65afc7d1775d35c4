//! Makes what the store needs, and adds what it lacks. Only ever additive: a field that went keeps its column, empty in new rows.
//!
//! A view is replaced in one step and would take an object of somebody else's with it, so first of all every name that is taken must
//! bear the store's mark in its comment. A column whose type differs on the wire stops the store: rows are written by position.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_sink_core::SinkError;

use crate::client::Store;
use crate::encoding::Encoder;
use crate::failure::{Failure, REBUILD, StoreError, fatal};
use crate::statement::{MARK, literal, quoted, wire_type};
use crate::table::{Table, insert_into};
use crate::views::{self, View};
use crate::{epoch, meta, position};

/// A table or view of the database.
#[derive(Debug, Clone)]
struct Object {
    name: String,
    id: String,
    is_view: bool,
    is_ours: bool,
}

/// Makes the database.
pub(crate) async fn make_database(store: &Store) -> Result<(), StoreError> {
    let sql = format!("SELECT count() FROM system.databases WHERE name = {}", literal(&store.database));
    let count: Vec<u64> = store.rows_outside(&sql).await?;
    if count == [0] {
        store.execute_outside(&format!("CREATE DATABASE IF NOT EXISTS {}", quoted(&store.database))).await?;
    }
    Ok(())
}

/// Whether the database is there.
pub(crate) async fn is_there(store: &Store) -> Result<bool, StoreError> {
    let sql = format!("SELECT count() FROM system.databases WHERE name = {}", literal(&store.database));
    Ok(store.rows_outside::<u64>(&sql).await? == [1])
}

/// Makes the tables that the store keeps about itself; refuses names that somebody else has taken.
pub(crate) async fn make_own(store: &Store, tables: &[Table], views: &[View]) -> Result<(), Failure> {
    let own = [meta::TABLE, epoch::TABLE, position::TABLE, views::PARAMETER];
    let names: BTreeSet<&str> =
        own.into_iter().chain(tables.iter().map(Table::name)).chain(views.iter().map(|view| view.name.as_str())).collect();
    if let Some(taken) = objects(store).await?.into_iter().find(|object| !object.is_ours && names.contains(object.name.as_str()))
    {
        let step = format!(
            "{} holds `{}`, which tidemark did not make; name another database in the configuration, or rename it",
            store.place, taken.name
        );
        return Err(fatal(step, "the name is taken").into());
    }
    for statement in [meta::ddl(), epoch::ddl(), position::ddl()] {
        store.execute(&statement).await?;
    }
    Ok(())
}

/// Makes or migrates the entities' tables, then the views. Returns the tables' ids.
pub(crate) async fn make_tables(
    store: &Store,
    tables: &[Table],
    views: &[View],
    vip_levels: &[String],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut columns: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let sql = format!("SELECT table, name, type FROM system.columns WHERE database = {}", literal(&store.database));
    for (table, name, kind) in store.rows::<(String, String, String)>(&sql).await? {
        columns.entry(table).or_default().insert(name, kind);
    }
    for table in tables {
        match columns.get(table.name()) {
            None => store.execute(&table.ddl()).await?,
            Some(known) => migrate(store, table, known).await?,
        }
    }
    make_parameters(store, vip_levels).await?;
    for view in views {
        store.execute(&view.ddl()).await?;
    }
    Ok(objects(store).await?.into_iter().filter(|object| !object.is_view).map(|object| (object.name, object.id)).collect())
}

async fn migrate(store: &Store, table: &Table, known: &BTreeMap<String, String>) -> Result<(), Failure> {
    for (name, kind) in table.columns() {
        match known.get(&name) {
            None => {
                let definition = table.definition(&name, &kind);
                store.execute(&format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {definition}", quoted(table.name()))).await?;
            }
            Some(found) if wire_type(found) == wire_type(&kind) => {}
            Some(found) => return Err(other_type(store, table, &name, found, &kind).into()),
        }
    }
    Ok(())
}

fn other_type(store: &Store, table: &Table, name: &str, found: &str, wanted: &str) -> SinkError {
    let step = format!("column `{name}` of {} in {} is {found} and must be {wanted}; {REBUILD}", table.name(), store.place);
    fatal(step, "its type differs")
}

/// The one row of parameters; the levels that count as VIP are the configuration's.
async fn make_parameters(store: &Store, vip_levels: &[String]) -> Result<(), StoreError> {
    store.execute(&views::parameter_ddl()).await?;
    let levels = vip_levels.iter().map(|level| literal(level)).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT toUInt8(vip_levels = CAST([{levels}], 'Array(String)')) FROM {} FINAL", views::PARAMETER);
    match store.rows::<u8>(&sql).await?.first() {
        Some(1) => Ok(()),
        Some(_) => {
            let sql = format!(
                "ALTER TABLE {} UPDATE vip_levels = [{levels}] WHERE id = 1 SETTINGS mutations_sync = 2",
                views::PARAMETER
            );
            store.execute(&sql).await
        }
        None => {
            let mut encoder = Encoder::default();
            encoder.byte(1);
            encoder.length(vip_levels.len());
            vip_levels.iter().for_each(|level| encoder.text(level));
            store.insert(&insert_into(views::PARAMETER, ["id", "vip_levels"]), &encoder.bytes).await
        }
    }
}

/// Takes everything of the store away but its epochs.
pub(crate) async fn drop_all(store: &Store) -> Result<(), StoreError> {
    let mut ours: Vec<Object> =
        objects(store).await?.into_iter().filter(|object| object.is_ours && object.name != epoch::TABLE).collect();
    // What says how far the store is goes first: a reset that is cut off leaves a store that begins anew. Whose it is goes last.
    ours.sort_by_key(|object| (object.name == meta::TABLE, object.name != position::TABLE, !object.is_view));
    for object in ours {
        let kind = if object.is_view { "VIEW" } else { "TABLE" };
        store.drop_object(&format!("DROP {kind} IF EXISTS {} SYNC", quoted(&object.name))).await?;
    }
    Ok(())
}

async fn objects(store: &Store) -> Result<Vec<Object>, StoreError> {
    let sql = format!(
        "SELECT name, toString(uuid), toUInt8(engine = 'View'), toUInt8(startsWith(comment, {})) FROM system.tables\n\
         WHERE database = {}",
        literal(MARK),
        literal(&store.database)
    );
    let rows: Vec<(String, String, u8, u8)> = store.rows(&sql).await?;
    let object = |(name, id, is_view, is_ours)| Object { name, id, is_view: is_view == 1, is_ours: is_ours == 1 };
    Ok(rows.into_iter().map(object).collect())
}
