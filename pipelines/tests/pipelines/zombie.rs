//! A worker process that is stopped beyond its session and goes on later, on the broker in `TIDEMARK_TEST_KAFKA`.

use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tidemark_pipelines::dead_letters;
use tidemark_test_support::Kind;
use uuid::Uuid;

use crate::kafka::{Author, PARTITIONS, PATIENCE, Worker};
use crate::store::Content;

/// Tells the child process which log it works on.
const PREFIX: &str = "TIDEMARK_TEST_ZOMBIE_PREFIX";

/// Not a test by itself: the other process of the one below. Its store is its own, so it runs the fold alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_of_another_process() {
    let Ok(prefix) = std::env::var(PREFIX) else { return };
    let Some(broker) = Kind::Kafka.address("worker_of_another_process") else { return };
    let worker = Worker::fold_alone(&broker, &prefix).await;
    worker.running.await.unwrap();
}

/// Killed when the test ends, however it ends.
struct Process(Child);

impl Process {
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().expect("the child is ours");
        self.0.wait().expect("the child is ours");
    }
}

/// Publishes until this worker's fold holds so many partition numbers.
async fn until_held(author: &mut Author, worker: &Worker, what: &str, fits: impl Fn(usize) -> bool) {
    let started = Instant::now();
    while !fits(worker.shares().0.len()) {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}: {:?}", worker.shares());
        author.publish(&worker.pipeline, 20).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_stopped_beyond_its_session_comes_back_as_another() {
    let Some(broker) = Kind::Kafka.address("a_worker_stopped_beyond_its_session_comes_back_as_another") else { return };
    let prefix = format!("test-{}", Uuid::new_v4().simple());
    let content: Arc<Mutex<Content>> = Arc::default();
    let mut author = Author::default();
    let mine = Worker::start(&broker, &prefix, &content).await;
    until_held(&mut author, &mine, "one worker holds all", |numbers| numbers == 3).await;
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["zombie::worker_of_another_process", "--exact"]).env(PREFIX, &prefix);
    let other = Process(other.spawn().unwrap());
    let all = PARTITIONS as usize;
    until_held(&mut author, &mine, "the other one has its share", |numbers| numbers < all).await;
    author.arrived("two processes", &content, &[&mine]).await;

    other.signal("-STOP");
    until_held(&mut author, &mine, "the stopped one is given up", |numbers| numbers == all).await;
    author.arrived("the other one stopped", &content, &[&mine]).await;
    // it still believes in its share, and must not harm the one that has it now
    other.signal("-CONT");
    until_held(&mut author, &mine, "it has come back", |numbers| numbers < all).await;
    author.publish(&mine.pipeline, 500).await;
    author.arrived("the other one back", &content, &[&mine]).await;

    drop(other);
    author.publish(&mine.pipeline, 500).await;
    author.arrived("the other one killed", &content, &[&mine]).await;
    assert_eq!(dead_letters::list(&*mine.pipeline.log, &mine.pipeline.topics).await.unwrap(), []);
    mine.stop().await;
}
