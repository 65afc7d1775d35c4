//! The embedded vector store as the measure: the same history, the same points.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_test_support::Kind;

use super::harness::{Shown, Store, rounded};

const ENTITIES: [&str; 3] = ["customer", "project", "product"];

/// What a text may be made of that somebody might take for something else.
const WORDS: [&str; 8] = ["张三", "O'Brien\\\"", "`x` -- /*", "$1 \\\\", "😀", "a\\nb", "{name}", ""];

fn history(fixture: &Fixture, seed: u64) -> Vec<(&'static str, Vec<State<'static>>)> {
    let mut random = seed | 1;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut made: Vec<(&'static str, Vec<State<'static>>)> = ENTITIES.map(|entity| (entity, Vec::new())).to_vec();
    for version in 1..=120 {
        let (which, record) = (next(3) as usize, next(7));
        let mut word = || WORDS[next(8) as usize];
        let row = match which {
            0 => {
                let (name, note, tag) = (word(), word(), word());
                let date = ["null", "\"2026-01-10\"", "\"1969-12-31\""][next(3) as usize];
                format!(
                    r#"{{"customer_code":"C{record}|\\","institution_code":"BJ","person":{{"name":"{name}"}},"notes":"{note}","tags":["{tag}"],"first_visit_date":{date}}}"#
                )
            }
            1 => {
                let (name, text) = (word(), word());
                let price = ["null", "\"0.01\"", "\"3980.00\"", "\"99999999999999.99\""][next(4) as usize];
                format!(
                    r#"{{"project_code":"P{record}","name":"{name}","description":"{text}","risk_level":{},"standard_price":{price}}}"#,
                    next(5) + 1
                )
            }
            _ => {
                let (name, text) = (word(), word());
                format!(r#"{{"product_code":"P{record}","name":"{name}","description":"{text}"}}"#)
            }
        };
        let live = fixture.state(ENTITIES[which], &row, version);
        made[which].1.push(if next(5) == 0 { fixture.deleted(&live, version) } else { live });
    }
    made
}

/// Collection, key → id, version, when it was deleted, hash of the text, payload, vector.
type Points = BTreeMap<(String, String), (String, u64, Option<String>, i64, Value, Vec<i32>)>;

async fn ours(store: &Store, fixture: &Fixture) -> Points {
    let mut found = Points::new();
    for entity in ENTITIES {
        let collection = fixture.entity(entity).vector.as_ref().unwrap().collection.clone();
        for (key, Shown { id, mut payload, vector }) in store.points(entity).await {
            let mut take = |name: &str| payload.as_object_mut().unwrap().remove(name);
            let (version, own) = (take("version").unwrap().as_u64().unwrap(), take("tidemark").unwrap());
            let deleted_at = take("deleted_at").map(|at| at.as_str().unwrap().to_owned());
            assert_eq!(take("deleted").unwrap().as_bool(), Some(deleted_at.is_some()));
            let hash = own["text_hash"].as_i64().unwrap();
            let place = (format!("{collection} {entity}"), key);
            found.insert(place, (id, version, deleted_at, hash, payload, rounded(&vector)));
        }
    }
    found
}

fn theirs(path: &Path) -> Points {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT collection || ' ' || entity, key, id, version, deleted_at, text_hash, payload, vector FROM point";
    let mut statement = connection.prepare(sql).unwrap();
    let points = statement.query_map([], |row| {
        let payload: Value = serde_json::from_str(&row.get::<_, String>(6)?).unwrap();
        let bytes: Vec<u8> = row.get(7)?;
        let vector: Vec<f32> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        let point = (row.get(2)?, row.get::<_, i64>(3)?.unsigned_abs(), row.get(4)?, row.get(5)?, payload, rounded(&vector));
        Ok(((row.get(0)?, row.get(1)?), point))
    });
    points.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn the_same_history_gives_the_same_points_as_the_embedded_store() {
    let Some(url) = Kind::Qdrant.address("the_same_history_gives_the_same_points_as_the_embedded_store") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    for (seed, in_order) in [(3, false), (5, true), (8, false), (13, true)] {
        let store = Store::fresh(&url, fixture.catalog());
        let store = if in_order { store.in_order() } else { store };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vector.db");
        let embedded = tidemark_sink_sqlite::vector(path.clone(), Arc::clone(fixture.catalog()), Arc::new(NgramEmbedder));
        let mut sinks = [store.sink(), embedded];
        let mut applied = Vec::new();
        for sink in &mut sinks {
            sink.open(LOG, &Share::All).await.unwrap();
            for (entity, states) in history(&fixture, seed) {
                let mut from = 0;
                for some in states.chunks(4) {
                    let batch = fixture.batch(entity, from, some);
                    applied.push(sink.apply(&batch).await.unwrap());
                    from = batch.parts[0].next;
                }
            }
        }
        drop(sinks);
        let (one, other) = applied.split_at(applied.len() / 2);
        assert_eq!(one, other, "seed {seed}: the same counts");
        let (ours, theirs) = (ours(&store, &fixture).await, theirs(&path));
        assert!(ours.len() > 15 && ours.values().any(|point| point.2.is_some()), "seed {seed} says too little");
        assert_eq!(ours, theirs, "seed {seed}");
    }
}
