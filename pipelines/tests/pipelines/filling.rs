//! How a sink gathers its batches while its store is filled for the first time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tidemark_pipelines::engine::BatchLimits;
use tidemark_sink_core::Role;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::place::Place;
use crate::store::{Content, Hindrance};
use crate::thing::insert;

const CHANGES: usize = 100;

/// Counts the batches of a store that says whether it is being filled.
struct Counted {
    filling: bool,
    batches: Arc<AtomicU32>,
}

#[async_trait]
impl Hindrance for Counted {
    async fn apply(&mut self) {
        self.batches.fetch_add(1, Ordering::SeqCst);
    }

    fn is_filling(&self) -> bool {
        self.filling
    }
}

/// In how many batches a store takes changes that come one by one, so far apart, and how long that takes.
async fn batches(filling: bool, limits: BatchLimits, apart: Duration) -> (u32, Duration) {
    let started = Instant::now();
    let place = Place::new().await;
    let content: Arc<Mutex<Content>> = Arc::default();
    let batches = Arc::new(AtomicU32::new(0));
    let sink = place.sink(Role::Relational, &content).hindered(Counted { filling, batches: Arc::clone(&batches) });
    let mut pipeline = place.pipeline.clone();
    pipeline.shutdown = CancellationToken::new();
    let test = async {
        for number in 0..CHANGES {
            place.publish(&[insert("file", json!({"code": format!("K{number}"), "name": "n", "a": "1"}))]).await;
            tokio::time::sleep(apart).await;
        }
        assert!(pipeline.caught_up(&["fold", "sink.relational"]).await.unwrap());
        pipeline.shutdown.cancel();
    };
    futures::join!(
        pipeline.run_fold(place.cache.path().join("state"), BatchLimits::FOLD),
        pipeline.run_sink(Box::new(sink), limits),
        test,
    );
    assert_eq!(content.lock().unwrap().rows.len(), CHANGES);
    (batches.load(Ordering::SeqCst), started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_filled_gets_fuller_batches_and_any_other_each_record_at_once() {
    let apart = Duration::from_millis(10);
    assert_eq!(batches(false, BatchLimits::SINK, apart).await.0, 100);
    let (filled, _) = batches(true, BatchLimits::SINK, apart).await;
    assert!((5..=10).contains(&filled), "{filled} batches");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_filled_and_lags_is_not_kept_waiting() {
    let two = BatchLimits { records_max: 2, ..BatchLimits::SINK };
    let (count, took) = batches(true, two, Duration::ZERO).await;
    assert!(count >= 50 && took < Duration::from_secs(1), "{count} batches in {took:?}");
}
