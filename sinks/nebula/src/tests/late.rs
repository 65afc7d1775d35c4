//! Statements that the server carries out long after they were sent, and what a writer leaves under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::contract::{Fixture, LOG};
use tidemark_test_support::Kind;
use tidemark_test_support::proxy::{Fate, Proxy};

use super::harness::Store;
use super::stores::opened;
use crate::client::Value;
use crate::client::tests::proxy::before;
use crate::meta;
use crate::settle;
use crate::setup::Setup;

/// How long a statement may take in these tests, and with it how long a takeover takes to settle.
const REQUEST: Duration = Duration::from_millis(400);

fn impatient(store: Store) -> Store {
    store.with(|options| options.request_timeout = REQUEST)
}

/// The same store, spoken to through a proxy.
fn through(proxy: &Proxy, store: &Store) -> Store {
    let space = store.options.space.clone();
    let through = Store::fresh(&proxy.address, &store.catalog);
    impatient(through).with(|options| options.space = space)
}

async fn name_of(store: &Store, key: &str) -> (Value, Value) {
    let mut vertex = store.vertices("customer").await.remove(&format!("customer:{key}")).unwrap();
    (vertex.remove("version").unwrap(), vertex.remove("person_name").unwrap())
}

/// Whether any partition of the store is noted to be gone back over.
async fn is_noted(store: &Store) -> bool {
    let found = meta::partitions(&mut store.session().await.unwrap(), &[0].into()).await.unwrap();
    found[&0].progress.back_to.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_an_overtaken_writer_had_under_way_is_written_over_once_more() {
    let Some(address) = Kind::Nebula.address("what_an_overtaken_writer_had_under_way_is_written_over_once_more") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = impatient(Store::fresh(&address, fixture.catalog()));
    let proxy = before(&address, |_| Fate::Pass);
    let slow = through(&proxy, &store);
    let mut older = opened(&slow).await;
    let (resume, resumed) = mpsc::channel::<()>();
    let (arrive, arrived) = mpsc::channel();
    proxy.rule(move |call| {
        if call.contains("INSERT VERTEX `customer`") {
            // Its writer gives up meanwhile.
            resumed.recv().unwrap();
            arrive.send(()).unwrap();
        }
        Fate::Pass
    });
    let old = fixture.batch("customer", 0, &[fixture.customer("C1", "旧", 1)]);
    let outcome = older.apply(&old).await;
    assert!(matches!(outcome, Err(SinkError::Unavailable { .. })), "{outcome:?}");

    let mut newer = opened(&store).await;
    newer.apply(&old).await.unwrap();
    newer.apply(&fixture.batch("customer", 1, &[fixture.customer("C1", "新", 2)])).await.unwrap();
    resume.send(()).unwrap();
    tokio::task::spawn_blocking(move || arrived.recv()).await.unwrap().unwrap();
    // It is on its way to the server, which says when it is done by what it holds.
    while name_of(&store, "C1").await != (Value::Int(1), Value::text("旧")) {
        tokio::task::yield_now().await;
    }
    let setup = Setup::new(store.options.clone(), fixture.catalog()).unwrap();
    let settles = tokio::time::Instant::now() + settle::patience(&setup.client);
    while !newer.went_back() {
        assert!(tokio::time::Instant::now() < settles + Duration::from_secs(30), "it never goes back");
        newer.look_after().await.unwrap();
    }
    newer.release().await.unwrap();
    let positions = newer.open(LOG, &Share::All).await.unwrap();
    assert_eq!(positions.iter().map(|position| position.next).collect::<Vec<_>>(), [0]);
    newer.apply(&fixture.batch("customer", 0, &[fixture.customer("C1", "新", 2)])).await.unwrap();
    assert_eq!(name_of(&store, "C1").await, (Value::Int(2), Value::text("新")));
    assert!(!newer.went_back() && !is_noted(&store).await, "it goes back once");
}

#[tokio::test]
async fn a_writer_that_gave_its_partitions_back_has_left_nothing() {
    let Some(address) = Kind::Nebula.address("a_writer_that_gave_its_partitions_back_has_left_nothing") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let mut sink = opened(&store).await;
    let batch = fixture.batch("customer", 0, &[fixture.customer("C1", "一", 1)]);
    sink.apply(&batch).await.unwrap();
    sink.release().await.unwrap();
    let outcome = sink.apply(&batch).await;
    assert!(matches!(outcome, Err(SinkError::Unavailable { .. })), "it must open anew: {outcome:?}");
    let killed = opened(&store).await;
    assert!(!is_noted(&store).await, "the one before has left nothing");
    drop(killed);
    let mut last = opened(&store).await;
    assert!(is_noted(&store).await, "the one before may have left something");
    last.release().await.unwrap();
    drop(opened(&store).await);
    assert!(is_noted(&store).await, "what is noted stays until it is followed");
}

#[tokio::test]
async fn only_rows_that_may_be_repeats_are_compared_with_what_is_stored() {
    let Some(address) = Kind::Nebula.address("only_rows_that_may_be_repeats_are_compared_with_what_is_stored") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    let proxy = before(&address, move |call| {
        if call.contains("FETCH PROP ON `customer`") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Fate::Pass
    });
    let store = Store::fresh(&address, fixture.catalog());
    let through = through(&proxy, &store);
    let mut sink = opened(&through).await;
    let row = |name: &str, version| [fixture.customer("C1", name, version)];
    for version in 1..4 {
        sink.apply(&fixture.batch("customer", version - 1, &row("升", version))).await.unwrap();
    }
    assert_eq!(looks.swap(0, Ordering::SeqCst), 0, "each is above all before");
    assert_eq!(sink.apply(&fixture.batch("customer", 3, &row("晚", 2))).await.unwrap().skipped, 1);
    assert_eq!(looks.swap(0, Ordering::SeqCst), 1, "it is not");

    // Its row is written, its position not moved, and who comes next begins with an earlier version of it.
    proxy.rule(|call| if call.contains("UPDATE VERTEX") && call.contains("\"next\\\":5") { Fate::Cut } else { Fate::Pass });
    let outcome = sink.apply(&fixture.batch("customer", 4, &row("新", 9))).await;
    assert!(matches!(outcome, Err(SinkError::Unavailable { .. })), "{outcome:?}");
    assert_eq!(name_of(&store, "C1").await.0, Value::Int(9));
    let mut next = opened(&store).await;
    assert_eq!(next.apply(&fixture.batch("customer", 4, &row("早", 8))).await.unwrap().skipped, 1);
    assert_eq!(name_of(&store, "C1").await.0, Value::Int(9), "an earlier version goes before no later one");
    // Nobody was cut off since: the next one knows what was sent.
    next.apply(&fixture.batch("customer", 5, &row("终", 1 << 20))).await.unwrap();
    next.release().await.unwrap();
    let last = meta::partitions(&mut store.session().await.unwrap(), &[0].into()).await.unwrap();
    assert_eq!(last[&0].progress.stands["customer"].unused, (1 << 20) + 1);
}
