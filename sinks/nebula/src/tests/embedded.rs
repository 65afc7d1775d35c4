//! The embedded graph store as the measure: the same history, the same graph.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_core::SinkBatch;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_test_support::Kind;

use super::harness::Store;
use super::stores::relation;
use crate::client::Value;

/// A few records of four entities that come and go, the same for both adapters.
fn history(fixture: &Fixture, seed: u64) -> Vec<(&'static str, Vec<State<'static>>)> {
    let mut random = seed | 1;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut made: Vec<(&'static str, Vec<State<'static>>)> =
        vec![("customer", vec![]), ("consumption", vec![]), ("staff", vec![]), ("catalog_relation", vec![])];
    for version in 1..=80 {
        let record = next(6);
        let which = next(4) as usize;
        let live = match which {
            0 => fixture.customer(&format!("C{record}|\\\\"), &format!("张{}", next(3)), version),
            1 => {
                let items: &[&str] = [&[][..], &["A"], &["A", "B"], &["B", "A"], &["A", "A"]][next(5) as usize];
                fixture.order(&format!("O{record}"), &format!("C{}|\\\\", next(3)), items, version)
            }
            2 => {
                let institution = ["\"I1\"", "\"I2\"", "null"][next(3) as usize];
                fixture.state(
                    "staff",
                    &format!(r#"{{"staff_code":"S{record}","institution_code":{institution},"name":"医"}}"#),
                    version,
                )
            }
            _ => relation(fixture, &format!("P{record}"), next(5) as u32 + 1, version),
        };
        let state = if next(5) == 0 { fixture.deleted(&live, version) } else { live };
        made[which].1.push(state);
    }
    made
}

/// Vertices (id, deleted, scalar properties) and live edges (source, type, target, rank).
type Graph = (BTreeMap<String, (bool, String)>, BTreeSet<(String, String, String, i64)>);

async fn ours(store: &Store, fixture: &Fixture) -> Graph {
    let mut vertices = BTreeMap::new();
    for entity in ["customer", "consumption", "staff"] {
        let entity = fixture.entity(entity);
        for (id, properties) in store.vertices(&entity.name).await {
            let mut shown = serde_json::Map::new();
            for column in &entity.columns {
                let value = match properties.get(&column.name) {
                    None => continue,
                    Some(_) if matches!(entity.field(column.number).kind, tidemark_schemas::entity::FieldType::Array(_)) => {
                        continue;
                    }
                    Some(Value::Bool(value)) => serde_json::Value::from(*value),
                    Some(Value::Int(value)) => serde_json::Value::from(*value),
                    Some(Value::Date(date)) => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day).into(),
                    Some(other) => other.as_text().unwrap().into(),
                };
                shown.insert(column.name.clone(), value);
            }
            vertices.insert(id, (properties.contains_key("deleted_at"), serde_json::Value::Object(shown).to_string()));
        }
    }
    (vertices, store.edges().await.into_keys().collect())
}

fn theirs(path: &std::path::Path) -> Graph {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT vid, deleted_at IS NOT NULL, props FROM vertex").unwrap();
    let vertices = statement.query_map([], |row| {
        let properties: serde_json::Value = serde_json::from_str(&row.get::<_, String>(2)?).unwrap();
        Ok((row.get(0)?, (row.get(1)?, properties.to_string())))
    });
    let mut edges = connection.prepare("SELECT src, type, dst, rank FROM edge WHERE deleted_at IS NULL").unwrap();
    let edges = edges.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    (vertices.unwrap().map(Result::unwrap).collect(), edges.map(Result::unwrap).collect())
}

#[tokio::test]
async fn the_same_history_gives_the_same_graph_as_the_embedded_store() {
    let Some(address) = Kind::Nebula.address("the_same_history_gives_the_same_graph_as_the_embedded_store") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    for seed in [3, 5, 8, 13, 21, 34] {
        let store = Store::fresh(&address, fixture.catalog());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("graph.db");
        let mut sinks = [store.sink(), tidemark_sink_sqlite::graph(path.clone(), Arc::clone(fixture.catalog()))];
        for sink in &mut sinks {
            sink.open(LOG, &Share::All).await.unwrap();
            for (entity, states) in history(&fixture, seed) {
                let mut from = 0;
                for some in states.chunks(3) {
                    let batch: SinkBatch = fixture.batch(entity, from, some);
                    sink.apply(&batch).await.unwrap();
                    from = batch.parts[0].next;
                }
            }
        }
        drop(sinks);
        let (ours, theirs) = (ours(&store, &fixture).await, theirs(&path));
        assert!(!ours.1.is_empty() && ours.0.values().any(|(deleted, _)| *deleted), "seed {seed} says too little");
        assert_eq!(ours, theirs, "seed {seed}");
    }
}
