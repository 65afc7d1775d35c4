//! The cases, each over fresh stores.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tidemark_log::{LogIdentity, Share};
use tidemark_schemas::State;
use uuid::Uuid;

use super::{Fixture, LOG, StoreHarness, StoredRow};
use crate::batch::SinkBatch;
use crate::port::{Applied, Sink, SinkError};

const ENTITIES: [&str; 2] = ["customer", "consumption"];

type Rows = BTreeMap<&'static str, BTreeMap<String, StoredRow>>;

/// Customers and orders that are inserted, changed, deleted and inserted again, in order.
fn history(fixture: &Fixture) -> (Vec<State<'static>>, Vec<State<'static>>) {
    let gone = fixture.customer("BJ-HA-001-C0002", "李四", 2);
    let short = fixture.customer("BJ-HA-001-C0003", "王五", 6);
    let moved = fixture.state(
        "customer",
        r#"{"customer_code":"BJ-HA-001-C0001","person":{"name":"张三"},"consultant_code":"CONSULTANT-2"}"#,
        3,
    );
    let customers = vec![
        fixture.customer("BJ-HA-001-C0001", "张小三", 1),
        gone.clone(),
        moved,
        fixture.deleted(&gone, 4),
        fixture.customer("BJ-HA-001-C0002", "李四", 5),
        short.clone(),
        fixture.deleted(&short, 7),
    ];
    let kept = fixture.order("BJ-HA-001-ORD-20260110-0003", "BJ-HA-001-C0001", &["X"], 4);
    let orders = vec![
        fixture.order("BJ-HA-001-ORD-20260110-0001", "BJ-HA-001-C0001", &["BOTOX-001", "FILLER-001"], 1),
        fixture.order("BJ-HA-001-ORD-20260110-0002", "BJ-HA-001-C0009", &["BOTOX-001"], 2),
        fixture.order("BJ-HA-001-ORD-20260110-0001", "BJ-HA-001-C0002", &["FILLER-001"], 3),
        kept.clone(),
        fixture.deleted(&kept, 5),
    ];
    (customers, orders)
}

fn whole_batch(fixture: &Fixture, from: u64) -> SinkBatch {
    let (customers, orders) = history(fixture);
    let mut batch = fixture.batch("customer", from, &customers);
    batch.parts.push(fixture.part("consumption", from, &orders));
    batch
}

async fn opened(store: &dyn StoreHarness) -> Box<dyn Sink> {
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.expect("a fresh store opens");
    sink
}

async fn apply(sink: &mut Box<dyn Sink>, batch: &SinkBatch) -> Applied {
    sink.apply(batch).await.expect("the store takes the batch")
}

async fn contents(store: &dyn StoreHarness) -> Rows {
    let mut rows = Rows::new();
    for entity in ENTITIES {
        rows.insert(entity, store.rows(entity).await);
    }
    rows
}

/// (version, deleted) of a customer.
async fn customer(store: &dyn StoreHarness, key: &str) -> Option<(u64, bool)> {
    store.rows("customer").await.get(key).map(|row| (row.version, row.deleted))
}

pub(super) async fn applying_twice_changes_nothing(fixture: &Fixture, store: &dyn StoreHarness) {
    let mut sink = opened(store).await;
    let batch = whole_batch(fixture, 0);
    let first = apply(&mut sink, &batch).await;
    assert_eq!(first.written + first.skipped, batch.len() as u64, "every record is written or skipped");
    let once = contents(store).await;
    assert_eq!(once["customer"].len(), 3, "all three customers are there, deleted ones too");
    let (customers, orders) = history(fixture);
    let mut again = fixture.batch("customer", customers.len() as u64, &customers);
    again.parts.push(fixture.part("consumption", orders.len() as u64, &orders));
    let second = apply(&mut sink, &again).await;
    assert_eq!((second.written, second.skipped), (0, batch.len() as u64), "a repeat writes nothing");
    assert_eq!(contents(store).await, once, "a repeat changes nothing");
}

pub(super) async fn a_prefix_then_the_whole(fixture: &Fixture, cut: &dyn StoreHarness, straight: &dyn StoreHarness) {
    let (customers, _) = history(fixture);
    for length in 1..customers.len() {
        let from = (length * (length - 1) / 2 + (length - 1) * customers.len()) as u64;
        let mut sink = opened(cut).await;
        apply(&mut sink, &fixture.batch("customer", from, &customers[..length])).await;
        apply(&mut sink, &fixture.batch("customer", from + length as u64, &customers)).await;
    }
    let mut sink = opened(straight).await;
    apply(&mut sink, &fixture.batch("customer", 0, &customers)).await;
    assert_eq!(contents(cut).await, contents(straight).await, "a prefix, then the whole");
}

pub(super) async fn one_batch_and_many_end_alike(
    fixture: &Fixture,
    one: &dyn StoreHarness,
    many: &dyn StoreHarness,
    last: &dyn StoreHarness,
) {
    apply(&mut opened(one).await, &whole_batch(fixture, 0)).await;
    let (mut sink, mut compacted) = (opened(many).await, opened(last).await);
    let (customers, orders) = history(fixture);
    for (entity, states) in [("customer", customers), ("consumption", orders)] {
        let mut finals: Vec<State<'static>> = Vec::new();
        for (from, state) in (0..).zip(states) {
            apply(&mut sink, &fixture.batch(entity, from, std::slice::from_ref(&state))).await;
            finals.retain(|known| known.key != state.key);
            finals.push(state);
        }
        apply(&mut compacted, &fixture.batch(entity, 0, &finals)).await;
    }
    let expected = contents(one).await;
    assert_eq!(contents(many).await, expected, "record by record ends as one batch does");
    assert_eq!(contents(last).await, expected, "the last states alone end as the history does");
}

pub(super) async fn an_older_version_after_a_newer(fixture: &Fixture, store: &dyn StoreHarness) {
    let mut sink = opened(store).await;
    apply(&mut sink, &fixture.batch("customer", 0, &[fixture.customer("C1", "新", 9)])).await;
    let newer = contents(store).await;
    let old = apply(&mut sink, &fixture.batch("customer", 1, &[fixture.customer("C1", "旧", 8)])).await;
    assert_eq!((old.written, old.skipped), (0, 1), "an older version is skipped");
    assert_eq!(contents(store).await, newer, "an older version changes nothing");
}

pub(super) async fn a_late_event_after_a_delete(fixture: &Fixture, store: &dyn StoreHarness) {
    let mut sink = opened(store).await;
    let old = fixture.customer("C1", "张三", 3);
    apply(&mut sink, &fixture.batch("customer", 0, std::slice::from_ref(&old))).await;
    apply(&mut sink, &fixture.batch("customer", 1, &[fixture.deleted(&old, 5)])).await;
    assert_eq!(customer(store, "C1").await, Some((5, true)), "a delete marks the record");
    apply(&mut sink, &fixture.batch("customer", 2, &[fixture.customer("C1", "晚到", 4)])).await;
    assert_eq!(customer(store, "C1").await, Some((5, true)), "a late older event does not revive it");
}

pub(super) async fn a_record_inserted_again(fixture: &Fixture, store: &dyn StoreHarness, straight: &dyn StoreHarness) {
    let mut sink = opened(store).await;
    let old = fixture.order("O1", "C1", &["A", "B"], 1);
    let new = fixture.order("O1", "C2", &["B"], 3);
    for (from, state) in (0..).zip([old.clone(), fixture.deleted(&old, 2), new.clone()]) {
        apply(&mut sink, &fixture.batch("consumption", from, &[state])).await;
    }
    apply(&mut opened(straight).await, &fixture.batch("consumption", 0, &[new])).await;
    assert_eq!(contents(store).await, contents(straight).await, "a re-inserted record is as if it had never been deleted");
}

pub(super) async fn a_poison_row_stops_no_other(fixture: &Fixture, store: &dyn StoreHarness) {
    let mut sink = opened(store).await;
    let mut batch = fixture.batch("customer", 0, &[fixture.customer("C1", "一", 1), fixture.customer("C2", "二", 2)]);
    let mut records = (*batch.parts[0].records).clone();
    records.push(2, 0, b"C3", b"\xC3\x01 this decodes to nothing");
    batch.parts[0].records = records.into();
    batch.parts[0].next = 3;
    let refused = match sink.apply(&batch).await {
        Err(SinkError::Rejected(rows)) => rows,
        other => unreachable_answer("a poison row", &other),
    };
    assert_eq!(refused.iter().map(|row| row.position).collect::<Vec<_>>(), [(0, 2)], "the poison row alone is refused");
    assert!(contents(store).await["customer"].is_empty(), "nothing of a refused batch is written");
    batch.exclude(&refused);
    assert_eq!(apply(&mut sink, &batch).await.written, 2, "the others are applied");
    let positions = sink.positions().await.expect("positions are readable");
    assert_eq!(positions.iter().map(|position| position.next).max(), Some(3), "the position passes the poison row");
}

pub(super) async fn cancelled_in_mid_apply(fixture: &Fixture, cut: &dyn StoreHarness, straight: &dyn StoreHarness) {
    let mut sink = opened(cut).await;
    let batch = whole_batch(fixture, 0);
    {
        let mut applying = pin!(sink.apply(&batch));
        // Polled once, so that it is under way, then dropped.
        let polled: Poll<_> = applying.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(outcome) = polled {
            outcome.expect("the store takes the batch");
        }
    }
    let positions = sink.open(LOG, &Share::All).await.expect("a cancelled sink opens again");
    let mut rest = batch.clone();
    rest.parts.retain(|part| !positions.iter().any(|known| known.entity == part.entity.name && known.next == part.next));
    let whole = rest.parts.len() == batch.parts.len() || rest.parts.is_empty();
    assert!(whole, "a cut batch moved some of its positions only: {positions:?}");
    if !rest.parts.is_empty() {
        apply(&mut sink, &rest).await;
    }
    apply(&mut opened(straight).await, &batch).await;
    assert_eq!(contents(cut).await, contents(straight).await, "a cut batch leaves nothing half-written");
}

pub(super) async fn an_empty_batch_moves_the_position(fixture: &Fixture, store: &dyn StoreHarness) {
    let mut sink = opened(store).await;
    let nothing = SinkBatch { parts: Vec::new(), ..fixture.batch("customer", 0, &[]) };
    assert_eq!(apply(&mut sink, &nothing).await, Applied::default(), "a batch of no parts does nothing");
    let mut empty = fixture.batch("customer", 0, &[]);
    empty.parts[0].next = 7;
    assert_eq!(apply(&mut sink, &empty).await, Applied::default(), "a part without records writes nothing");
    let positions = sink.positions().await.expect("positions are readable");
    let moved = positions.iter().find(|position| position.entity == "customer").map(|position| position.next);
    assert_eq!(moved, Some(7), "its position moves all the same");
}

pub(super) async fn reopened_it_stands_where_it_stood(fixture: &Fixture, store: &dyn StoreHarness) {
    let mut sink = opened(store).await;
    let batch = whole_batch(fixture, 0);
    apply(&mut sink, &batch).await;
    let seen = sink.positions().await.expect("positions are readable beside the owner");
    drop(sink);
    let before = contents(store).await;
    let mut sink = store.sink();
    assert_eq!(sink.positions().await.expect("positions are readable without an owner"), seen);
    let mut positions = sink.open(LOG, &Share::All).await.expect("a store opens again");
    positions.sort_by(|one, other| (&one.entity, one.partition).cmp(&(&other.entity, other.partition)));
    assert_eq!(positions, seen, "a reopened store stands where it stood");
    for part in &batch.parts {
        let next = positions.iter().find(|known| known.entity == part.entity.name).map(|known| known.next);
        assert_eq!(next, Some(part.next), "position of {}", part.entity.name);
    }
    assert_eq!(contents(store).await, before, "opening changes no row");
}

pub(super) async fn a_foreign_log_is_refused(fixture: &Fixture, store: &dyn StoreHarness) {
    let mut sink = opened(store).await;
    apply(&mut sink, &whole_batch(fixture, 0)).await;
    drop(sink);
    let before = contents(store).await;
    let another = LogIdentity { id: Uuid::from_u128(0xF0), ..LOG };
    let restored = LogIdentity { generation: LOG.generation + 1, ..LOG };
    for foreign in [another, restored] {
        let mut sink = store.sink();
        match sink.open(foreign, &Share::All).await {
            Err(SinkError::ForeignLog(text)) => {
                assert!(text.contains("`tidemark replay "), "the remedy is named: {text}");
            }
            other => unreachable_answer("a foreign log", &other),
        }
        assert!(!sink.check(foreign).await.problems.is_empty(), "check tells of a foreign log");
    }
    assert_eq!(contents(store).await, before, "a refused log changes nothing");
    let sink = opened(store).await;
    assert_eq!(sink.check(LOG).await.problems, Vec::<String>::new(), "its own log is welcome still");
}

pub(super) async fn a_stale_writer_writes_nothing(fixture: &Fixture, store: &dyn StoreHarness) {
    let mut older = opened(store).await;
    apply(&mut older, &fixture.batch("customer", 0, &[fixture.customer("C1", "一", 1)])).await;
    let mut newer = opened(store).await;
    let batch = fixture.batch("customer", 1, &[fixture.customer("C2", "二", 2)]);
    match older.apply(&batch).await {
        Err(SinkError::Stale(_)) => {}
        other => unreachable_answer("a stale writer", &other),
    }
    assert_eq!(customer(store, "C2").await, None, "a stale writer writes nothing");
    apply(&mut newer, &batch).await;
    match newer.apply(&batch).await {
        Err(SinkError::Stale(_)) => {}
        other => unreachable_answer("a batch from where the store does not stand", &other),
    }
}

pub(super) async fn reset_empties_and_refills(fixture: &Fixture, store: &dyn StoreHarness) {
    let mut sink = opened(store).await;
    apply(&mut sink, &whole_batch(fixture, 0)).await;
    let filled = contents(store).await;
    drop(sink);
    let mut sink = store.sink();
    sink.reset().await.expect("a store can be emptied");
    let another = LogIdentity { id: Uuid::from_u128(0xF0), ..LOG };
    let positions = sink.open(another, &Share::All).await.expect("an emptied store belongs to no log yet");
    assert!(positions.iter().all(|position| position.next == 0), "positions go with the rows");
    assert!(contents(store).await.values().all(BTreeMap::is_empty), "nothing is left");
    apply(&mut sink, &whole_batch(fixture, 0)).await;
    assert_eq!(contents(store).await, filled, "it fills as it did before");
}

#[expect(clippy::panic, reason = "this suite reports by panicking")]
pub(super) fn unreachable_answer<T: std::fmt::Debug>(case: &str, answer: &Result<T, SinkError>) -> ! {
    panic!("{case} was answered with {answer:?}")
}
