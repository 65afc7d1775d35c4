//! Several writers over one store, and requests that come late or twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_core::contract::points::VectorHarness;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_sink_core::embedder::{EmbedError, Embedder};
use tidemark_sink_core::points;
use tidemark_sink_core::{Sink, SinkBatch, SinkError};
use tidemark_test_support::Kind;
use tokio::sync::Semaphore;

use super::harness::{Store, opened};
use crate::client::{Client, Order};
use crate::meta::Stand;
use crate::payload;
use crate::write::{LEASE, before};

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

fn only(partitions: &[u32]) -> Share {
    Share::Partitions(partitions.iter().copied().collect::<BTreeSet<_>>())
}

/// A customer at a partition.
fn batch(fixture: &Fixture, partition: u32, from: u64, state: State<'_>) -> SinkBatch {
    let mut batch = fixture.batch("customer", from, &[state]);
    batch.parts[0].partition = partition;
    batch
}

async fn is_stale(sink: &mut Box<dyn Sink>, batch: &SinkBatch) -> bool {
    let outcome = sink.apply(batch).await;
    assert!(matches!(outcome, Ok(_) | Err(SinkError::Stale(_))), "{outcome:?}");
    outcome.is_err()
}

#[tokio::test]
async fn each_share_has_its_own_writer() {
    let Some(url) = Kind::Qdrant.address("each_share_has_its_own_writer") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let of = |partition, from, code: &str| batch(&fixture, partition, from, fixture.customer(code, "张三", from + 1));
    let (mut one, mut other) = (store.sink(), store.sink());
    assert_eq!(one.open(LOG, &only(&[0, 2])).await.unwrap(), []);
    assert_eq!(other.open(LOG, &only(&[1])).await.unwrap(), []);
    for (from, code) in [(0, "A"), (1, "B")] {
        one.apply(&of(0, from, code)).await.unwrap();
        other.apply(&of(1, from, &format!("{code}1"))).await.unwrap();
        one.apply(&of(2, from, &format!("{code}2"))).await.unwrap();
    }
    assert!(is_stale(&mut other, &of(0, 2, "X")).await, "a partition of another worker");
    other.open(LOG, &only(&[1])).await.unwrap();
    // One partition changes hands; the rest of the share is not disturbed.
    let mut third = store.sink();
    let positions = third.open(LOG, &only(&[2])).await.unwrap();
    assert_eq!(positions.iter().map(|position| (position.partition, position.next)).collect::<Vec<_>>(), [(2, 2)]);
    assert!(is_stale(&mut one, &of(2, 2, "X")).await, "what was taken away is not written any more");
    one.open(LOG, &only(&[0])).await.unwrap();
    one.apply(&of(0, 2, "C")).await.unwrap();
    third.apply(&of(2, 2, "C2")).await.unwrap();
    other.apply(&of(1, 2, "C1")).await.unwrap();
    // A worker of all ends every other one, and any other ends it.
    let mut all = store.sink();
    assert_eq!(all.open(LOG, &Share::All).await.unwrap().len(), 3);
    assert!(is_stale(&mut one, &of(0, 3, "X")).await);
    all.apply(&of(0, 3, "D")).await.unwrap();
    all.apply(&of(5, 0, "E")).await.unwrap();
    third.open(LOG, &only(&[2])).await.unwrap();
    assert!(is_stale(&mut all, &of(2, 3, "X")).await);
    // Of two for all, the later one may begin a partition that nobody has written.
    let (mut earlier, mut later) = (store.sink(), store.sink());
    earlier.open(LOG, &Share::All).await.unwrap();
    later.open(LOG, &Share::All).await.unwrap();
    assert!(is_stale(&mut earlier, &of(7, 0, "X")).await);
    later.apply(&of(7, 0, "F")).await.unwrap();
    let keys: Vec<String> = store.rows("customer").await.into_keys().collect();
    assert_eq!(keys, ["A", "A1", "A2", "B", "B1", "B2", "C", "C1", "C2", "D", "E", "F"], "a stale worker writes nothing");
}

#[tokio::test]
async fn openings_at_the_same_time_agree() {
    let Some(url) = Kind::Qdrant.address("openings_at_the_same_time_agree") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let openings = (0..4).map(|partition| {
        let mut sink = store.sink();
        async move {
            // As the engine does it: what passes is tried again.
            while let Err(error) = sink.open(LOG, &only(&[partition])).await {
                assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
            }
            sink
        }
    });
    let mut sinks = futures::future::join_all(openings).await;
    for (partition, sink) in (0..).zip(&mut sinks) {
        let state = fixture.customer(&format!("C{partition}"), "张三", 1);
        // One that opened before another collection was chosen learns so, and opens again.
        if let Err(error) = sink.apply(&batch(&fixture, partition, 0, state.clone())).await {
            assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
            sink.open(LOG, &only(&[partition])).await.unwrap();
            sink.apply(&batch(&fixture, partition, 0, state)).await.unwrap();
        }
    }
    assert_eq!(store.rows("customer").await.len(), 4, "all four are where readers look");
    let collections = store.client().list_collections().await.unwrap().collections;
    let ours: Vec<String> =
        collections.into_iter().map(|one| one.name).filter(|name| name.starts_with(&store.options.prefix)).collect();
    assert_eq!(ours.len(), 3, "nothing is left over: {ours:?}");
}

/// The server's own gate, by requests as a sink sends them.
#[tokio::test]
async fn a_request_that_comes_late_or_twice_changes_nothing() {
    let Some(url) = Kind::Qdrant.address("a_request_that_comes_late_or_twice_changes_nothing") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let old = fixture.customer("C1", "旧", 1);
    let kinds = points::kinds(fixture.catalog()).unwrap();
    let client = Client::new(&store.options).unwrap();
    let mut sink = opened(&store).await;
    sink.apply(&batch(&fixture, 0, 0, old.clone())).await.unwrap();
    let turn = store.points("customer").await["C1"].payload["tidemark_turn"].as_u64().unwrap();
    // What the network kept of the first request, or repeats of it.
    let late = async |code: &str| {
        let state = fixture.customer(code, "晚到", 1);
        let point = payload::point(&kinds["customer"], &state, 0, turn, vec![1.0; 256]);
        let behind = store.behind("customer_profiles").await.unwrap();
        client.upsert(&behind, vec![point], Some(before(turn)), Order::Any).await.unwrap();
    };
    let once = store.rows("customer").await;
    late("C1").await;
    assert_eq!(store.rows("customer").await, once, "a request that comes twice");
    sink.apply(&batch(&fixture, 0, 1, fixture.customer("C1", "新", 2))).await.unwrap();
    let newer = store.rows("customer").await;
    late("C1").await;
    assert_eq!(store.rows("customer").await, newer, "after a newer one of the same writer");
    sink.apply(&batch(&fixture, 0, 2, fixture.deleted(&old, 3))).await.unwrap();
    let gone = store.rows("customer").await;
    late("C1").await;
    assert_eq!(store.rows("customer").await, gone, "it does not bring back what was deleted");
    assert!(gone["C1"].deleted && gone["C1"].version == 3);
    // Where nothing is, nothing is newer: the next state of the key will be.
    late("C2").await;
    sink.apply(&batch(&fixture, 0, 3, fixture.customer("C2", "新", 2))).await.unwrap();
    assert_eq!(store.rows("customer").await["C2"].version, 2);
}

/// Embeds only while it is let.
struct Gated {
    waiting: Semaphore,
    admitted: Semaphore,
}

impl Gated {
    fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Semaphore::new(0), admitted: Semaphore::new(0) })
    }

    async fn until_it_waits(&self) {
        self.waiting.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl Embedder for Gated {
    fn identity(&self) -> String {
        NgramEmbedder.identity()
    }

    fn dimensions(&self) -> usize {
        NgramEmbedder.dimensions()
    }

    async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.waiting.add_permits(1);
        self.admitted.acquire().await.unwrap().forget();
        NgramEmbedder.embed(texts).await
    }
}

/// A writer that stands still between its look at what is stored and its request, while another takes over.
async fn overtaken(store: Store, fixture: &Fixture, stands_still: std::time::Duration) {
    let gated = Gated::new();
    let mut older = store.sink_by(gated.clone());
    older.open(LOG, &Share::All).await.unwrap();
    let states = [fixture.customer("C1", "旧", 1), fixture.customer("C2", "旧", 2)];
    let theirs = fixture.batch("customer", 0, &states);
    let applying = tokio::spawn(async move { older.apply(&theirs).await });
    gated.until_it_waits().await;
    let mut newer = opened(&store).await;
    newer.apply(&fixture.batch("customer", 0, &states)).await.unwrap();
    let later = [fixture.customer("C1", "新", 3), fixture.deleted(&states[1], 4)];
    newer.apply(&fixture.batch("customer", 2, &later)).await.unwrap();
    let before = store.rows("customer").await;
    tokio::time::sleep(stands_still).await;
    gated.admitted.add_permits(1);
    let outcome = applying.await.unwrap();
    assert!(matches!(outcome, Err(SinkError::Stale(_))), "{outcome:?}");
    assert_eq!(store.rows("customer").await, before, "what the newer writer wrote stays");
    assert_eq!((before["C1"].version, before["C2"].deleted), (3, true));
    assert_eq!(newer.positions().await.unwrap()[0].next, 4, "and so do its positions");
}

#[tokio::test]
async fn a_writer_that_is_overtaken_in_mid_batch_undoes_nothing() {
    let Some(url) = Kind::Qdrant.address("a_writer_that_is_overtaken_in_mid_batch_undoes_nothing") else { return };
    let fixture = fixture();
    overtaken(Store::fresh(&url, fixture.catalog()), &fixture, std::time::Duration::ZERO).await;
}

/// There, only a look before the request can tell: it is made when the last one is too old.
#[tokio::test]
async fn without_conditions_a_writer_that_stood_still_looks_before_it_sends() {
    let Some(url) = Kind::Qdrant.address("without_conditions_a_writer_that_stood_still_looks_before_it_sends") else { return };
    let fixture = fixture();
    overtaken(Store::fresh(&url, fixture.catalog()).in_order(), &fixture, LEASE).await;
}

#[tokio::test]
async fn the_server_moves_no_position_for_an_old_epoch() {
    let Some(url) = Kind::Qdrant.address("the_server_moves_no_position_for_an_old_epoch") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    drop(opened(&store).await);
    let meta = store.meta();
    let numbers = BTreeSet::from([0]);
    let (old, new) = (meta.raise().await.unwrap(), meta.raise().await.unwrap());
    assert!(old < new);
    meta.take(&numbers, old).await.unwrap();
    let stands = |next| [("customer".to_owned(), Stand { next, ..Stand::default() })].into_iter().collect();
    meta.move_to(0, old, &stands(5)).await.unwrap();
    meta.take(&numbers, new).await.unwrap();
    meta.move_to(0, old, &stands(9)).await.unwrap();
    let found = meta.partitions().await.unwrap();
    assert_eq!((found[&0].owner, found[&0].stands["customer"].next), (new, 5));
    assert!(meta.take(&numbers, old).await.is_err(), "an older opening takes nothing back");
    assert_eq!(meta.partitions().await.unwrap()[&0].owner, new);
}

#[tokio::test]
async fn no_epoch_comes_again_after_the_store_was_emptied() {
    let Some(url) = Kind::Qdrant.address("no_epoch_comes_again_after_the_store_was_emptied") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut writer = opened(&store).await;
    writer.apply(&batch(&fixture, 0, 0, fixture.customer("C1", "张三", 1))).await.unwrap();
    let meta = store.meta();
    let before = meta.store().await.unwrap().unwrap().epoch;
    store.sink().reset().await.unwrap();
    assert_eq!((store.sink().positions().await.unwrap(), store.sink().filled_from().await.unwrap()), (Vec::new(), None));
    let mut fresh = store.sink();
    assert_eq!(fresh.open(LOG, &Share::All).await.unwrap(), [], "it is filled from the start");
    assert!(meta.store().await.unwrap().unwrap().epoch > before);
    // What the former writer had under way when the store was emptied.
    let stands = [("customer".to_owned(), Stand { next: 9, ..Stand::default() })].into_iter().collect();
    meta.move_to(0, before, &stands).await.unwrap();
    assert_eq!(meta.partitions().await.unwrap()[&0].stands, Default::default(), "no row is skipped");
    assert!(is_stale(&mut writer, &batch(&fixture, 0, 1, fixture.customer("C2", "李四", 2))).await);
    fresh.apply(&batch(&fixture, 0, 0, fixture.customer("C1", "张三", 1))).await.unwrap();
}

/// Puts a point there as somebody could who knows no turns.
async fn put(store: &Store, state: &State<'_>) {
    let kinds = points::kinds(&store.catalog).unwrap();
    let mut point = payload::point(&kinds["customer"], state, 0, 0, vec![1.0; 256]);
    point.payload.remove(payload::TURN).unwrap();
    store.put("customer_profiles", point).await;
}

#[tokio::test]
async fn only_rows_that_may_be_repeats_are_compared_with_what_is_stored() {
    let Some(url) = Kind::Qdrant.address("only_rows_that_may_be_repeats_are_compared_with_what_is_stored") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = opened(&store).await;
    sink.apply(&batch(&fixture, 0, 0, fixture.customer("C1", "一", 1))).await.unwrap();
    put(&store, &fixture.customer("C1", "别人的", 50)).await;
    sink.apply(&batch(&fixture, 0, 1, fixture.customer("C1", "二", 2))).await.unwrap();
    assert_eq!(store.points("customer").await["C1"].payload["version"], 2, "no look was needed");
    put(&store, &fixture.customer("C1", "别人的", 50)).await;
    assert_eq!(sink.apply(&batch(&fixture, 0, 2, fixture.customer("C1", "晚", 2))).await.unwrap().skipped, 1);
    // One that gives the store back says what it sent.
    sink.release().await.unwrap();
    let mut next = opened(&store).await;
    assert_eq!(next.apply(&batch(&fixture, 0, 3, fixture.customer("C1", "三", 3))).await.unwrap().written, 1);
    put(&store, &fixture.customer("C1", "别人的", 50)).await;
    // Of another nobody knows.
    drop(next);
    let mut last = opened(&store).await;
    assert_eq!(last.apply(&batch(&fixture, 0, 4, fixture.customer("C1", "四", 4))).await.unwrap().skipped, 1);
    assert_eq!(store.points("customer").await["C1"].payload["version"], 50);
}

#[tokio::test]
async fn the_store_is_told_of_versions_before_they_are_sent() {
    let Some(url) = Kind::Qdrant.address("the_store_is_told_of_versions_before_they_are_sent") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let gated = Gated::new();
    let mut sink = store.sink_by(gated.clone());
    sink.open(LOG, &Share::All).await.unwrap();
    let theirs = batch(&fixture, 0, 0, fixture.customer("C1", "一", 1 << 20));
    let applying = tokio::spawn(async move { sink.apply(&theirs).await });
    gated.until_it_waits().await;
    let stand = store.meta().partitions().await.unwrap()[&0].stands["customer"].clone();
    assert!(stand.unused > 1 << 20 && stand.next == 0, "{stand:?}");
    applying.abort();
}
