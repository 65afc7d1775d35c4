//! What a sink does when its store stands further back than it did: it gives it back, opens it anew and reads on from there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tidemark_pipelines::engine::BatchLimits;
use tidemark_sink_core::{Role, SinkError};
use tokio_util::sync::CancellationToken;

use crate::place::Place;
use crate::store::{Content, Hindrance};
use crate::thing::insert;

/// Notes what is asked of the store.
struct GoesBack {
    went: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

#[async_trait]
impl Hindrance for GoesBack {
    fn open(&mut self) -> Result<(), SinkError> {
        self.asked.lock().unwrap().push("open");
        self.went.store(false, Ordering::SeqCst);
        Ok(())
    }

    async fn apply(&mut self) {
        self.asked.lock().unwrap().push("apply");
    }

    fn went_back(&self) -> bool {
        self.went.load(Ordering::SeqCst)
    }

    fn release(&mut self) {
        self.asked.lock().unwrap().push("release");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_is_read_for_again_from_there() {
    let place = Place::new().await;
    place.publish(&["A", "B"].map(|code| insert("file", json!({"code": code, "name": "n", "a": "1"})))).await;
    let content: Arc<Mutex<Content>> = Arc::default();
    let (went, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let goes_back = GoesBack { went: Arc::clone(&went), asked: Arc::clone(&asked) };
    let sink = place.sink(Role::Relational, &content).hindered(goes_back);
    let mut pipeline = place.pipeline.clone();
    pipeline.shutdown = CancellationToken::new();
    let filled = async || {
        while content.lock().unwrap().rows.len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(pipeline.caught_up(&["fold", "sink.relational"]).await.unwrap());
    };
    let test = async {
        filled().await;
        *content.lock().unwrap() = Content::default();
        went.store(true, Ordering::SeqCst);
        tokio::time::timeout(Duration::from_secs(60), filled()).await.expect("what it lost is read again");
        pipeline.shutdown.cancel();
    };
    futures::join!(
        pipeline.run_fold(place.cache.path().join("state"), BatchLimits::FOLD),
        pipeline.run_sink(Box::new(sink), BatchLimits::SINK),
        test,
    );
    let mut asked = asked.lock().unwrap().clone();
    asked.dedup();
    assert_eq!(asked, ["release", "open", "apply", "release", "open", "apply", "release"]);
    assert_eq!(pipeline.board.lines()["sink.relational"].retried, 0, "nothing failed");
}
