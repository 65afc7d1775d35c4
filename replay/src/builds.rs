//! Follows the progress topic for the builds of some stores.
//!
//! Guarantees: after [`Builds::catch_up`] everything is known that had been appended before; a sink that was told once that its
//! store is to be emptied or was, is told again when that happens again. So whoever empties late, after another worker has done it
//! in its place, makes all of them open the store anew.
//! On failure: a record that cannot be read is an error of everybody who asks, as nobody may guess whether a store is to be emptied.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidemark_connector_core::progress;
use tidemark_log::{Append, Log, LogError, ReadLimit, Topics};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::build::{Build, Step, StoreName};

/// How much of the topic is read at once.
const LIMIT: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 8 << 20 };

/// The builds of some stores, as the progress topic tells them.
pub struct Builds {
    log: Arc<dyn Log>,
    topics: Topics,
    stores: BTreeMap<String, Store>,
    /// Offset of the next progress record, once something was read. Whoever holds it reads.
    next: tokio::sync::Mutex<Option<u64>>,
}

/// What is known of one.
#[derive(Default)]
struct Store {
    build: Mutex<Option<Build>>,
    /// Offset of the last record that says that it is to be emptied, or was.
    told: watch::Sender<u64>,
}

impl Builds {
    /// Of these stores; nothing is read yet.
    pub fn new(log: Arc<dyn Log>, topics: Topics, stores: impl IntoIterator<Item = StoreName>) -> Self {
        let stores = stores.into_iter().map(|store| (store.key(), Store::default())).collect();
        Self { log, topics, stores, next: tokio::sync::Mutex::default() }
    }

    /// The log that tells.
    pub(crate) fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Its topics.
    pub(crate) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Reads what has been appended since the last time.
    pub async fn catch_up(&self) -> Result<(), LogError> {
        let mut next = self.next.lock().await;
        let mut offset = match *next {
            Some(offset) => offset,
            None => self.log.bounds(&self.topics.progress, 0).await?.start,
        };
        loop {
            let batch = self.log.read(&self.topics.progress, 0, offset, LIMIT).await?;
            let Some(behind) = batch.next_offset() else { break };
            for record in batch.iter() {
                let Some(store) = std::str::from_utf8(record.key).ok().and_then(|key| self.stores.get(key)) else { continue };
                let build: Build = serde_json::from_slice(record.value).map_err(|error| self.unreadable(record.key, &error))?;
                let mut known = store.build.lock().unwrap_or_else(PoisonError::into_inner);
                // Somebody was still at an older one, and said so behind it.
                if known.as_ref().is_some_and(|known| (known.number, known.step) > (build.number, build.step)) {
                    continue;
                }
                let tells = build.step != Step::Filled;
                *known = Some(build);
                drop(known);
                if tells {
                    store.told.send_replace(record.offset);
                }
            }
            offset = behind;
            *next = Some(offset);
        }
        Ok(())
    }

    fn unreadable(&self, key: &[u8], error: &serde_json::Error) -> LogError {
        let (key, topic) = (String::from_utf8_lossy(key), &self.topics.progress);
        LogError::Damaged(format!(
            "the record `{key}` of {topic} cannot be read ({error}); it was written by a newer tidemark: use that one"
        ))
    }

    /// Catches up whenever something is appended, until shutdown. A log that does not answer is asked again at its next sign of life.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let mut appended = self.log.appended();
        let mut failing = false;
        loop {
            appended.mark_unchanged();
            match self.catch_up().await {
                Ok(()) => failing = false,
                Err(error) if failing => tracing::debug!(%error, "the builds of stores are not known"),
                Err(error) => {
                    failing = true;
                    tracing::warn!(%error, "the builds of stores are not known; looked for again");
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = appended.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The current build of a store; `None` for one that was never asked for.
    ///
    /// # Panics
    /// For a store that is not followed.
    pub fn of(&self, store: &StoreName) -> Option<Build> {
        self.store(store).build.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes with every record that says that the store is to be emptied, or was.
    pub(crate) fn told(&self, store: &StoreName) -> watch::Receiver<u64> {
        self.store(store).told.subscribe()
    }

    fn store(&self, store: &StoreName) -> &Store {
        self.stores.get(&store.key()).expect("every sink's store is among those that are followed")
    }

    /// Writes down how far a store's build is, and learns it.
    pub(crate) async fn put(&self, store: &StoreName, build: &Build) -> Result<(), LogError> {
        let mut append = Append::default();
        progress::put(&mut append, &self.topics, &store.key(), build);
        self.log.append(append).await?;
        self.catch_up().await
    }
}
