//! What goes, what stays, and what time records have.

use std::sync::Arc;
use std::time::Duration;

use super::{ALL, Place, numbered, position};
use crate::embedded::{EmbeddedLog, Removed};
use crate::port::{Log, Retention};
use crate::record::Append;

const SECOND: i64 = 1_000_000;

async fn offsets(log: &EmbeddedLog) -> Vec<u64> {
    log.read("t", 0, 0, ALL).await.unwrap().iter().map(|record| record.offset).collect()
}

#[tokio::test]
async fn record_time_never_falls() {
    let place = Place::new();
    let log = place.with_topic(Retention::Keep).await;
    for (index, now) in [5_000, 3_000, 7_000, -1].into_iter().enumerate() {
        place.set_clock(now);
        log.append(numbered(index as u64, 1)).await.unwrap();
    }
    drop(log);
    let log = place.open().await;
    log.append(numbered(4, 1)).await.unwrap();
    let times: Vec<i64> = log.read("t", 0, 0, ALL).await.unwrap().iter().map(|record| record.timestamp).collect();
    assert_eq!(times, [5_000, 5_000, 7_000, 7_000, 7_000], "also across a restart with a clock that was set back");
    assert_eq!(log.offset_at("t", 0, 5_001).await.unwrap(), 2);
}

#[tokio::test]
async fn old_records_go_once_every_consumer_has_passed_them() {
    let place = Place::new();
    let log = place.with_topic(Retention::Age(Duration::from_secs(10))).await;
    for second in 0..20_u64 {
        place.set_clock(second as i64 * SECOND);
        log.append(numbered(second * 500, 500)).await.unwrap();
    }
    log.append(position(0, 1_700)).await.unwrap();
    assert_eq!(log.maintain().await.unwrap(), Removed { compacted: 0, expired: 1_700 }, "a consumer stands there");
    log.append(position(1_700, 9_000)).await.unwrap();
    assert_eq!(log.maintain().await.unwrap().expired, 4_500 - 1_700, "those of the seconds 0 to 8");
    assert_eq!(log.bounds("t", 0).await.unwrap().start, 4_500);
    place.set_clock(100 * SECOND);
    log.append(position(9_000, 10_000)).await.unwrap();
    assert_eq!(log.maintain().await.unwrap().expired, 5_500);
    let bounds = log.bounds("t", 0).await.unwrap();
    assert_eq!((bounds.start, bounds.end), (10_000, 10_000));
    drop(log);
    assert_eq!(place.open().await.append(numbered(0, 1)).await.unwrap(), [10_000], "offsets go on");
}

#[tokio::test]
async fn compaction_waits_until_it_is_worth_it() {
    let place = Place::new();
    drop(place.with_topic(Retention::Compact).await);
    let mut options = place.options();
    options.compaction_records_min = 100;
    let log = EmbeddedLog::open(options).await.unwrap();
    let same = |count: usize| {
        let topic: Arc<str> = "t".into();
        let mut append = Append::default();
        for _ in 0..count {
            append.record(&topic, 0, b"same", |out| out.extend(b"value"));
        }
        append
    };
    log.append(same(99)).await.unwrap();
    assert_eq!(log.maintain().await.unwrap(), Removed::default());
    log.append(same(1)).await.unwrap();
    assert_eq!(log.maintain().await.unwrap().compacted, 99);
    // 300 that stay: the next walk waits for 301 new ones
    log.append(numbered(0, 300)).await.unwrap();
    assert_eq!(log.maintain().await.unwrap().compacted, 0);
    log.append(same(200)).await.unwrap();
    assert_eq!(log.maintain().await.unwrap().compacted, 0);
    assert_eq!(offsets(&log).await.len(), 501);
    log.append(same(101)).await.unwrap();
    assert_eq!(log.maintain().await.unwrap().compacted, 301);
    log.check_deep().await.unwrap();
}

#[tokio::test]
async fn compaction_of_more_records_than_one_step_reads() {
    let place = Place::new();
    let log = place.with_topic(Retention::Compact).await;
    let topic: Arc<str> = "t".into();
    for round in 0..5 {
        let mut append = Append::default();
        for key in 0..10_007_u32 {
            append.record(&topic, 0, &key.to_le_bytes(), |out| out.push(round));
        }
        log.append(append).await.unwrap();
    }
    assert_eq!(log.maintain().await.unwrap().compacted, 4 * 10_007);
    let batch = log.read("t", 0, 0, ALL).await.unwrap();
    assert_eq!(batch.len(), 10_007);
    assert!(batch.iter().all(|record| record.value == [4]));
    assert_eq!(log.maintain().await.unwrap(), Removed::default());
    drop(log);
    place.open().await.check_deep().await.unwrap();
}

#[tokio::test]
async fn what_is_forgotten_is_gone_but_for_the_last_record() {
    let place = Place::new();
    let log = place.with_topic(Retention::Compact).await;
    log.append(numbered(0, 2_500)).await.unwrap();
    let forgotten: Vec<u64> = (1..2_500).collect();
    assert_eq!(log.forget("t", 0, &forgotten).await.unwrap(), 2_498);
    assert_eq!(offsets(&log).await, [0, 2_499]);
    drop(log);
    let log = place.open().await;
    log.check_deep().await.unwrap();
    assert_eq!(log.append(numbered(0, 1)).await.unwrap(), [2_500], "offsets go on");
}

#[tokio::test]
async fn nothing_is_forgotten_of_a_topic_that_is_kept() {
    let place = Place::new();
    let log = place.with_topic(Retention::Keep).await;
    log.append(numbered(0, 3)).await.unwrap();
    log.forget("t", 0, &[0]).await.unwrap_err();
    log.forget("nowhere", 0, &[0]).await.unwrap_err();
    assert_eq!(offsets(&log).await, [0, 1, 2]);
}
