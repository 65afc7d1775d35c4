//! The embedded vector store as the measure: the same history, the same points.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::Value;
use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_test_support::Kind;

use super::harness::{Shown, Store, rounded};

const ENTITIES: [&str; 3] = ["customer", "project", "product"];
const DATES: [&str; 3] = ["null", "\"2026-01-10\"", "\"1969-12-31\""];
const PRICES: [&str; 4] = ["null", "\"0.01\"", "\"3980.00\"", "\"99999999999999.99\""];

/// Something that happens to a record of one of the entities.
#[derive(Debug, Clone)]
struct Event {
    entity: usize,
    record: u8,
    is_delete: bool,
    /// Whatever somebody might take for something else, and often the same again.
    texts: [String; 3],
    choice: usize,
}

fn event() -> impl Strategy<Value = Event> {
    let text = prop_oneof![Just("张三".to_owned()), Just(String::new()), any::<String>(), "[\\PC'\"`$\\\\{}😀]{0,12}"];
    let texts = [text.clone(), text.clone(), text];
    (0..3_usize, 0..7_u8, prop::bool::weighted(0.2), texts, 0..12_usize)
        .prop_map(|(entity, record, is_delete, texts, choice)| Event { entity, record, is_delete, texts, choice })
}

/// A history whose last record ends deleted, whatever else happens in it.
fn history() -> impl Strategy<Value = Vec<Event>> {
    (prop::collection::vec(event(), 80..120), event()).prop_map(|(mut events, last)| {
        events.push(Event { is_delete: true, ..last });
        events
    })
}

fn states(fixture: &Fixture, events: &[Event]) -> Vec<(&'static str, Vec<State<'static>>)> {
    let mut made: Vec<(&'static str, Vec<State<'static>>)> = ENTITIES.map(|entity| (entity, Vec::new())).to_vec();
    for (version, Event { entity, record, is_delete, texts, choice }) in (1..).zip(events) {
        let [one, two, three] = [0, 1, 2].map(|number| serde_json::to_string(&texts[number]).unwrap());
        let row = match entity {
            0 => format!(
                r#"{{"customer_code":"C{record}|\\","institution_code":"BJ","person":{{"name":{one}}},"notes":{two},"tags":[{three}],
                    "first_visit_date":{}}}"#,
                DATES[choice % 3]
            ),
            1 => format!(
                r#"{{"project_code":"P{record}","name":{one},"description":{two},"risk_level":{},"standard_price":{}}}"#,
                choice % 5 + 1,
                PRICES[choice % 4]
            ),
            _ => format!(r#"{{"product_code":"P{record}","name":{one},"description":{two},"brand":{three}}}"#),
        };
        let live = fixture.state(ENTITIES[*entity], &row, version);
        made[*entity].1.push(if *is_delete { fixture.deleted(&live, version) } else { live });
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
            let version = take("version").unwrap().as_u64().unwrap();
            let hash = take("tidemark_text_hash").unwrap().as_i64().unwrap();
            take("tidemark_turn").unwrap();
            let deleted_at = take("deleted_at").map(|at| at.as_str().unwrap().to_owned());
            assert_eq!(take("deleted").unwrap().as_bool(), Some(deleted_at.is_some()));
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

async fn both(url: &str, fixture: &Fixture, events: &[Event], in_order: bool) -> (Points, Points) {
    let store = Store::fresh(url, fixture.catalog());
    let store = if in_order { store.in_order() } else { store };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vector.db");
    let embedded = tidemark_sink_sqlite::vector(path.clone(), Arc::clone(fixture.catalog()), Arc::new(NgramEmbedder));
    let mut sinks = [store.sink(), embedded];
    for sink in &mut sinks {
        sink.open(LOG, &Share::All).await.unwrap();
    }
    for (entity, states) in states(fixture, events) {
        let mut from = 0;
        for some in states.chunks(4) {
            let batch = fixture.batch(entity, from, some);
            let [ours, theirs] = &mut sinks;
            let applied = ours.apply(&batch).await.unwrap();
            assert_eq!(applied, theirs.apply(&batch).await.unwrap(), "the same counts");
            from = batch.parts[0].next;
        }
    }
    drop(sinks);
    (ours(&store, fixture).await, theirs(&path))
}

#[test]
fn the_same_history_gives_the_same_points_as_the_embedded_store() {
    let Some(url) = Kind::Qdrant.address("the_same_history_gives_the_same_points_as_the_embedded_store") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Each case is a store of its own on the server, so there are few, and long ones.
    let config = ProptestConfig { cases: 4, max_shrink_iters: 16, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(events in history(), in_order in any::<bool>())| {
        let (ours, theirs) = runtime.block_on(both(&url, &fixture, &events, in_order));
        prop_assert!(ours.len() > 12 && ours.values().any(|point| point.2.is_some()), "it says too little: {ours:?}");
        prop_assert_eq!(ours, theirs);
    });
}
