//! Several writers, and answers that never come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_core::SinkError;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_test_support::Kind;
use tidemark_test_support::proxy::Fate;

use super::harness::Store;
use super::stores::opened;
use crate::client::Value;
use crate::client::tests::proxy::{answer, before};
use crate::meta::{self, Progress, Stand};
use crate::writer::LEASE;

#[tokio::test]
async fn two_workers_write_their_own_partitions_and_a_third_takes_over() {
    let Some(address) = Kind::Nebula.address("two_workers_write_their_own_partitions_and_a_third_takes_over") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let share = |numbers: &[u32]| Share::Partitions(numbers.iter().copied().collect());
    let of = |partition: u32, from: u64, states: &[State<'_>]| {
        let mut batch = fixture.batch("customer", from, states);
        batch.parts[0].partition = partition;
        batch
    };
    let (mut one, mut other) = (store.sink(), store.sink());
    one.open(LOG, &share(&[0, 2])).await.unwrap();
    other.open(LOG, &share(&[1])).await.unwrap();
    one.apply(&of(0, 0, &[fixture.customer("C0", "零", 1)])).await.unwrap();
    other.apply(&of(1, 0, &[fixture.customer("C1", "一", 1)])).await.unwrap();
    one.apply(&of(2, 0, &[fixture.customer("C2", "二", 1)])).await.unwrap();
    match one.apply(&of(1, 1, &[fixture.customer("C1", "偷", 2)])).await {
        Err(SinkError::Stale(_)) => {}
        outcome => panic!("{outcome:?}"),
    }
    one.open(LOG, &share(&[0, 2])).await.unwrap();
    let mut third = store.sink();
    let positions = third.open(LOG, &share(&[2])).await.unwrap();
    assert_eq!(positions.iter().map(|position| (position.partition, position.next)).collect::<Vec<_>>(), [(2, 1)]);
    match one.apply(&of(2, 1, &[fixture.customer("C2", "旧", 2)])).await {
        Err(SinkError::Stale(_)) => {}
        outcome => panic!("{outcome:?}"),
    }
    one.open(LOG, &share(&[0])).await.unwrap();
    one.apply(&of(0, 1, &[fixture.customer("C0", "新", 2)])).await.unwrap();
    third.apply(&of(2, 1, &[fixture.customer("C2", "新", 2)])).await.unwrap();
    other.apply(&of(1, 1, &[fixture.customer("C1", "新", 2)])).await.unwrap();
    let names: Vec<Value> =
        store.vertices("customer").await.into_values().map(|mut vertex| vertex.remove("person_name").unwrap()).collect();
    assert_eq!(names, [Value::text("新"), Value::text("新"), Value::text("新")]);
    let positions = one.positions().await.unwrap();
    assert_eq!(
        positions.iter().map(|position| (position.partition, position.next)).collect::<Vec<_>>(),
        [(0, 2), (1, 2), (2, 2)]
    );
}

#[tokio::test]
async fn a_writer_that_is_overtaken_in_mid_batch_moves_no_position() {
    let Some(address) = Kind::Nebula.address("a_writer_that_is_overtaken_in_mid_batch_moves_no_position") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let mut newer = opened(&store).await;
    // As the older writer's rows arrive, the partition is taken from it.
    let space = store.options.space.clone();
    let taken = Arc::new(AtomicBool::new(false));
    let proxy = before(&address, |_| Fate::Pass);
    let through = Store::fresh(&address, fixture.catalog())
        .with(|options| (options.addresses, options.space) = (vec![proxy.address.clone()], space));
    let mut older = opened(&through).await;
    let (seen, armed) = (Arc::clone(&taken), Arc::new(tokio::sync::Notify::new()));
    let (wake, resume) = (Arc::clone(&armed), Arc::new(AtomicBool::new(false)));
    let gate = Arc::clone(&resume);
    proxy.rule(move |call| {
        if call.contains("UPDATE VERTEX") && !gate.load(Ordering::SeqCst) && !seen.swap(true, Ordering::SeqCst) {
            wake.notify_one();
            // Never reaches the server: as if the process were stopped right before it.
            return answer(call, -1005, "Storage Error: RPC failure, probably timeout.");
        }
        Fate::Pass
    });
    let batch = fixture.batch("customer", 0, &[fixture.customer("C1", "旧", 1)]);
    let outcome = older.apply(&batch).await;
    assert!(matches!(outcome, Err(SinkError::Unavailable { .. })), "{outcome:?}");
    armed.notified().await;
    resume.store(true, Ordering::SeqCst);
    newer.open(LOG, &Share::All).await.unwrap();
    newer
        .apply(&fixture.batch("customer", 0, &[fixture.customer("C1", "新", 2), fixture.customer("C2", "新", 3)]))
        .await
        .unwrap();
    let outcome = older.apply(&batch).await;
    assert!(matches!(outcome, Err(SinkError::Unavailable { .. })), "it must open anew: {outcome:?}");
    assert_eq!(newer.positions().await.unwrap()[0].next, 2);
    let vertex = &store.vertices("customer").await["customer:C1"];
    assert_eq!((&vertex["version"], &vertex["person_name"]), (&Value::Int(2), &Value::text("新")));
}

/// What is held to be the stopping of a process here is a call that hangs in the proxy until the lease is long over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_that_was_stopped_looks_before_it_sends() {
    let Some(address) = Kind::Nebula.address("a_writer_that_was_stopped_looks_before_it_sends") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let proxy = before(&address, |_| Fate::Pass);
    let space = store.options.space.clone();
    let through = Store::fresh(&address, fixture.catalog())
        .with(|options| (options.addresses, options.space) = (vec![proxy.address.clone()], space));
    let mut older = opened(&through).await;
    older.apply(&fixture.batch("customer", 0, &[fixture.customer("C0", "零", 2)])).await.unwrap();
    let (stopped, is_stopped) = std::sync::mpsc::channel();
    let (resume, resumed) = std::sync::mpsc::channel::<()>();
    proxy.rule(move |call| {
        if call.contains("FETCH PROP ON `customer`") {
            stopped.send(()).unwrap();
            resumed.recv().unwrap();
        }
        Fate::Pass
    });
    // A version that may have been sent before, so that it looks at what is stored.
    let batch = fixture.batch("customer", 1, &[fixture.customer("C1", "旧", 1)]);
    let applying = tokio::spawn(async move { older.apply(&batch).await });
    tokio::task::spawn_blocking(move || is_stopped.recv()).await.unwrap().unwrap();
    let mut newer = opened(&store).await;
    newer.apply(&fixture.batch("customer", 1, &[fixture.customer("C1", "新", 3)])).await.unwrap();
    tokio::time::sleep(LEASE).await;
    resume.send(()).unwrap();
    let outcome = applying.await.unwrap();
    assert!(matches!(outcome, Err(SinkError::Stale(_))), "{outcome:?}");
    let vertex = &store.vertices("customer").await["customer:C1"];
    assert_eq!((&vertex["version"], &vertex["person_name"]), (&Value::Int(3), &Value::text("新")));
}

#[tokio::test]
async fn the_server_moves_no_position_for_an_old_token() {
    let Some(address) = Kind::Nebula.address("the_server_moves_no_position_for_an_old_token") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    drop(opened(&store).await);
    let mut session = store.session().await.unwrap();
    let numbers = [0].into_iter().collect();
    meta::take(&mut session, &numbers, "old").await.unwrap();
    let stands = |next| [("customer".to_owned(), Stand { next, ..Stand::default() })].into_iter().collect();
    let at = |next| Progress { stands: stands(next), ..Progress::default() };
    meta::move_to(&mut session, 0, "old", &at(5)).await.unwrap();
    meta::take(&mut session, &numbers, "new").await.unwrap();
    meta::move_to(&mut session, 0, "old", &at(9)).await.unwrap();
    let found = meta::partitions(&mut session, &numbers).await.unwrap();
    assert_eq!((found[&0].owner.as_str(), found[&0].progress.stands["customer"].next), ("new", 5));
}

#[tokio::test]
async fn answers_that_are_lost_after_the_store_has_applied_do_no_harm() {
    let Some(address) = Kind::Nebula.address("answers_that_are_lost_after_the_store_has_applied_do_no_harm") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let straight = Store::fresh(&address, fixture.catalog());
    let proxy = before(&address, |_| Fate::Pass);
    let cut = Store::fresh(&address, fixture.catalog()).with(|options| options.addresses = vec![proxy.address.clone()]);
    let (mut plain, mut sink) = (opened(&straight).await, opened(&cut).await);
    // Each round the answer to another of its statements is lost, until there is none left to lose.
    let mut from = 0;
    for number in 0.. {
        let (one, other) = (format!("O{number}a"), format!("O{number}b"));
        let changed = fixture.order(&one, "C2", &["B", "C"], from + 2);
        let gone = fixture.deleted(&fixture.order(&other, "C2", &["B", "C"], from + 3), from + 4);
        let states = [fixture.order(&one, "C1", &["A", "B"], from + 1), fixture.order(&other, "C2", &["B"], from + 2)];
        let batches = [fixture.batch("consumption", from, &states), fixture.batch("consumption", from + 2, &[changed, gone])];
        from += 4;
        let (count, hit) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&hit);
        proxy.rule(move |call| {
            let writes = ["INSERT ", "DELETE ", "UPDATE "].iter().any(|word| call.contains(word));
            if writes && count.fetch_add(1, Ordering::SeqCst) == number {
                told.store(true, Ordering::SeqCst);
                return Fate::CutAfter;
            }
            Fate::Pass
        });
        for batch in &batches {
            plain.apply(batch).await.unwrap();
            while let Err(error) = sink.apply(batch).await {
                assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
                let positions = sink.open(LOG, &Share::All).await.unwrap();
                if positions.iter().any(|position| position.next == batch.parts[0].next) {
                    break;
                }
            }
        }
        assert_eq!(sink.positions().await.unwrap(), plain.positions().await.unwrap());
        if !hit.load(Ordering::SeqCst) {
            assert!(number >= 10, "a round has only {number} statements");
            break;
        }
    }
    assert_eq!(cut.rows("consumption").await, straight.rows("consumption").await);
}
