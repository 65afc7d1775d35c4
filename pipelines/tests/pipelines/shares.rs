//! What a sink does when its share of the partitions changes while a batch is in hand.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use tidemark_log::memory::MemoryLog;
use tidemark_log::{
    Append, Assignment, Bounds, Log, LogError, LogIdentity, Membership, ReadLimit, RecordBatch, Share, TopicSpec,
};
use tidemark_pipelines::engine::{BatchLimits, Pipeline};
use tidemark_sink_core::{Role, SinkError};
use tokio::sync::{Semaphore, watch};

use crate::place::Place;
use crate::store::{Content, Hindrance};
use crate::thing::insert;

/// A log whose memberships say what the test says.
struct Grouped {
    log: Arc<MemoryLog>,
    group: Group,
}

#[derive(Clone)]
struct Group {
    wanted: watch::Sender<Option<Assignment>>,
    held: watch::Sender<Option<Share>>,
}

impl Group {
    fn say(&self, numbers: &[u32], losses: u64) {
        self.wanted.send_replace(Some(Assignment { share: share(numbers), losses }));
    }
}

fn share(numbers: &[u32]) -> Share {
    Share::Partitions(numbers.iter().copied().collect::<BTreeSet<_>>())
}

#[async_trait]
impl Membership for Group {
    fn wanted(&self) -> watch::Receiver<Option<Assignment>> {
        self.wanted.subscribe()
    }

    fn holds(&self, share: &Share) {
        self.held.send_replace(Some(share.clone()));
    }

    async fn leave(&self) {}
}

#[async_trait]
impl Log for Grouped {
    fn identity(&self) -> LogIdentity {
        self.log.identity()
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }

    async fn topics(&self) -> Result<Vec<(String, u32)>, LogError> {
        self.log.topics().await
    }

    async fn append(&self, append: Append) -> Result<Vec<u64>, LogError> {
        self.log.append(append).await
    }

    async fn read(&self, topic: &str, partition: u32, offset: u64, limit: ReadLimit) -> Result<RecordBatch, LogError> {
        self.log.read(topic, partition, offset, limit).await
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError> {
        self.log.bounds(topic, partition).await
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError> {
        self.log.offset_at(topic, partition, time).await
    }

    async fn positions(&self, consumer: &str) -> Result<Vec<(String, u32, u64)>, LogError> {
        self.log.positions(consumer).await
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.log.appended()
    }

    async fn join(&self, _stage: &str) -> Result<Box<dyn Membership>, LogError> {
        Ok(Box::new(self.group.clone()))
    }
}

/// A store that takes a batch only when the test lets it.
struct Slow {
    /// Batches that were begun.
    begun: watch::Sender<u32>,
    allowed: Arc<Semaphore>,
    opened: Arc<AtomicU32>,
}

#[async_trait]
impl Hindrance for Slow {
    fn open(&mut self) -> Result<(), SinkError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn apply(&mut self) {
        self.begun.send_modify(|begun| *begun += 1);
        self.allowed.acquire().await.unwrap().forget();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_is_drained_and_what_is_lost_is_dropped() {
    let place = Place::new().await;
    // the fold alone, so that there are states to be applied
    place.publish(&[insert("file", json!({"code": "K", "name": "n", "a": "1"}))]).await;
    place.drain(Role::Vector, &Arc::default()).await;

    let group = Group { wanted: watch::Sender::new(None), held: watch::Sender::new(None) };
    let log = Grouped { log: Arc::clone(&place.log), group: group.clone() };
    let pipeline =
        Pipeline { log: Arc::new(log), shutdown: tokio_util::sync::CancellationToken::new(), ..place.pipeline.clone() };
    let content: Arc<Mutex<Content>> = Arc::default();
    let (allowed, opened) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let (begun, mut seen) = watch::channel(0);
    let slow = Slow { begun, allowed: Arc::clone(&allowed), opened: Arc::clone(&opened) };
    let sink = place.sink(Role::Relational, &content).hindered(slow);
    let rows = || content.lock().unwrap().rows.len();
    let mut held = group.held.subscribe();

    let test = async {
        // nobody has said anything yet, then nothing, then everything
        group.say(&[], 0);
        held.wait_for(|held| *held == Some(share(&[]))).await.unwrap();
        assert_eq!(opened.load(Ordering::SeqCst), 0, "a worker without partitions leaves the store alone");
        group.say(&[0], 0);
        seen.wait_for(|begun| *begun == 1).await.unwrap();

        // lost with a batch in hand: it is dropped, nothing of it is written
        group.say(&[], 1);
        held.wait_for(|held| *held == Some(share(&[]))).await.unwrap();
        assert_eq!((rows(), content.lock().unwrap().stands("thing", 0)), (0, 0));

        // given again, then revoked with a batch in hand: it is held until the batch is written
        group.say(&[0], 1);
        seen.wait_for(|begun| *begun == 2).await.unwrap();
        assert_eq!(opened.load(Ordering::SeqCst), 2, "the store is opened anew");
        group.say(&[], 1);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*held.borrow_and_update(), Some(share(&[0])), "not let go before it is drained");
        allowed.add_permits(1);
        held.wait_for(|held| *held == Some(share(&[]))).await.unwrap();
        assert_eq!((rows(), content.lock().unwrap().stands("thing", 0)), (1, 1));
        pipeline.shutdown.cancel();
    };
    tokio::join!(pipeline.run_sink(Box::new(sink), BatchLimits::SINK), test);
}
