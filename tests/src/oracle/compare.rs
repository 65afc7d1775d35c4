//! Comparing `state` and the four stores with the oracle: every live row, every column, every edge, every point.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::Oracle;
use super::graph::{self, COLLECTIONS, ENTITIES};
use super::values::{leaves, without_nulls};
use crate::place::Place;
use crate::stores::{self, Cells, Edge};

/// Columns of every table that are not of the row.
const BESIDE_THE_ROW: [&str; 7] = ["key", "tenant", "version", "deleted_at", "changed_at", "ingested_at", "source_position"];

/// Holds everything against the oracle.
///
/// # Panics
/// At the first difference, naming the store, the key and both sides.
pub fn everything(place: &Place, oracle: &Oracle) {
    state(place, oracle);
    tables(place.data(), "relational.db", oracle);
    tables(place.data(), "analytics.db", oracle);
    vertices(place.data(), oracle);
    edges(place.data(), oracle);
    points(place.data(), oracle);
}

fn state(place: &Place, oracle: &Oracle) {
    for (entity, _) in ENTITIES {
        let found = place.state(entity);
        let expected: BTreeMap<&str, _> = oracle.all(entity).collect();
        same_keys(&format!("state {entity}"), expected.keys().copied(), found.keys().map(String::as_str));
        for (key, current) in expected {
            let line = &found[key];
            assert_eq!(line.deleted, current.deleted, "state {entity} {key}: deleted");
            assert_eq!(without_nulls(&line.row), current.row, "state {entity} {key}");
        }
    }
}

fn tables(data: &Path, file: &str, oracle: &Oracle) {
    for (entity, key) in ENTITIES {
        let found = stores::rows(data, file, entity, key);
        let expected: BTreeMap<Vec<String>, &Value> = oracle
            .live(entity)
            .into_values()
            .map(|row| (key.iter().map(|field| row[*field].as_str().unwrap_or_default().to_owned()).collect(), row))
            .collect();
        let name = format!("{file}, {entity}");
        same_keys(&name, expected.keys().map(|key| key.join("|")), found.keys().map(|key| key.join("|")));
        for (key, row) in expected {
            same_row(&format!("{name} {key:?}"), row, &found[&key]);
        }
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

fn vertices(data: &Path, oracle: &Oracle) {
    let found = stores::vertices(data);
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
        for (path, value) in leaves(row).into_iter().filter(|(_, value)| !value.is_array()) {
            let column = path.replace('.', "_");
            assert_eq!(properties[&column], value, "vertex {vid}: property `{column}`");
        }
    }
}

fn edges(data: &Path, oracle: &Oracle) {
    let expected = graph::edges(oracle);
    let entity_edges: BTreeSet<String> = oracle
        .live("catalog_relation")
        .into_values()
        .filter_map(|row| Some(row["relation_type"].as_str()?.to_lowercase()))
        .collect();
    let found: BTreeSet<Edge> = stores::edges(data)
        .into_iter()
        .map(|edge| if entity_edges.contains(&edge.kind) { Edge { rank: 0, ..edge } } else { edge })
        .collect();
    let missing: Vec<&Edge> = expected.difference(&found).take(5).collect();
    let extra: Vec<&Edge> = found.difference(&expected).take(5).collect();
    assert!(missing.is_empty() && extra.is_empty(), "edges: missing {missing:#?}, extra {extra:#?}");
}

fn points(data: &Path, oracle: &Oracle) {
    let found = stores::points(data);
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
