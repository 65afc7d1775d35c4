//! What a sink does when its store is emptied: it opens it anew and fills it from the first state that there is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use tidemark_pipelines::engine::BatchLimits;
use tidemark_sink_core::{Role, SinkError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::place::Place;
use crate::store::{Content, Hindrance};
use crate::thing::insert;

/// Empties a store at every opening after somebody has said so.
struct Emptied {
    content: Arc<Mutex<Content>>,
    said: watch::Receiver<u64>,
    opened: Arc<AtomicU32>,
    /// Says it once more when a batch is applied.
    says: Option<watch::Sender<u64>>,
}

#[async_trait]
impl Hindrance for Emptied {
    fn open(&mut self) -> Result<(), SinkError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if self.said.has_changed().unwrap() {
            self.said.mark_unchanged();
            *self.content.lock().unwrap() = Content::default();
        }
        Ok(())
    }

    async fn apply(&mut self) {
        if let Some(says) = self.says.take() {
            says.send_modify(|times| *times += 1);
        }
    }

    fn reopen(&self) -> Option<watch::Receiver<u64>> {
        Some(self.said.clone())
    }
}

fn row(code: &str) -> serde_json::Value {
    json!({"code": code, "name": "n", "a": "1"})
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_emptied_is_filled_again_at_rest_and_at_work() {
    let place = Place::new().await;
    place.publish(&[insert("file", row("A")), insert("file", row("B"))]).await;
    let content: Arc<Mutex<Content>> = Arc::default();
    let (says, said) = watch::channel(0);
    let opened = Arc::new(AtomicU32::new(0));
    // The first batch is under way when it is said for the first time.
    let emptied = Emptied { content: Arc::clone(&content), said, opened: Arc::clone(&opened), says: Some(says.clone()) };
    let sink = place.sink(Role::Relational, &content).hindered(emptied);
    let mut pipeline = place.pipeline.clone();
    pipeline.shutdown = CancellationToken::new();
    let filled = async |openings: u32, rows: usize| {
        for _ in 0..100_000 {
            let stands = (opened.load(Ordering::SeqCst), content.lock().unwrap().rows.len());
            if stands == (openings, rows) && pipeline.board.lines()["sink.relational"].quiet {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("{} openings, {:?}", opened.load(Ordering::SeqCst), content.lock().unwrap());
    };
    let test = async {
        filled(2, 2).await;
        content.lock().unwrap().rows.clear();
        says.send_modify(|times| *times += 1);
        filled(3, 2).await;
        assert_eq!(pipeline.board.lines()["sink.relational"].retried, 0, "nothing failed");
        pipeline.shutdown.cancel();
    };
    futures::join!(
        pipeline.run_fold(place.cache.path().join("state"), BatchLimits::FOLD),
        pipeline.run_sink(Box::new(sink), BatchLimits::SINK),
        test,
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_store_is_filled_from_states_whose_first_offsets_are_gone() {
    let place = Place::new().await;
    place.publish(&[insert("file", row("A")), insert("file", row("B"))]).await;
    place.publish(&[insert("file", json!({"code": "A", "name": "n", "a": "2"}))]).await;
    place.drain(Role::Relational, &Arc::default()).await;
    place.log.maintain();
    let topic = place.pipeline.topics.state("thing");
    assert!(tidemark_log::Log::bounds(&*place.log, &topic, 0).await.unwrap().start > 0, "compacted from the start");
    let content: Arc<Mutex<Content>> = Arc::default();
    let drained = place.drain(Role::Analytics, &content);
    tokio::time::timeout(std::time::Duration::from_secs(60), drained).await.expect("the store takes the first states");
    let content = content.lock().unwrap();
    assert_eq!((content.rows.len(), content.stands("thing", 0)), (2, 3));
}
