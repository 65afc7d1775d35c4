//! Statements that the server carries out long after they were sent, and what a writer leaves under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{Fixture, LOG};
use tidemark_sink_core::{Sink, SinkBatch, SinkError};
use tidemark_test_support::Kind;
use tidemark_test_support::proxy::{Fate, Proxy};

use super::harness::Store;
use super::stores::{opened, relation};
use crate::client::Value;
use crate::client::tests::proxy::before;
use crate::meta;
use crate::settle;
use crate::setup::Setup;

/// How long a statement may take in these tests, and with it how long a takeover takes to settle.
const REQUEST: Duration = Duration::from_millis(400);
/// How long something may take that nothing stands in the way of.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// A statement of an overtaken writer, held up on its way to the server.
struct Late {
    store: Store,
    newer: Box<dyn Sink>,
    resume: mpsc::Sender<()>,
    arrived: mpsc::Receiver<()>,
}

impl Late {
    /// The first statement with `text` in it, of a writer that begins with `batch` and is overtaken.
    async fn hold_up(address: &str, fixture: &Fixture, text: &'static str, batch: &SinkBatch) -> Self {
        let store = impatient(Store::fresh(address, fixture.catalog()));
        let proxy = before(address, |_| Fate::Pass);
        let slow = through(&proxy, &store);
        let mut older = opened(&slow).await;
        let (resume, resumed) = mpsc::channel::<()>();
        let (arrive, arrived) = mpsc::channel();
        proxy.rule(move |call| {
            if call.contains(text) {
                // Its writer gives up meanwhile.
                resumed.recv().unwrap();
                arrive.send(()).unwrap();
            }
            Fate::Pass
        });
        let outcome = older.apply(batch).await;
        assert!(matches!(outcome, Err(SinkError::Unavailable { .. })), "{outcome:?}");
        let newer = opened(&store).await;
        // It must go on when this is over, and its space is the other's.
        std::mem::forget((proxy, slow));
        Self { store, newer, resume, arrived }
    }

    /// Lets it arrive, and waits until it shows.
    async fn arrive(&self, shows: impl AsyncFn(&Store) -> bool) {
        self.resume.send(()).unwrap();
        self.arrived.recv_timeout(PATIENCE).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !shows(&self.store).await {
            assert!(Instant::now() < deadline, "it never shows");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the newer writer goes back, and opens it again; returns where it stands.
    async fn go_back(&mut self) -> Vec<u64> {
        let deadline = Instant::now() + settled_after(&self.store) + PATIENCE;
        while !self.newer.went_back() {
            assert!(Instant::now() < deadline, "it never goes back");
            self.newer.look_after().await.unwrap();
            tokio::task::yield_now().await;
        }
        self.newer.release().await.unwrap();
        let positions = self.newer.open(LOG, &Share::All).await.unwrap();
        positions.iter().map(|position| position.next).collect()
    }
}

fn settled_after(store: &Store) -> Duration {
    settle::patience(&Setup::new(store.options.clone(), &store.catalog).unwrap().client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_an_overtaken_writer_had_under_way_is_written_over_once_more() {
    let Some(address) = Kind::Nebula.address("what_an_overtaken_writer_had_under_way_is_written_over_once_more") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let old = fixture.batch("customer", 0, &[fixture.customer("C1", "旧", 1)]);
    let mut late = Late::hold_up(&address, &fixture, "INSERT VERTEX `customer`", &old).await;
    late.newer.apply(&old).await.unwrap();
    let new = [fixture.customer("C1", "新", 2)];
    late.newer.apply(&fixture.batch("customer", 1, &new)).await.unwrap();
    late.arrive(async |store| name_of(store, "C1").await == (Value::Int(1), Value::text("旧"))).await;
    assert_eq!(late.go_back().await, [0]);
    late.newer.apply(&fixture.batch("customer", 0, &new)).await.unwrap();
    assert_eq!(name_of(&late.store, "C1").await, (Value::Int(2), Value::text("新")));
    assert!(!late.newer.went_back() && !is_noted(&late.store).await, "it goes back once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_is_an_edge_whose_record_says_nothing_of_it() {
    let Some(address) = Kind::Nebula.address("so_is_an_edge_whose_record_says_nothing_of_it") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let states = [relation(&fixture, "BOTOX", 1, 1), relation(&fixture, "BOTOX", 2, 2)];
    let (old, new) = (&states[..1], &states[1..]);
    let first = fixture.batch("catalog_relation", 0, old);
    let mut late = Late::hold_up(&address, &fixture, "INSERT EDGE", &first).await;
    late.newer.apply(&first).await.unwrap();
    late.newer.apply(&fixture.batch("catalog_relation", 1, new)).await.unwrap();
    let level = async |store: &Store| store.edges().await.into_values().next().unwrap().remove("relation_level").unwrap();
    assert_eq!(level(&late.store).await, Value::Int(2));
    late.arrive(async |store| level(store).await == Value::Int(1)).await;
    assert_eq!(late.go_back().await, [0]);
    late.newer.apply(&fixture.batch("catalog_relation", 0, &states)).await.unwrap();
    assert_eq!(level(&late.store).await, Value::Int(2));
}

#[tokio::test]
async fn it_does_not_go_back_in_the_middle_of_a_batch() {
    let Some(address) = Kind::Nebula.address("it_does_not_go_back_in_the_middle_of_a_batch") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = impatient(Store::fresh(&address, fixture.catalog()));
    let mut sink = opened(&store).await;
    sink.apply(&fixture.batch("customer", 0, &[fixture.customer("C1", "一", 1)])).await.unwrap();
    drop(sink);
    let mut sink = opened(&store).await;
    sink.apply(&fixture.batch("customer", 1, &[fixture.customer("C2", "二", 2)])).await.unwrap();
    tokio::time::sleep(settled_after(&store)).await;
    let mut batch = fixture.batch("customer", 2, &[fixture.customer("C3\\u0000", "三", 3), fixture.customer("C4", "四", 4)]);
    let rows = match sink.apply(&batch).await {
        Err(SinkError::Rejected(rows)) => rows,
        outcome => panic!("{outcome:?}"),
    };
    assert!(!sink.went_back());
    batch.exclude(&rows);
    assert_eq!(sink.apply(&batch).await.unwrap().written, 1);
    assert!(sink.went_back());
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
    let high = 1 << 20;
    let outcome = sink.apply(&fixture.batch("customer", 4, &row("新", high))).await;
    assert!(matches!(outcome, Err(SinkError::Unavailable { .. })), "{outcome:?}");
    assert_eq!(name_of(&store, "C1").await.1, Value::text("新"));
    let mut next = opened(&store).await;
    assert_eq!(next.apply(&fixture.batch("customer", 4, &row("早", high - 1))).await.unwrap().skipped, 1);
    assert_eq!(name_of(&store, "C1").await.1, Value::text("新"), "an earlier version goes before no later one");
    // Who gives the store back leaves no room.
    next.apply(&fixture.batch("customer", 5, &row("终", 2 * high))).await.unwrap();
    next.release().await.unwrap();
    let last = meta::partitions(&mut store.session().await.unwrap(), &[0].into()).await.unwrap();
    assert_eq!(last[&0].progress.stands["customer"].unused, 2 * high + 1);
}
