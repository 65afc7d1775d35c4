//! The steps of a build, with stores and logs in memory.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use tidemark_connector_core::progress;
use tidemark_log::memory::{MemoryLog, MemoryOptions};
use tidemark_log::{Append, Log, LogError, LogIdentity, Share, Topics};
use tidemark_schemas::Catalog;
use tidemark_sink_core::{Applied, Role, Sink, SinkBatch, SinkError, StorePosition, StoreReport};
use tokio_util::sync::CancellationToken;

use super::{Build, Builds, Replay, ReplayingSink, Stand, Step, StoreName, Wish};

const PARTITIONS: u32 = 2;

/// What a store holds: where it stands, and from which log. What was done to it.
#[derive(Default)]
struct Content {
    positions: Vec<StorePosition>,
    filled_from: Option<LogIdentity>,
    done: Vec<&'static str>,
    is_away: bool,
    /// What somebody writes down while it is emptied.
    meanwhile: Option<(Arc<Builds>, Build)>,
}

#[derive(Clone, Default)]
struct Store(Arc<Mutex<Content>>);

impl Store {
    fn stands(&self, log: LogIdentity, next: [u64; 2]) {
        let mut content = self.0.lock().unwrap();
        let position = |(partition, next): (usize, &u64)| StorePosition {
            entity: "customer".to_owned(),
            partition: u32::try_from(partition).unwrap(),
            next: *next,
        };
        content.positions = next.iter().enumerate().map(position).collect();
        content.filled_from = Some(log);
    }

    fn done(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap().done)
    }
}

#[async_trait]
impl Sink for Store {
    fn role(&self) -> Role {
        Role::Graph
    }

    async fn open(&mut self, log: LogIdentity, _share: &Share) -> Result<Vec<StorePosition>, SinkError> {
        let mut content = self.0.lock().unwrap();
        content.done.push("open");
        content.filled_from = Some(log);
        Ok(content.positions.clone())
    }

    async fn apply(&mut self, _batch: &SinkBatch) -> Result<Applied, SinkError> {
        Ok(Applied::default())
    }

    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError> {
        let content = self.0.lock().unwrap();
        if content.is_away {
            return Err(SinkError::Unavailable { step: "looking".to_owned(), cause: "it is away".into() });
        }
        Ok(content.positions.clone())
    }

    async fn filled_from(&self) -> Result<Option<LogIdentity>, SinkError> {
        Ok(self.0.lock().unwrap().filled_from)
    }

    async fn check(&self, _log: LogIdentity) -> StoreReport {
        StoreReport { summary: String::new(), problems: Vec::new() }
    }

    async fn reset(&mut self) -> Result<(), SinkError> {
        let meanwhile = self.0.lock().unwrap().meanwhile.take();
        if let Some((builds, build)) = meanwhile {
            builds.put(&shared(), &build).await.unwrap();
        }
        let mut content = self.0.lock().unwrap();
        *content = Content { done: std::mem::take(&mut content.done), ..Content::default() };
        content.done.push("reset");
        Ok(())
    }
}

struct Place {
    log: Arc<dyn Log>,
    topics: Topics,
    catalog: Catalog,
    store: Store,
}

impl Place {
    /// A log with three customers' states on partition 0 and two on partition 1.
    async fn new() -> Self {
        let (log, topics) = (MemoryLog::new(MemoryOptions::default()), Topics::new("t"));
        log.create_topics(&topics.specs(["customer"], PARTITIONS)).await.unwrap();
        let mut append = Append::default();
        for number in 0..5_u32 {
            append.record(&topics.state("customer"), number % 2, number.to_string().as_bytes(), |_| {});
        }
        log.append(append).await.unwrap();
        Self { log: Arc::new(log), topics, catalog: Catalog::built_in(), store: Store::default() }
    }

    /// What one process knows.
    fn builds(&self, name: &StoreName) -> Arc<Builds> {
        Arc::new(Builds::new(Arc::clone(&self.log), self.topics.clone(), [name.clone()]))
    }

    async fn ask(&self, builds: &Arc<Builds>, wish: Wish) -> Replay {
        Replay::ask(Arc::clone(builds), &self.catalog, shared(), &self.store, wish).await.unwrap()
    }

    fn sink(&self, builds: &Arc<Builds>) -> ReplayingSink {
        ReplayingSink::new(Box::new(self.store.clone()), shared(), Arc::clone(builds))
    }
}

fn shared() -> StoreName {
    StoreName::shared(Role::Graph)
}

fn numbers(numbers: &[u32]) -> Share {
    Share::Partitions(numbers.iter().copied().collect::<BTreeSet<_>>())
}

#[tokio::test(start_paused = true)]
async fn a_store_is_emptied_once_and_all_workers_fill_it() {
    let place = Place::new().await;
    let identity = place.log.identity();
    let (one, other, asking) = (place.builds(&shared()), place.builds(&shared()), place.builds(&shared()));
    let (mut first, mut second) = (place.sink(&one), place.sink(&other));
    first.open(identity, &numbers(&[0])).await.unwrap();
    second.open(identity, &numbers(&[1])).await.unwrap();
    assert_eq!(place.store.done(), ["open", "open"], "nobody has asked");
    place.store.stands(identity, [3, 2]);
    let (mut told, mut told_second) = (first.reopen().unwrap(), second.reopen().unwrap());
    assert!(!told.has_changed().unwrap());

    // Both notice while they have nothing to do; the one without partition 0 waits for the other.
    let shutdown = CancellationToken::new();
    let replay = place.ask(&asking, Wish::GoOn).await;
    assert_eq!((replay.number(), replay.was_open()), (1, false));
    assert_eq!(replay.look(&place.store).await.unwrap(), Stand::Asked, "where it stands now means nothing");
    let work = async {
        told.changed().await.unwrap();
        told_second.changed().await.unwrap();
        let share = numbers(&[1]);
        let waits = second.open(identity, &share);
        let empties = async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(place.store.done(), Vec::<&str>::new(), "it waits");
            first.open(identity, &numbers(&[0])).await
        };
        let (waited, emptied) = tokio::join!(waits, empties);
        assert_eq!((waited.unwrap(), emptied.unwrap()), (Vec::new(), Vec::new()));
        assert_eq!(place.store.done(), ["reset", "open", "open"]);
        assert!(!first.reopen().unwrap().has_changed().unwrap(), "its own word is no reason to open anew");
        shutdown.cancel();
    };
    tokio::join!(one.follow(shutdown.clone()), other.follow(shutdown.clone()), work);

    assert_eq!(replay.look(&place.store).await.unwrap(), Stand::Filling { done: 0, total: 5 });
    place.store.stands(identity, [3, 1]);
    assert_eq!(replay.look(&place.store).await.unwrap(), Stand::Filling { done: 4, total: 5 });
    place.store.stands(identity, [3, 2]);
    assert_eq!(replay.look(&place.store).await.unwrap(), Stand::Filled { total: 5 });
    replay.close().await.unwrap();
    assert_eq!(asking.of(&shared()).map(|build| build.step), Some(Step::Filled));
    first.open(identity, &numbers(&[0])).await.unwrap();
    assert_eq!(place.store.done(), ["open"], "once is enough");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_one_who_empties_comes_to_an_end() {
    let place = Place::new().await;
    let builds = place.builds(&shared());
    place.ask(&builds, Wish::GoOn).await;
    let mut sink = place.sink(&builds);
    let waited = sink.open(place.log.identity(), &numbers(&[1])).await;
    assert!(matches!(waited, Err(SinkError::Unavailable { .. })), "{waited:?}");
    // Partition 0 comes to it.
    sink.open(place.log.identity(), &numbers(&[0, 1])).await.unwrap();
    assert_eq!(place.store.done(), ["reset", "open"]);
}

#[tokio::test]
async fn who_empties_late_makes_all_open_anew() {
    let place = Place::new().await;
    let (builds, late) = (place.builds(&shared()), place.builds(&shared()));
    let mut sink = place.sink(&builds);
    place.ask(&builds, Wish::GoOn).await;
    late.catch_up().await.unwrap();
    sink.open(place.log.identity(), &Share::All).await.unwrap();
    // Another worker was stopped between its look at the log and the store.
    let build = late.of(&shared()).unwrap();
    assert_eq!(build.step, Step::Asked);
    late.put(&shared(), &Build { step: Step::Emptied, ..build }).await.unwrap();
    builds.catch_up().await.unwrap();
    assert!(sink.reopen().unwrap().has_changed().unwrap());
    place.store.done();
    sink.open(place.log.identity(), &Share::All).await.unwrap();
    assert_eq!(place.store.done(), ["open"]);
    assert!(!sink.reopen().unwrap().has_changed().unwrap());
}

#[tokio::test]
async fn a_newer_wish_outlives_what_is_said_of_an_older_one() {
    let place = Place::new().await;
    let (builds, other) = (place.builds(&shared()), place.builds(&shared()));
    place.ask(&builds, Wish::GoOn).await;
    let older = builds.of(&shared()).unwrap();
    let newer = Build { number: older.number + 1, ..older.clone() };
    place.store.0.lock().unwrap().meanwhile = Some((Arc::clone(&other), newer.clone()));
    place.sink(&builds).open(place.log.identity(), &Share::All).await.unwrap();
    assert_eq!(place.store.done(), ["reset", "reset", "open"], "asked for anew while it was emptied");
    let emptied = Build { step: Step::Emptied, ..newer };
    other.catch_up().await.unwrap();
    assert_eq!(other.of(&shared()).as_ref(), Some(&emptied));
    other.put(&shared(), &Build { step: Step::Filled, ..older }).await.unwrap();
    assert_eq!(other.of(&shared()).as_ref(), Some(&emptied), "said too late");
}

#[tokio::test]
async fn a_workers_own_file_is_its_own_to_empty() {
    let place = Place::new().await;
    let own = StoreName::of_worker(Role::Graph, "w1".to_owned());
    let builds = place.builds(&own);
    let mut sink = ReplayingSink::new(Box::new(place.store.clone()), own.clone(), Arc::clone(&builds));
    place.ask(&place.builds(&shared()), Wish::GoOn).await;
    sink.open(place.log.identity(), &numbers(&[1])).await.unwrap();
    assert_eq!(place.store.done(), ["open"], "another store was meant");
    Replay::ask(Arc::clone(&builds), &place.catalog, own, &place.store, Wish::GoOn).await.unwrap();
    sink.open(place.log.identity(), &numbers(&[1])).await.unwrap();
    assert_eq!(place.store.done(), ["reset", "open"]);
}

#[tokio::test]
async fn only_what_is_not_filled_is_gone_on_with() {
    let place = Place::new().await;
    let identity = place.log.identity();
    let builds = place.builds(&shared());
    let asked = async |wish| {
        let replay = place.ask(&builds, wish).await;
        (replay.number(), replay.was_open())
    };
    let emptied = async || {
        place.sink(&builds).open(identity, &Share::All).await.unwrap();
    };
    assert_eq!(asked(Wish::GoOn).await, (1, false));
    assert_eq!(asked(Wish::GoOn).await, (1, true), "not even emptied");
    assert_eq!(asked(Wish::BeginAnew).await, (2, false));
    emptied().await;
    place.store.stands(identity, [3, 1]);
    assert_eq!(asked(Wish::GoOn).await, (2, true), "half filled");
    place.store.0.lock().unwrap().is_away = true;
    let unknown = Replay::ask(Arc::clone(&builds), &place.catalog, shared(), &place.store, Wish::GoOn).await;
    assert!(unknown.is_err(), "who does not know whether it is filled decides nothing");
    place.store.0.lock().unwrap().is_away = false;
    place.store.stands(identity, [3, 2]);
    assert_eq!(asked(Wish::GoOn).await, (3, false), "filled, though nobody wrote it down");
    emptied().await;
    place.store.stands(LogIdentity { generation: 7, ..identity }, [3, 1]);
    assert_eq!(asked(Wish::GoOn).await, (4, false), "half filled from another log");
    emptied().await;
    place.store.stands(identity, [3, 2]);
    place.ask(&builds, Wish::GoOn).await.close().await.unwrap();
    assert_eq!(builds.of(&shared()).map(|build| (build.number, build.step)), Some((5, Step::Asked)), "nobody has emptied it");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_everybody() {
    let place = Place::new().await;
    let builds = place.builds(&shared());
    let mut append = Append::default();
    progress::put(&mut append, &place.topics, &shared().key(), &json!({"number": 1, "step": "swapped", "until": {}}));
    place.log.append(append).await.unwrap();
    let told = builds.catch_up().await;
    assert!(matches!(&told, Err(LogError::Damaged(text)) if text.contains("build|graph") && text.contains("newer")), "{told:?}");
    let opened = place.sink(&builds).open(place.log.identity(), &Share::All).await;
    assert!(matches!(opened, Err(SinkError::Log(LogError::Damaged(_)))), "{opened:?}");
    assert_eq!(place.store.done(), Vec::<&str>::new());
}
