//! What every log adapter does: one suite, for the tests of each of them.
//!
//! Guarantees: each case runs on a log of its own from the fixture and panics with what it expected. Where the port speaks of
//! other processes, a second handle stands for one.
//! Relies on: the fixture's handles being as independent as the adapter allows, and on a Tokio runtime with time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use crate::port::{ConsumerPosition, Log, LogError, ReadLimit, Retention, TopicSpec};
use crate::record::{Append, RECORD_BYTES_MAX, RecordBatch};

/// How long anything that should happen may take before the case fails.
const DEADLINE: Duration = Duration::from_secs(20);
const ALL: ReadLimit = ReadLimit { records_max: 100_000, bytes_max: 64 << 20 };

/// One log, empty at first.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A handle on the log, independent of those given before.
    async fn open(&self) -> Arc<dyn Log>;
    /// Removes what compaction and retention no longer keep, where the adapter does that when it is told to.
    async fn compact(&self) -> Compaction;
    /// Whether the records of one append lie side by side without a transaction.
    fn appends_lie_together(&self) -> bool;
}

/// What became of superseded records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compaction {
    /// All of them are gone.
    Done,
    /// They go when the servers think fit: any of them may still be there.
    InItsTime,
}

/// Runs every case, each on a fixture of its own.
pub async fn run_all(make: &dyn Fn() -> Box<dyn Fixture>) {
    topics_are_made_once(&*make()).await;
    records_come_back_in_order(&*make()).await;
    records_and_positions_go_together(&*make()).await;
    positions_have_one_owner(&*make()).await;
    unknown_topics_are_refused(&*make()).await;
    large_records_are_refused_alone(&*make()).await;
    reads_keep_their_limits(&*make()).await;
    partitions_count_for_themselves(&*make()).await;
    many_append_at_once(&*make()).await;
    followers_wake(&*make()).await;
    compaction_keeps_the_last_of_each_key(&*make()).await;
    compaction_lets_appends_go_on(&*make()).await;
    time_leads_to_offsets(&*make()).await;
    reopening_finds_everything(&*make()).await;
}

/// Making topics again changes nothing; another partition count is refused.
pub async fn topics_are_made_once(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    assert_eq!(ok(log.topics().await), []);
    let wanted = [spec("b", 3, Retention::Keep), spec("a", 1, Retention::Compact)];
    ok(log.create_topics(&wanted).await);
    ok(log.append(records("b", 2, &[("k", "v")])).await);
    ok(log.create_topics(&wanted).await);
    let mut listed = ok(log.topics().await);
    listed.sort();
    assert_eq!(listed, [("a".to_owned(), 1), ("b".to_owned(), 3)]);
    assert_eq!(ok(log.bounds("b", 2).await).end, 1, "the second call left the records alone");
    let refused = log.create_topics(&[spec("c", 1, Retention::Keep), spec("b", 4, Retention::Keep)]).await;
    assert!(matches!(refused, Err(LogError::Fatal { .. })), "another partition count: {refused:?}");
    assert_eq!(ok(log.topics().await).len(), 2, "a refused call makes none of its topics");
    let refused = log.create_topics(&[spec("d", 0, Retention::Keep)]).await;
    assert!(matches!(refused, Err(LogError::Fatal { .. })), "no partitions: {refused:?}");
}

/// Offsets rise by one; keys and values are bytes of any kind.
pub async fn records_come_back_in_order(fixture: &dyn Fixture) {
    let log = with_topic(fixture, Retention::Keep).await;
    let bounds = ok(log.bounds("t", 0).await);
    assert_eq!((bounds.start, bounds.end), (0, 0));
    assert!(ok(log.read("t", 0, 0, ALL).await).is_empty());
    assert_eq!(ok(log.append(records("t", 0, &[("a", "1"), ("b", ""), ("", "3")])).await), [0, 1, 2]);
    let topic: Arc<str> = "t".into();
    let mut append = Append::default();
    append.record(&topic, 0, "键".as_bytes(), |out| out.extend([0, 255, 0]));
    assert_eq!(ok(log.append(append).await), [3]);
    assert!(ok(log.append(Append::default()).await).is_empty(), "an empty append does nothing");
    let batch = ok(log.read("t", 0, 0, ALL).await);
    assert_eq!(pairs(&batch, 3), [(0, "a", "1"), (1, "b", ""), (2, "", "3")]);
    assert_eq!((batch.get(3).key, batch.get(3).value), ("键".as_bytes(), &[0_u8, 255, 0][..]));
    assert_eq!(ok(log.read("t", 0, 2, ALL).await).get(0).offset, 2);
    assert!(ok(log.read("t", 0, 4, ALL).await).is_empty());
    assert!(ok(log.read("t", 0, u64::MAX, ALL).await).is_empty(), "beyond any end");
    // more than any adapter puts into one statement, and not a multiple of it
    let many: Vec<(String, String)> = (0..333).map(|index| (format!("k{index}"), format!("v{index}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(ok(log.append(records("t", 0, &many)).await), (4..337).collect::<Vec<_>>());
    let batch = ok(log.read("t", 0, 4, ALL).await);
    let expected: Vec<(u64, &str, &str)> = (4..).zip(&many).map(|(offset, (key, value))| (offset, *key, *value)).collect();
    assert_eq!(pairs(&batch, 333), expected);
}

/// A position moves with the records of its append, and comes back by consumer.
pub async fn records_and_positions_go_together(fixture: &dyn Fixture) {
    let log = with_topic(fixture, Retention::Keep).await;
    assert_eq!(ok(log.positions("fold").await), []);
    let mut append = records("t", 0, &[("a", "1")]);
    append.position(position("fold", 0, 7));
    ok(log.append(append).await);
    let mut alone = Append::default();
    alone.position(position("sink", 0, 1));
    assert!(ok(log.append(alone).await).is_empty(), "positions alone");
    // one append may move a position twice
    let mut twice = Append::default();
    twice.position(position("fold", 7, 8));
    twice.position(position("fold", 8, 9));
    ok(log.append(twice).await);
    assert_eq!(ok(log.positions("fold").await), [("t".to_owned(), 0, 9)]);
    assert_eq!(ok(log.positions("sink").await), [("t".to_owned(), 0, 1)]);
    let mut back = Append::default();
    back.position(position("fold", 9, 0));
    ok(log.append(back).await);
    assert_eq!(ok(log.positions("fold").await), [("t".to_owned(), 0, 0)], "a replay starts again");
}

/// Who believes in another position than the stored one appends nothing.
pub async fn positions_have_one_owner(fixture: &dyn Fixture) {
    let (mine, other) = (with_topic(fixture, Retention::Keep).await, fixture.open().await);
    let moves = |from, next| {
        let mut append = records("t", 0, &[("a", "1")]);
        append.position(position("fold", from, next));
        append
    };
    ok(mine.append(moves(0, 5)).await);
    ok(other.append(moves(5, 6)).await);
    let stale = mine.append(moves(5, 7)).await;
    assert!(matches!(stale, Err(LogError::Stale { expected: 5, found: 6, .. })), "{stale:?}");
    let left = ok(mine.read("t", 0, 0, ALL).await);
    assert_eq!((left.len(), left.next_offset()), (2, Some(ok(mine.bounds("t", 0).await).end)), "the stale append left no record");
    assert_eq!(ok(mine.positions("fold").await), [("t".to_owned(), 0, 6)]);
    let mut later = moves(6, 7);
    later.position(position("fold", 6, 8));
    assert!(matches!(other.append(later).await, Err(LogError::Stale { .. })), "the second move of one append is checked too");
    ok(mine.append(moves(6, 7)).await);
}

/// A topic or partition that is not there is an error of its own, and its append leaves nothing.
pub async fn unknown_topics_are_refused(fixture: &dyn Fixture) {
    let log = with_topic(fixture, Retention::Keep).await;
    let unknown = |what: &str, found: Option<LogError>| {
        assert!(matches!(found, Some(LogError::NoSuchTopic(_))), "{what}: {found:?}");
    };
    let mut mixed = records("t", 0, &[("a", "1")]);
    mixed.record(&"nowhere".into(), 0, b"b", |_| {});
    unknown("append", log.append(mixed).await.err());
    unknown("append to a partition", log.append(records("t", 1, &[("a", "1")])).await.err());
    let mut elsewhere = records("t", 0, &[("a", "1")]);
    elsewhere.position(ConsumerPosition { topic: "nowhere".into(), ..position("fold", 0, 1) });
    unknown("position", log.append(elsewhere).await.err());
    unknown("read", log.read("nowhere", 0, 0, ALL).await.err());
    unknown("read of a partition", log.read("t", 1, 0, ALL).await.err());
    unknown("bounds", log.bounds("t", 1).await.err());
    unknown("offset_at", log.offset_at("nowhere", 0, 0).await.err());
    assert_eq!(ok(log.bounds("t", 0).await).end, 0, "nothing of the refused appends is there");
}

/// A record over the limit is refused; the largest one that is allowed is not, and others of the same moment neither.
pub async fn large_records_are_refused_alone(fixture: &dyn Fixture) {
    let log = with_topic(fixture, Retention::Keep).await;
    let sized = |bytes: usize| {
        let mut append = records("t", 0, &[("small", "1")]);
        append.record(&"t".into(), 0, b"key", |out| out.resize(out.len() + bytes - 3, b'x'));
        append
    };
    let (large, largest, small) = tokio::join!(
        log.append(sized(RECORD_BYTES_MAX + 1)),
        log.append(sized(RECORD_BYTES_MAX)),
        log.append(records("t", 0, &[("small", "2")])),
    );
    assert!(matches!(large, Err(LogError::Fatal { .. })), "{large:?}");
    let mut offsets = ok(largest);
    offsets.extend(ok(small));
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 1, 2], "the refused one took no offset");
    let batch = ok(log.read("t", 0, 0, ALL).await);
    assert_eq!(batch.iter().map(|record| record.value.len()).max(), Some(RECORD_BYTES_MAX - 3));
}

/// A read returns at most so many records and bytes, but never nothing while there is something.
pub async fn reads_keep_their_limits(fixture: &dyn Fixture) {
    let log = with_topic(fixture, Retention::Keep).await;
    ok(log.append(records("t", 0, &[("a", "123456789"), ("b", "123456789"), ("c", "123456789")])).await);
    let count = |batch: RecordBatch| batch.len();
    let limit = |records_max, bytes_max| ReadLimit { records_max, bytes_max };
    assert_eq!(count(ok(log.read("t", 0, 0, limit(2, 1000)).await)), 2);
    assert_eq!(count(ok(log.read("t", 0, 0, limit(9, 20)).await)), 2);
    assert_eq!(count(ok(log.read("t", 0, 0, limit(9, 29)).await)), 2);
    assert_eq!(count(ok(log.read("t", 0, 0, limit(9, 30)).await)), 3);
    assert_eq!(count(ok(log.read("t", 0, 1, limit(9, 1)).await)), 1, "the first one whatever its size");
    assert_eq!(count(ok(log.read("t", 0, 1, limit(0, 0)).await)), 1);
}

/// Each partition has offsets and positions of its own.
pub async fn partitions_count_for_themselves(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    ok(log.create_topics(&[spec("t", 3, Retention::Keep), spec("u", 1, Retention::Keep)]).await);
    let mut append = Append::default();
    for (topic, partition) in [("t", 2), ("u", 0), ("t", 0), ("t", 2)] {
        append.record(&topic.into(), partition, b"k", |out| out.extend(format!("{topic}{partition}").bytes()));
    }
    append.position(ConsumerPosition { partition: 2, ..position("fold", 0, 2) });
    assert_eq!(ok(log.append(append).await), [0, 0, 0, 1]);
    assert!(ok(log.read("t", 1, 0, ALL).await).is_empty());
    assert_eq!(pairs(&ok(log.read("t", 2, 0, ALL).await), 2), [(0, "k", "t2"), (1, "k", "t2")]);
    assert_eq!(pairs(&ok(log.read("u", 0, 0, ALL).await), 1), [(0, "k", "u0")]);
    assert_eq!(ok(log.positions("fold").await), [("t".to_owned(), 2, 2)]);
}

/// Tasks of this process and another handle append at once: each gets offsets of its own, in its own order, and none is lost.
pub async fn many_append_at_once(fixture: &dyn Fixture) {
    const TASKS: usize = 8;
    const APPENDS: usize = 25;
    let (mine, other) = (with_topic(fixture, Retention::Keep).await, fixture.open().await);
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let log = Arc::clone(if task % 2 == 0 { &mine } else { &other });
        tasks.push(tokio::spawn(async move {
            let mut offsets = Vec::new();
            for number in 0..APPENDS {
                let (key, value) = (task.to_string(), number.to_string());
                offsets.extend(ok(log.append(records("t", 0, &[(&key, &value), (&key, &value)])).await));
            }
            offsets
        }));
    }
    let mut given = BTreeSet::new();
    for task in tasks {
        let offsets = ok(task.await);
        assert!(offsets.is_sorted(), "a task's offsets rise: {offsets:?}");
        let together = offsets.chunks(2).all(|pair| pair[0] + 1 == pair[1]);
        assert!(together || !fixture.appends_lie_together(), "the records of one append lie together: {offsets:?}");
        given.extend(offsets);
    }
    let total = TASKS * APPENDS * 2;
    assert_eq!(given, (0..total as u64).collect(), "no offset twice, none left out");
    let batch = ok(mine.read("t", 0, 0, ALL).await);
    assert_eq!(batch.len(), total);
    assert!(batch.iter().map(|record| record.timestamp).is_sorted(), "record times never fall");
    for task in 0..TASKS {
        let key = task.to_string();
        let values = batch.iter().filter(|record| record.key == key.as_bytes()).map(|record| text(record.value));
        let values: Vec<usize> = values.map(|value| ok(value.parse())).collect();
        assert!(values.is_sorted() && values.len() == APPENDS * 2, "task {task}: {values:?}");
    }
}

/// A follower is woken by appends of its own process and of others, and finds the records when it reads.
pub async fn followers_wake(fixture: &dyn Fixture) {
    let (mine, other) = (with_topic(fixture, Retention::Keep).await, fixture.open().await);
    for (round, log) in [&mine, &other, &mine, &other].into_iter().enumerate() {
        let mut appended = mine.appended();
        appended.mark_unchanged();
        let follower = async {
            loop {
                let batch = ok(mine.read("t", 0, round as u64, ALL).await);
                if !batch.is_empty() {
                    return batch.len();
                }
                ok(appended.changed().await);
            }
        };
        let (seen, _) = tokio::join!(in_time(follower), async {
            tokio::task::yield_now().await;
            ok(log.append(records("t", 0, &[("k", "v")])).await)
        });
        assert_eq!(seen, 1);
    }
}

/// Of each key the last record stays where it was; older ones leave gaps, and nothing else changes.
pub async fn compaction_keeps_the_last_of_each_key(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    ok(log.create_topics(&[spec("t", 1, Retention::Compact), spec("kept", 1, Retention::Keep)]).await);
    for topic in ["t", "kept"] {
        ok(log.append(records(topic, 0, &[("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")])).await);
        ok(log.append(records(topic, 0, &[("b", "2"), ("a", "3"), ("d", "1")])).await);
    }
    let compaction = fixture.compact().await;
    let left = [(3, "c", "1"), (4, "b", "2"), (5, "a", "3"), (6, "d", "1")];
    assert_eq!(last_of_each(&ok(log.read("t", 0, 0, ALL).await), compaction), left);
    let one = ok(log.read("t", 0, 0, ReadLimit { records_max: 1, bytes_max: 1 }).await);
    assert!(one.get(0).offset == 3 || compaction == Compaction::InItsTime);
    assert_eq!(ok(log.bounds("t", 0).await).end, 7);
    assert_eq!(ok(log.read("kept", 0, 0, ALL).await).len(), 7, "a topic that is kept loses nothing");
    assert_eq!(ok(log.append(records("t", 0, &[("c", "2"), ("c", "3")])).await), [7, 8]);
    fixture.compact().await;
    let left = [(4, "b", "2"), (5, "a", "3"), (6, "d", "1"), (8, "c", "3")];
    assert_eq!(last_of_each(&ok(log.read("t", 0, 0, ALL).await), compaction), left);
    let behind = ok(log.read("t", 0, 7, ALL).await);
    assert_eq!(last_of_each(&behind, compaction), [(8, "c", "3")], "a read into a gap goes on behind it");
}

/// Compaction beside a running writer loses none of what is appended meanwhile.
pub async fn compaction_lets_appends_go_on(fixture: &dyn Fixture) {
    let log = with_topic(fixture, Retention::Compact).await;
    let appends = async {
        for number in 0..60_u32 {
            let value = number.to_string();
            let written: Vec<(String, &str)> = (0..50).map(|key| (format!("key {key}"), value.as_str())).collect();
            let written: Vec<(&str, &str)> = written.iter().map(|(key, value)| (key.as_str(), *value)).collect();
            ok(log.append(records("t", 0, &written)).await);
        }
    };
    let compactions = async {
        for _ in 0..10 {
            fixture.compact().await;
        }
    };
    tokio::join!(appends, compactions);
    let compaction = fixture.compact().await;
    let batch = ok(log.read("t", 0, 0, ALL).await);
    let left = last_of_each(&batch, compaction);
    assert_eq!(left.len(), 50);
    assert!(left.iter().all(|(_, _, value)| *value == "59"), "the last value of each key is what stays");
    assert_eq!(ok(log.bounds("t", 0).await).end, 3_000);
}

/// A time leads to the first record of that time or later, gaps or not.
pub async fn time_leads_to_offsets(fixture: &dyn Fixture) {
    let log = with_topic(fixture, Retention::Compact).await;
    assert_eq!(ok(log.offset_at("t", 0, 0).await), 0, "an empty partition: its end");
    for number in 0..40 {
        let key = (number % 7 * 3).to_string();
        ok(log.append(records("t", 0, &[(&key, "v"), (&key, "w")])).await);
    }
    for round in ["whole", "compacted"] {
        let batch = ok(log.read("t", 0, 0, ALL).await);
        let times: BTreeSet<i64> =
            batch.iter().flat_map(|record| [record.timestamp - 1, record.timestamp, record.timestamp + 1]).collect();
        for time in times.into_iter().chain([i64::MIN, i64::MAX]) {
            let expected = batch.iter().find(|record| record.timestamp >= time).map_or(80, |record| record.offset);
            assert_eq!(ok(log.offset_at("t", 0, time).await), expected, "{round}, {time}");
        }
        fixture.compact().await;
    }
}

/// Another handle, opened when the first is gone, sees the same log and goes on with it.
pub async fn reopening_finds_everything(fixture: &dyn Fixture) {
    let log = with_topic(fixture, Retention::Keep).await;
    let identity = log.identity();
    let mut append = records("t", 0, &[("a", "1"), ("b", "2")]);
    append.position(position("fold", 0, 2));
    ok(log.append(append).await);
    drop(log);
    let log = fixture.open().await;
    assert_eq!(log.identity(), identity);
    assert_eq!(pairs(&ok(log.read("t", 0, 0, ALL).await), 2), [(0, "a", "1"), (1, "b", "2")]);
    assert_eq!(ok(log.positions("fold").await), [("t".to_owned(), 0, 2)]);
    let end = ok(log.bounds("t", 0).await).end;
    assert!(end >= 2, "what ends a transaction may have taken an offset, too: {end}");
    assert_eq!(ok(log.append(records("t", 0, &[("c", "3")])).await), [end]);
    let mut append = Append::default();
    append.position(position("fold", 0, 1));
    assert!(matches!(log.append(append).await, Err(LogError::Stale { .. })), "positions outlive the handle");
}

async fn with_topic(fixture: &dyn Fixture, retention: Retention) -> Arc<dyn Log> {
    let log = fixture.open().await;
    ok(log.create_topics(&[spec("t", 1, retention)]).await);
    log
}

fn spec(name: &str, partitions: u32, retention: Retention) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, retention }
}

fn records(topic: &str, partition: u32, pairs: &[(&str, &str)]) -> Append {
    let topic: Arc<str> = topic.into();
    let mut append = Append::default();
    for (key, value) in pairs {
        append.record(&topic, partition, key.as_bytes(), |out| out.extend(value.bytes()));
    }
    append
}

fn position(consumer: &str, from: u64, next: u64) -> ConsumerPosition {
    ConsumerPosition { consumer: consumer.to_owned(), topic: "t".to_owned(), partition: 0, from, next }
}

/// The first `count` records, of which there must be so many.
fn pairs(batch: &RecordBatch, count: usize) -> Vec<(u64, &str, &str)> {
    assert!(batch.len() >= count, "{count} records expected, {} found", batch.len());
    batch.iter().take(count).map(|record| (record.offset, text(record.key), text(record.value))).collect()
}

/// The last record of each key, of which there is no other where compaction is done.
fn last_of_each(batch: &RecordBatch, compaction: Compaction) -> Vec<(u64, &str, &str)> {
    let last: BTreeMap<&[u8], u64> = batch.iter().map(|record| (record.key, record.offset)).collect();
    assert!(compaction == Compaction::InItsTime || last.len() == batch.len(), "a superseded record is left: {batch:?}");
    let lasting = batch.iter().filter(|record| last[record.key] == record.offset);
    lasting.map(|record| (record.offset, text(record.key), text(record.value))).collect()
}

fn text(bytes: &[u8]) -> &str {
    ok(std::str::from_utf8(bytes))
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    ok(timeout(DEADLINE, work).await)
}

fn ok<T, E: Debug>(result: Result<T, E>) -> T {
    result.expect("the contract allows no failure here")
}
