//! What the store is on the server, and what happens when somebody else was there.

use std::collections::HashMap;
use std::sync::Arc;

use qdrant_client::qdrant::{CreateAlias, CreateCollection, Distance, PointStruct, Value, VectorParams};
use tidemark_log::{LogIdentity, Share};
use tidemark_schemas::Catalog;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::contract::points::VectorHarness;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_sink_core::points::point_id;
use tidemark_sink_core::report::told;
use tidemark_sink_core::search::Query;
use tidemark_test_support::Kind;

use super::harness::{Store, opened};

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

fn collection(name: &str) -> CreateCollection {
    let vectors = VectorParams { size: 4, distance: Distance::Dot.into(), ..VectorParams::default() };
    CreateCollection {
        collection_name: name.to_owned(),
        vectors_config: Some(qdrant_client::qdrant::vectors_config::Config::Params(vectors).into()),
        ..CreateCollection::default()
    }
}

#[tokio::test]
async fn a_point_is_what_readers_may_rely_on() {
    let Some(url) = Kind::Qdrant.address("a_point_is_what_readers_may_rely_on") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = opened(&store).await;
    let row = r#"{"project_code":"P|1","name":"玻尿酸","risk_level":3,"standard_price":"3980.5"}"#;
    let project = fixture.state("project", row, 7);
    sink.apply(&fixture.batch("project", 0, std::slice::from_ref(&project))).await.unwrap();
    let point = store.points("project").await.remove("P\\|1").unwrap();
    assert_eq!(point.id, point_id("project", "P\\|1").to_string());
    let mut payload = point.payload.clone();
    let mut take = |name: &str| payload.as_object_mut().unwrap().remove(name).unwrap();
    let (hash, turn) = (take("tidemark_text_hash"), take("tidemark_turn"));
    assert!(hash.is_i64() && turn.as_u64().unwrap() < 1 << 53, "{hash} {turn}");
    assert_eq!(
        payload.to_string(),
        r#"{"deleted":false,"entity":"project","key":"P\\|1","name":"玻尿酸","risk_level":3,"standard_price":"3980.50","standard_price_fen":398050,"version":7}"#
    );
    sink.apply(&fixture.batch("project", 1, &[fixture.deleted(&project, 8)])).await.unwrap();
    let gone = store.points("project").await.remove("P\\|1").unwrap();
    assert_eq!(gone.payload["deleted"], true);
    assert_eq!(gone.payload["deleted_at"], "2026-01-10T02:30:08Z");
    assert_eq!((&gone.payload["name"], gone.vector), (&payload["name"], point.vector), "the rest stays");
    let behind = store.behind("medical_knowledge").await.unwrap();
    assert!(behind.starts_with(&store.alias("medical_knowledge_")), "{behind}");
}

#[tokio::test]
async fn a_batch_of_many_requests_arrives_whole() {
    let Some(url) = Kind::Qdrant.address("a_batch_of_many_requests_arrives_whole") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = opened(&store).await;
    let states: Vec<_> = (0..1_500).map(|number| fixture.customer(&format!("C{number:04}"), "张三", number + 1)).collect();
    let mut batch = fixture.batch("customer", 0, &states);
    // A key that comes on two partitions: the higher version counts, whichever part it is in.
    batch.parts.push(fixture.part("customer", 0, &[fixture.customer("C0007", "新", 5_000), fixture.customer("C1499", "旧", 1)]));
    batch.parts[1].partition = 1;
    let applied = sink.apply(&batch).await.unwrap();
    assert_eq!((applied.written, applied.skipped), (1_500, 2));
    let rows = store.rows("customer").await;
    assert_eq!((rows.len(), rows["C0007"].version, rows["C1499"].version), (1_500, 5_000, 1_500));
    assert!(sink.check(LOG).await.summary.contains("1,500 rows"));
}

#[tokio::test]
async fn a_collection_that_somebody_dropped_is_filled_again() {
    let Some(url) = Kind::Qdrant.address("a_collection_that_somebody_dropped_is_filled_again") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = opened(&store).await;
    let mut batch = fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)]);
    batch.parts.push(fixture.part("project", 0, &[fixture.state("project", r#"{"project_code":"P1","name":"玻"}"#, 1)]));
    sink.apply(&batch).await.unwrap();
    let first = store.behind("customer_profiles").await.unwrap();
    store.client().delete_collection(&first).await.unwrap();
    let problems = sink.check(LOG).await.problems;
    assert!(problems.len() == 1 && problems[0].contains(&first), "{problems:?}");
    let next = fixture.batch("customer", 1, &[fixture.customer("C2", "李四", 2)]);
    let outcome = sink.apply(&next).await;
    assert!(matches!(outcome, Err(SinkError::Unavailable { .. })), "{outcome:?}");
    let positions = sink.open(LOG, &Share::All).await.unwrap();
    let stands: Vec<(&str, u64)> = positions.iter().map(|position| (position.entity.as_str(), position.next)).collect();
    assert_eq!(stands, [("customer", 0), ("project", 1)], "what went is read again, and only that");
    assert_ne!(store.behind("customer_profiles").await.unwrap(), first, "a name is never used twice");
    sink.apply(&fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)])).await.unwrap();
    sink.apply(&next).await.unwrap();
    assert_eq!((store.rows("customer").await.len(), store.rows("project").await.len()), (2, 1));
    assert_eq!(sink.check(LOG).await.problems, Vec::<String>::new());
}

#[tokio::test]
async fn what_others_have_under_our_names_is_refused_and_left_alone() {
    let Some(url) = Kind::Qdrant.address("what_others_have_under_our_names_is_refused_and_left_alone") else { return };
    let fixture = fixture();
    for by_alias in [false, true] {
        let store = Store::fresh(&url, fixture.catalog());
        let (client, name) = (store.client(), store.alias("customer_profiles"));
        let theirs = if by_alias { store.alias("theirs") } else { name.clone() };
        client.create_collection(collection(&theirs)).await.unwrap();
        if by_alias {
            let alias = CreateAlias { collection_name: theirs.clone(), alias_name: name.clone() };
            client.create_alias(alias).await.unwrap();
        }
        let mut sink = store.sink();
        let error = sink.open(LOG, &Share::All).await.unwrap_err();
        assert!(matches!(error, SinkError::Fatal { .. }), "{error:?}");
        let said = told(&error);
        assert!(said.contains(&name) && said.contains("set `prefix`"), "{said}");
        let problems = sink.check(LOG).await.problems;
        assert!(problems.iter().any(|problem| problem.contains("set `prefix`")), "{problems:?}");
        sink.reset().await.unwrap();
        assert!(client.collection_exists(&theirs).await.unwrap(), "what is not ours stays");
        client.delete_collection(&theirs).await.unwrap();
        sink.open(LOG, &Share::All).await.unwrap();
    }
}

#[tokio::test]
async fn emptying_takes_only_what_is_ours() {
    let Some(url) = Kind::Qdrant.address("emptying_takes_only_what_is_ours") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let client = store.client();
    let others = ["customer_profiles_backup", "customer_profiles_2026", "notes"].map(|name| store.alias(name));
    for other in &others {
        client.create_collection(collection(other)).await.unwrap();
    }
    let mut sink = opened(&store).await;
    // As an opening leaves it that was cut off.
    client.create_collection(collection(&store.alias("customer_profiles_0123abcd"))).await.unwrap();
    sink.apply(&fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)])).await.unwrap();
    let mut another = store.sink();
    another.reset().await.unwrap();
    let names = client.list_collections().await.unwrap().collections.into_iter().map(|one| one.name);
    let mut left: Vec<String> = names.filter(|name| name.starts_with(&store.options.prefix)).collect();
    left.sort();
    let mut expected = others.to_vec();
    // Its epoch must never come again.
    expected.push(store.alias("tidemark_meta"));
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!((another.positions().await.unwrap(), another.filled_from().await.unwrap()), (Vec::new(), None));
    let late = sink.apply(&fixture.batch("customer", 1, &[fixture.customer("C2", "李四", 2)])).await;
    assert!(late.is_err(), "a writer that still runs is stopped");
    another.reset().await.unwrap();
    for other in &others {
        client.delete_collection(other).await.unwrap();
    }
}

#[tokio::test]
async fn a_point_that_somebody_else_wrote_gives_way() {
    let Some(url) = Kind::Qdrant.address("a_point_that_somebody_else_wrote_gives_way") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = opened(&store).await;
    let by_hand = |key: &str, version: Option<i64>| {
        let mut payload = HashMap::from([("entity", Value::from("customer")), ("key", Value::from(key))]);
        payload.insert("deleted", Value::from(false));
        payload.extend(version.map(|version| ("version", Value::from(version))));
        let payload = payload.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let id = point_id("customer", key).to_string();
        PointStruct { id: Some(id.into()), vectors: Some(vec![1.0_f32; 256].into()), payload }
    };
    for (key, version) in [("C1", None), ("C2", Some(1)), ("C3", Some(9))] {
        store.put("customer_profiles", by_hand(key, version)).await;
    }
    let states = ["C1", "C2", "C3"].map(|code| fixture.customer(code, "张三", 5));
    let applied = sink.apply(&fixture.batch("customer", 0, &states)).await.unwrap();
    assert_eq!((applied.written, applied.skipped), (3, 0));
    let points = store.points("customer").await;
    let versions: Vec<u64> = points.values().map(|point| point.payload["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [5, 5, 5]);
}

#[tokio::test]
async fn a_store_of_another_log_is_named_with_its_place() {
    let Some(url) = Kind::Qdrant.address("a_store_of_another_log_is_named_with_its_place") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = opened(&store).await;
    let restored = LogIdentity { generation: 2, ..LOG };
    let error = sink.open(restored, &Share::All).await.unwrap_err().to_string();
    let place = format!("Qdrant at {url}, prefix {}", store.options.prefix);
    assert_eq!(
        error,
        format!(
            "{place} was filled from generation 1 of the log, which is at 2 now; `tidemark replay vector` empties it and fills it \
             again from the log"
        )
    );
    assert_eq!(store.sink().check(restored).await.problems, [error]);
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let fixture = fixture();
    // Nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    let error = sink.open(LOG, &Share::All).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
    let report = sink.check(LOG).await;
    assert!(report.summary.ends_with("not reached") && report.problems.len() == 1, "{report:?}");
    assert!(report.problems[0].starts_with(&format!("reaching Qdrant at {url}")), "{report:?}");
    assert!(sink.positions().await.is_err() && sink.reset().await.is_err());
    let query = Query { collection: "customer_profiles".to_owned(), text: "x".to_owned(), limit: 1, filters: Vec::new() };
    let error = store.search_by(Arc::new(NgramEmbedder)).search(query).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_search_says_what_is_missing() {
    let Some(url) = Kind::Qdrant.address("a_search_says_what_is_missing") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let query = Query { collection: "customer_profiles".to_owned(), text: "x".to_owned(), limit: 1, filters: Vec::new() };
    let error = store.search_by(Arc::new(NgramEmbedder)).search(query).await.unwrap_err().to_string();
    assert!(error.ends_with("is not there; run `tidemark up` once to fill it"), "{error}");
}
