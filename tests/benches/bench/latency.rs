//! How long one record takes from its append to all four stores, at a steady rate.
//!
//! The records are appended through the log's library by this process, as a second source would, while the program runs; a
//! thread a store looks how far the store is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::{Append, Log, Topics, partition};
use tidemark_schemas::{Catalog, codec, json as rows};
use tidemark_tests::change;
use tidemark_tests::stores::FILES;
use tidemark_tests::wait;

use crate::phases::{Run, stop};
use crate::positions;

const EVERY: Duration = Duration::from_millis(10);
const SOURCE: &str = "bench";

/// Milliseconds.
pub(crate) struct Latencies {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

/// Appends one record every 10 ms for so long.
pub(crate) fn measure(run: &Run, duration: Duration) -> Result<Latencies> {
    let running = run.place().start(&["up"]);
    wait::until("the program to be ready", wait::PATIENCE, || {
        tidemark_tests::running::http_get(run.place().port(), "/ready").filter(|(status, _)| *status == 200)
    });
    let base = positions::Watch::open(run.data()).context("the stores are there")?.lowest("customer");
    let done = Arc::new(AtomicBool::new(false));
    let watchers: Vec<_> = FILES
        .iter()
        .map(|file| {
            let (path, done) = (run.data().join(file), Arc::clone(&done));
            std::thread::spawn(move || watch(&path, base, &done))
        })
        .collect();
    let appended = append(run, duration)?;
    let end = base + appended.len() as u64;
    let look = positions::Watch::open(run.data()).context("the stores are there")?;
    wait::until("the last record to be everywhere", wait::PATIENCE, || (look.lowest("customer") >= end).then_some(()));
    // One more look of every watcher, so that the last position is seen.
    wait::pass(Duration::from_millis(20));
    done.store(true, Ordering::SeqCst);
    let mut seen = Vec::new();
    for watcher in watchers {
        seen.push(watcher.join().map_err(|_| anyhow!("a watcher panicked"))??);
    }
    stop(running)?;
    let mut latencies: Vec<f64> = appended
        .iter()
        .enumerate()
        .map(|(number, at)| {
            let wanted = base + number as u64 + 1;
            let last =
                seen.iter().filter_map(|steps| steps.iter().find(|(_, next)| *next >= wanted)).map(|(when, _)| *when).max();
            last.map_or(f64::NAN, |last| last.duration_since(*at).as_secs_f64() * 1e3)
        })
        .collect();
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Ok(Latencies { count: latencies.len(), p50: at(0.5), p99: at(0.99), most: at(1.0) })
}

/// (moment, position) at every move of one store.
fn watch(path: &std::path::Path, base: u64, done: &AtomicBool) -> Result<Vec<(Instant, u64)>> {
    let store = positions::open(path)?;
    let mut steps = Vec::new();
    let mut last = base;
    while !done.load(Ordering::SeqCst) {
        let next = positions::position(&store, "customer");
        if next > last {
            steps.push((Instant::now(), next));
            last = next;
        }
        wait::pass(Duration::from_millis(1));
    }
    Ok(steps)
}

fn append(run: &Run, duration: Duration) -> Result<Vec<Instant>> {
    let catalog = Catalog::built_in();
    let entity = catalog.entity("customer").context("a built-in entity")?;
    let topics = Topics::new("tidemark");
    let topic = topics.changes("customer");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let log = EmbeddedLog::open(EmbeddedOptions::new(run.data().join("log.db"))).await?;
        let counts = log.topics().await?;
        let partitions = counts.iter().find(|(name, _)| **name == *topic).map_or(1, |(_, count)| *count);
        let start = Instant::now();
        let mut appended = Vec::new();
        while start.elapsed() < duration {
            let number = appended.len() as u64;
            tokio::time::sleep_until((start + EVERY * number as u32).into()).await;
            let key = format!("BJ-HA-001-C9{number:07}");
            let given =
                json!({"customer_code": key, "institution_code": "BJ-HA-001", "person": {"name": "测试"}, "vip_level": "GOLD"});
            let row = rows::row_from_json(&entity.record, &given).map_err(|problem| anyhow!(problem))?;
            let change = change::of(entity, &key, Some(row), SOURCE, number + 1);
            let mut one = Append::default();
            let place = partition::of(key.as_bytes(), partitions);
            one.record(&topic, place, key.as_bytes(), |out| codec::encode_change(entity, &change, out));
            appended.push(Instant::now());
            log.append(one).await?;
        }
        Ok(appended)
    })
}
