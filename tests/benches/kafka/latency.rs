//! How long a record takes from its append to all four stores, at a steady rate.
//!
//! The changes are appended through the log's library by this process, as a source would, while the program runs; how many rows
//! each sink has put into its store it is asked itself. Changes of one partition keep their order through the fold and every sink,
//! so the n-th that was appended is the n-th that each of them counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;
use tidemark_log::{Append, Log};
use tidemark_schemas::{codec, json as rows};
use tidemark_sink_core::Role;
use tidemark_tests::place::Place;
use tidemark_tests::running::http_get;
use tidemark_tests::{change, wait};

use crate::ours::{self, APPLIED};
use crate::topics::Topic;

/// One append of so many changes every so often: 1,000 records a second.
const EVERY: Duration = Duration::from_millis(10);
const RECORDS: u64 = 10;
/// How often the program is asked: figures may be too high by that.
const LOOK_EVERY: Duration = Duration::from_millis(4);
/// Changes that are not counted: producers and connections are opened for them.
const WARM_UP: u64 = 3_000;
/// How long the last change may take.
const PATIENCE: Duration = Duration::from_secs(60);
const SOURCE: &str = "bench";

/// Milliseconds from the append on: the middle, and what one change in a hundred exceeds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// Changes a second as they were appended.
    pub(crate) rate: f64,
    /// Until the last of the stores has it.
    pub(crate) all: Latency,
    /// The same for each store.
    pub(crate) each: Vec<(Role, Latency)>,
}

/// A look: when, and what each sink had applied by then.
type Look = (Instant, [u64; Role::ALL.len()]);

/// Runs the whole program on the stores that the place is set to.
pub(crate) async fn measure(place: &Place, topic: &Topic, duration: Duration) -> Result<Latencies> {
    let running = place.start(&["up"]);
    let port = place.port();
    tokio::task::block_in_place(|| {
        wait::until("the program to be ready", wait::PATIENCE, || http_get(port, "/ready").filter(|(status, _)| *status == 200))
    });
    let end = Arc::new(AtomicU64::new(u64::MAX));
    let watching = std::thread::spawn({
        let end = Arc::clone(&end);
        move || watch(port, &end)
    });
    let appended = append(topic, duration).await?;
    end.store(appended.len() as u64, Ordering::SeqCst);
    let looks = tokio::task::block_in_place(|| watching.join()).map_err(|_| anyhow!("the watcher panicked"))??;
    tokio::task::block_in_place(|| ours::stop(running))?;

    let counted = &appended[WARM_UP as usize..];
    let first_look = |number: usize, has: &dyn Fn(&[u64; 4], u64) -> bool| {
        let wanted = WARM_UP + number as u64 + 1;
        let index = looks.partition_point(|(_, applied)| !has(applied, wanted));
        looks[index].0.duration_since(counted[number]).as_secs_f64() * 1e3
    };
    let of = |has: &dyn Fn(&[u64; 4], u64) -> bool| {
        let mut latencies: Vec<f64> = (0..counted.len()).map(|number| first_look(number, has)).collect();
        latencies.sort_by(f64::total_cmp);
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        Latency { p50: at(0.5), p99: at(0.99) }
    };
    let (Some(first), Some(last)) = (counted.first(), counted.last()) else { return Err(anyhow!("nothing was appended")) };
    Ok(Latencies {
        rate: (counted.len() as u64 - RECORDS) as f64 / (*last - *first).as_secs_f64(),
        all: of(&|applied, wanted| applied.iter().all(|applied| *applied >= wanted)),
        each: Role::ALL.iter().enumerate().map(|(at, role)| (*role, of(&|applied, wanted| applied[at] >= wanted))).collect(),
    })
}

/// Looks until every sink has applied as many as `end` says.
fn watch(port: u16, end: &AtomicU64) -> Result<Vec<Look>> {
    let mut looks: Vec<Look> = Vec::new();
    let mut moved = Instant::now();
    loop {
        let (status, text) = http_get(port, "/metrics").context("the program does not answer any more")?;
        ensure!(status == 200, "/metrics says {status}");
        let applied = Role::ALL.map(|role| applied(&text, role));
        if looks.last().is_none_or(|(_, before)| *before != applied) {
            moved = Instant::now();
            looks.push((moved, applied));
        }
        let wanted = end.load(Ordering::SeqCst);
        if applied.iter().all(|applied| *applied >= wanted) {
            ensure!(applied.iter().all(|applied| *applied == wanted), "{applied:?} applied of {wanted}: something was repeated");
            return Ok(looks);
        }
        ensure!(moved.elapsed() < PATIENCE, "no sink has moved for {PATIENCE:?}: {applied:?} of {wanted}");
        wait::pass(LOOK_EVERY);
    }
}

fn applied(metrics: &str, role: Role) -> u64 {
    let stage = format!("sink.{}", role.name());
    let line = metrics.lines().find(|line| line.starts_with(APPLIED) && line.contains(&stage));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// When each change was appended.
async fn append(topic: &Topic, duration: Duration) -> Result<Vec<Instant>> {
    let entity = topic.catalog.entity("customer").context("a built-in entity")?;
    let name = topic.topics.changes("customer");
    let mut appended = Vec::new();
    let appends = WARM_UP / RECORDS + u64::try_from(duration.as_millis() / EVERY.as_millis())?;
    let start = Instant::now();
    for number in 0..appends {
        tokio::time::sleep_until((start + EVERY * u32::try_from(number)?).into()).await;
        let mut some = Append::default();
        for number in number * RECORDS..(number + 1) * RECORDS {
            let key = format!("BJ-HA-001-C{number:07}");
            let given = json!({
                "customer_code": key, "institution_code": "BJ-HA-001", "person": {"name": "测试"}, "vip_level": "GOLD"
            });
            let row = rows::row_from_json(&entity.record, &given).map_err(|problem| anyhow!(problem))?;
            let change = change::of(entity, &key, Some(row), SOURCE, number + 1);
            some.record(&name, 0, key.as_bytes(), |out| codec::encode_change(entity, &change, out));
        }
        appended.extend([Instant::now(); RECORDS as usize]);
        topic.log.append(some).await?;
    }
    Ok(appended)
}
