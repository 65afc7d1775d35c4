//! Comparing `state` and the four stores with the oracle: every live row, every column, every edge, every point.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Oracle;
use super::graph::{self, COLLECTIONS, ENTITIES};
use super::values::{leaves, without_nulls};
use crate::place::{Place, StateLine};
use crate::readers::{Graph, Points, Readers, Tables};
use crate::stores::{Cells, Edge};

/// Columns of every table that are not of the row.
const BESIDE_THE_ROW: [&str; 7] = ["key", "tenant", "version", "deleted_at", "changed_at", "ingested_at", "source_position"];
/// Ending of the properties that hold an amount in fen beside its text.
const IN_FEN: &str = "_fen";

/// Entity → key → what `state` shows.
type States = BTreeMap<&'static str, BTreeMap<String, StateLine>>;

/// Holds everything against the oracle.
///
/// # Panics
/// At the first difference, naming the store, the key and both sides.
pub fn everything(place: &Place, stores: &Readers, oracle: &Oracle) {
    let states = state(place, oracle);
    tables("relational store", &*stores.relational, oracle, &states);
    tables("analytics store", &*stores.analytics, oracle, &states);
    lines(&*stores.analytics, oracle);
    vertices(&*stores.graph, oracle);
    edges(&*stores.graph, oracle);
    points(&*stores.vector, oracle);
}

fn state(place: &Place, oracle: &Oracle) -> States {
    // Side by side: on servers each is mostly waiting.
    let states: States = std::thread::scope(|threads| {
        let looking = ENTITIES.map(|(entity, _)| (entity, threads.spawn(move || place.state(entity))));
        looking.into_iter().map(|(entity, looking)| (entity, looking.join().expect("state is shown"))).collect()
    });
    for (entity, found) in &states {
        let expected: BTreeMap<&str, _> = oracle.all(entity).collect();
        same_keys(&format!("state {entity}"), expected.keys().copied(), found.keys().map(String::as_str));
        for (key, current) in expected {
            let line = &found[key];
            assert_eq!(line.deleted, current.deleted, "state {entity} {key}: deleted");
            assert_eq!(without_nulls(&line.row), current.row, "state {entity} {key}");
        }
    }
    states
}

fn tables(store: &str, tables: &dyn Tables, oracle: &Oracle, states: &States) {
    for (entity, key) in ENTITIES {
        let found = tables.rows(entity, key);
        let of_row = |row: &Value| key.iter().map(|field| row[*field].as_str().unwrap_or_default().to_owned()).collect();
        let expected: BTreeMap<Vec<String>, (&str, &Value)> =
            oracle.live(entity).into_iter().map(|(key, row)| (of_row(row), (key, row))).collect();
        let name = format!("{store}, {entity}");
        same_keys(&name, expected.keys().map(|key| key.join("|")), found.keys().map(|key| key.join("|")));
        for (parts, (key, row)) in expected {
            let (cells, state) = (&found[&parts], &states[entity][key]);
            let name = format!("{name} {parts:?}");
            assert_eq!(cells.get("key").map_or(key, String::as_str), key, "{name}: key");
            assert_eq!(cells["version"], state.version.to_string(), "{name}: version");
            assert_eq!(cells.get("tenant"), state.tenant.as_ref(), "{name}: tenant");
            same_row(&name, row, cells);
        }
    }
}

/// The lines of orders, each a row.
fn lines(tables: &dyn Tables, oracle: &Oracle) {
    let found = tables.rows("consumption_line", &["key", "position"]);
    let mut expected = BTreeMap::new();
    for (key, row) in oracle.live("consumption") {
        for (position, line) in (1..).zip(row["lines"].as_array().into_iter().flatten()) {
            expected.insert(vec![key.to_owned(), u64::to_string(&position)], line);
        }
    }
    same_keys("lines of orders", expected.keys().map(|key| key.join("|")), found.keys().map(|key| key.join("|")));
    for (place, line) in expected {
        let mut cells = found[&place].clone();
        cells.remove("position");
        same_row(&format!("line of an order {place:?}"), line, &cells);
    }
}

/// Compares a row of cells with a nested row: same columns, same values.
pub fn same_row(name: &str, expected: &Value, found: &Cells) {
    let mut left: Cells = found.clone();
    for column in BESIDE_THE_ROW {
        left.remove(column);
    }
    for (path, value) in leaves(expected) {
        let column = path.replace('.', "_");
        let cell = left.remove(&column).unwrap_or_else(|| panic!("{name}: `{column}` is null instead of {value}"));
        match &value {
            Value::String(text) => assert_eq!(&cell, text, "{name}: `{column}`"),
            Value::Bool(flag) => assert_eq!(cell, u8::from(*flag).to_string(), "{name}: `{column}`"),
            Value::Number(number) => assert_eq!(cell, number.to_string(), "{name}: `{column}`"),
            list => {
                let found: Value = serde_json::from_str(&cell).unwrap_or_else(|_| panic!("{name}: `{column}` is {cell}"));
                assert_eq!(&without_nulls(&found), list, "{name}: `{column}`");
            }
        }
    }
    assert!(left.is_empty(), "{name}: columns that should be null: {left:?}");
}

fn vertices(store: &dyn Graph, oracle: &Oracle) {
    let found = store.vertices();
    let mut expected = BTreeMap::new();
    for (entity, _) in ENTITIES.iter().filter(|(entity, _)| *entity != "catalog_relation") {
        for (key, row) in oracle.live(entity) {
            expected.insert(format!("{entity}:{key}"), (*entity, row));
        }
    }
    same_keys("vertices", expected.keys().map(String::as_str), found.keys().map(String::as_str));
    for (vid, (tag, row)) in expected {
        let (found_tag, properties) = &found[&vid];
        assert_eq!(found_tag, tag, "tag of {vid}");
        let mut left = properties.as_object().cloned().unwrap_or_default();
        left.retain(|name, value| !BESIDE_THE_ROW.contains(&name.as_str()) && !value.is_null());
        for (path, value) in leaves(row) {
            let column = path.replace('.', "_");
            let mut property = left.remove(&column).unwrap_or(Value::Null);
            left.remove(&format!("{column}{IN_FEN}"));
            // Lists are texts in one of the stores, and in the other they are left to the tables.
            if let (true, Some(text)) = (value.is_array(), property.as_str()) {
                property = without_nulls(&serde_json::from_str(text).unwrap_or(Value::Null));
            }
            assert!(
                property == value || value.is_array() && property.is_null(),
                "vertex {vid}: `{column}` is {property}: {value}"
            );
        }
        assert!(left.is_empty(), "vertex {vid}: properties that should be null: {left:?}");
    }
}

fn edges(store: &dyn Graph, oracle: &Oracle) {
    let expected = graph::edges(oracle);
    let entity_edges: BTreeSet<String> = oracle
        .live("catalog_relation")
        .into_values()
        .filter_map(|row| Some(row["relation_type"].as_str()?.to_lowercase()))
        .collect();
    let found: BTreeSet<Edge> = store
        .edges()
        .into_iter()
        .map(|edge| if entity_edges.contains(&edge.kind) { Edge { rank: 0, ..edge } } else { edge })
        .collect();
    let missing: Vec<&Edge> = expected.difference(&found).take(5).collect();
    let extra: Vec<&Edge> = found.difference(&expected).take(5).collect();
    assert!(missing.is_empty() && extra.is_empty(), "edges: missing {missing:#?}, extra {extra:#?}");
}

fn points(store: &dyn Points, oracle: &Oracle) {
    let found = store.points();
    let mut expected = BTreeMap::new();
    for (entity, collection, payload) in COLLECTIONS {
        for (key, row) in oracle.live(entity) {
            expected.insert((collection.to_owned(), key.to_owned()), (payload, row));
        }
    }
    same_keys("points", expected.keys().map(|key| format!("{key:?}")), found.keys().map(|key| format!("{key:?}")));
    for (place, (columns, row)) in expected {
        let point = &found[&place];
        let length: f32 = point.vector.iter().map(|number| number * number).sum::<f32>().sqrt();
        assert!((0.98..1.02).contains(&length), "point {place:?}: a vector of length {length} is not normalised");
        assert_eq!(point.payload["key"], place.1, "point {place:?}: key in the payload");
        let leaves = leaves(row);
        for column in columns {
            let value =
                leaves.iter().find(|(path, _)| path.replace('.', "_") == **column).map_or(&Value::Null, |(_, value)| value);
            assert_eq!(&point.payload[column], value, "point {place:?}: payload `{column}`");
        }
    }
}

fn same_keys<T: Ord + std::fmt::Debug>(name: &str, expected: impl Iterator<Item = T>, found: impl Iterator<Item = T>) {
    let expected: BTreeSet<T> = expected.collect();
    let found: BTreeSet<T> = found.collect();
    let missing: Vec<&T> = expected.difference(&found).take(5).collect();
    let extra: Vec<&T> = found.difference(&expected).take(5).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{name}: missing {missing:?}, extra {extra:?}");
}
