//! The same history ends in the same columns and values as in the SQLite store.

use std::sync::Arc;

use rusqlite::types::Value;
use tidemark_log::Share;
use tidemark_schemas::entity::{FieldType, RecordType};
use tidemark_schemas::{Catalog, Cell, Entity, Row, State};
use tidemark_sink_core::Sink;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::sql::quoted;
use tidemark_test_support::Kind;

use super::harness::Store;
use crate::ddl::{SqlType, columns};

/// Repeatable numbers (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

const TEXTS: [&str; 9] =
    ["张三", "", "it's", "a\"b", "back\\slash \\N \\.", "line\nbreak\ttab\r", "$1 ${x} $$", "😀 é", "-- /* */ ; {1,2} NULL"];

fn any_row(record: &RecordType, numbers: &mut Numbers) -> Row<'static> {
    let fields = record.fields.iter();
    fields
        .map(|field| if field.nullable && numbers.below(4) == 0 { Cell::Null } else { any_cell(&field.kind, numbers) })
        .collect()
}

fn any_cell(kind: &FieldType, numbers: &mut Numbers) -> Cell<'static> {
    match kind {
        FieldType::Bool => Cell::Bool(numbers.below(2) == 0),
        FieldType::Int { .. } => Cell::Int(numbers.below(u64::MAX).cast_signed()),
        FieldType::Text { .. } => Cell::text(TEXTS[numbers.below(TEXTS.len() as u64) as usize]),
        FieldType::Decimal { precision, scale } => {
            let bound = 10_u64.pow((*precision).min(18));
            let digits = [1, 100, 10_000, 1_000_000, bound][numbers.below(5) as usize].min(bound);
            let whole = i128::from(numbers.below(digits + 1).min(bound - 1));
            let sign = if numbers.below(2) == 0 { 1 } else { -1 };
            Cell::Decimal(rust_decimal::Decimal::from_i128_with_scale(sign * whole, *scale))
        }
        // The years 1 to 9999.
        FieldType::Date => Cell::Date(numbers.below(3_652_059) as i32 - 719_162),
        FieldType::Timestamp => Cell::Timestamp(numbers.below(250_000_000_000_000_000).cast_signed() - 60_000_000_000_000_000),
        FieldType::Record(nested) => Cell::Record(any_row(nested, numbers)),
        FieldType::Array(items) => Cell::Array((0..numbers.below(4)).map(|_| any_cell(items, numbers)).collect()),
    }
}

/// Many records of an entity, some of them changed or deleted later.
fn history(entity: &Entity, numbers: &mut Numbers) -> Vec<State<'static>> {
    let mut states = Vec::new();
    for version in 1..=120_u64 {
        let mut row = any_row(&entity.record, numbers);
        for path in &entity.key {
            let key = format!("K{}", numbers.below(60));
            if let [position] = path.positions[..]
                && matches!(row[position], Cell::Text(_))
            {
                row[position] = Cell::Text(key.into());
            }
        }
        let changed_at = 1_700_000_000_000_000 + numbers.below(1 << 40).cast_signed();
        states.push(State {
            key: entity.key_of(&row).unwrap().to_string().into(),
            tenant: entity.tenant_of(&row).map(|tenant| tenant.to_owned().into()),
            version,
            deleted: numbers.below(6) == 0,
            row,
            changed_at,
            ingested_at: changed_at,
            position: (0, version - 1),
            snapshots: Vec::new(),
        });
    }
    states
}

/// A value in the form in which both stores show the same.
fn common(kind: SqlType, text: Option<String>) -> Option<String> {
    let text = text?;
    Some(match kind {
        SqlType::Json => serde_json::from_str::<serde_json::Value>(&text).unwrap().to_string(),
        SqlType::Boolean => if text == "t" || text == "1" { "1" } else { "0" }.to_owned(),
        SqlType::Timestamp => text.replace(".000000Z", "Z"),
        _ => text,
    })
}

fn of_sqlite(path: &std::path::Path, entity: &Entity) -> Vec<Vec<Option<String>>> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let names: Vec<String> = tidemark_sink_sqlite::relational::columns(entity);
    let sql = format!("SELECT * FROM {} ORDER BY key", quoted(&entity.name));
    let mut statement = connection.prepare(&sql).unwrap();
    assert_eq!(statement.column_names(), names, "{}", entity.name);
    let rows = statement.query_map([], |row| {
        (0..names.len())
            .map(|index| {
                Ok(match row.get::<_, Value>(index)? {
                    Value::Null => None,
                    Value::Integer(value) => Some(value.to_string()),
                    Value::Text(text) => Some(text),
                    other => Some(format!("{other:?}")),
                })
            })
            .collect()
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

async fn of_postgres(store: &Store, entity: &Entity) -> Vec<Vec<Option<String>>> {
    let shown: Vec<String> = columns(entity)
        .iter()
        .map(|(name, kind, _)| match kind {
            SqlType::Timestamp => {
                format!("to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')", quoted(name))
            }
            _ => quoted(name),
        })
        .collect();
    let table = quoted(&entity.name);
    store.texts(&format!("SELECT {} FROM {table} ORDER BY key COLLATE \"C\"", shown.join(", "))).await
}

async fn deliver(mut sink: Box<dyn Sink>, fixture: &Fixture, histories: &[(Arc<Entity>, Vec<State<'static>>)]) {
    sink.open(LOG, &Share::All).await.unwrap();
    for (entity, states) in histories {
        let mut from = 0;
        for some in states.chunks(37) {
            sink.apply(&fixture.batch(&entity.name, from, some)).await.unwrap();
            from += some.len() as u64;
        }
    }
}

#[tokio::test]
async fn columns_and_values_are_those_of_the_sqlite_store() {
    let Some(url) = Kind::Postgres.address("columns_and_values_are_those_of_the_sqlite_store") else { return };
    let everything = r#"{"type":"record","name":"sample","namespace":"tidemark","tidemark":{"title":"样本","key":["code","part"]},
        "fields":[
          {"name":"code","type":"string","title":"代码","required":true},
          {"name":"part","type":"long","title":"部分","required":true},
          {"name":"seen_at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null,"title":"时间"},
          {"name":"rate","type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":5}],"default":null,"title":"率"},
          {"name":"flag","type":["null","boolean"],"default":null,"title":"标记"},
          {"name":"inner","default":null,"title":"内","type":["null",{"type":"record","name":"sample_inner","fields":[
            {"name":"count","type":["null","long"],"default":null,"title":"数"},
            {"name":"days","type":["null",{"type":"array","items":{"type":"int","logicalType":"date"}}],"default":null,"title":"日"}]}]}]}"#;
    let catalog = Catalog::with_files(&[("sample.avsc".to_owned(), everything.to_owned())]).unwrap();
    let fixture = Fixture::new(catalog);
    let mut numbers = Numbers(0x5EED);
    let histories: Vec<_> =
        fixture.catalog().entities().iter().map(|entity| (Arc::clone(entity), history(entity, &mut numbers))).collect();
    let store = Store::fresh(&url, fixture.catalog());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    deliver(store.sink(), &fixture, &histories).await;
    deliver(tidemark_sink_sqlite::relational(path.clone(), Arc::clone(fixture.catalog())), &fixture, &histories).await;
    for (entity, _) in &histories {
        let (ours, theirs) = (of_postgres(&store, entity).await, of_sqlite(&path, entity));
        assert!(theirs.len() > 20, "{}: {} rows", entity.name, theirs.len());
        assert_eq!(ours.len(), theirs.len(), "{}", entity.name);
        for (one, other) in ours.into_iter().zip(theirs) {
            for ((name, kind, _), (one, other)) in columns(entity).into_iter().zip(one.into_iter().zip(other)) {
                assert_eq!(common(kind, one), common(kind, other), "{}.{name}", entity.name);
            }
        }
    }
    let view = "SELECT entity, key, field, target_entity, target_key FROM dangling_reference";
    let mut ours = store.query(view).await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    let mut statement = connection.prepare(view).unwrap();
    let rows = statement
        .query_map([], |row| Ok((0..5).map(|index| row.get::<_, String>(index)).collect::<Result<Vec<_>, _>>()?.join("|")));
    let mut theirs: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
    ours.sort();
    theirs.sort();
    assert!(theirs.len() > 20, "{} dangling references", theirs.len());
    assert_eq!(ours, theirs);
}
