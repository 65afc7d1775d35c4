//! A sink whose store can be built again while it runs.
//!
//! It opens only a store of which nobody wants that it be emptied. One that is to be emptied is emptied first, by the worker that
//! holds partition number 0; the others wait for that word. Between two batches the engine looks at [`Sink::reopen`], so that a sink
//! that has nothing to do notices as well; one that writes in that moment is stale, and notices when it is opened again.
//!
//! A worker that was stopped on its way to empty the store may do so when another has long done it in its place. Then it says so
//! too, and everybody opens and fills the store once more.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidemark_log::{LogIdentity, Share, crash};
use tidemark_sink_core::{Applied, Role, Sink, SinkBatch, SinkError, StorePosition, StoreReport};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::build::{Build, Step, StoreName};
use crate::builds::Builds;

/// How long an opening waits for the worker that empties the store before it fails, and is tried again: for longer it would hold up
/// a new division of the partitions, and the end of the process.
const WAIT: Duration = Duration::from_secs(2);

/// A sink, and what is wanted of its store.
pub struct ReplayingSink {
    inner: Box<dyn Sink>,
    store: StoreName,
    builds: Arc<Builds>,
    told: watch::Receiver<u64>,
}

impl ReplayingSink {
    /// This sink over this store, which must be among those that `builds` follows.
    pub fn new(inner: Box<dyn Sink>, store: StoreName, builds: Arc<Builds>) -> Self {
        let told = builds.told(&store);
        Self { inner, store, builds, told }
    }

    /// Returns when the store need not be emptied, or not any more.
    async fn emptied_if_asked(&mut self, share: &Share) -> Result<(), SinkError> {
        let deadline = Instant::now() + WAIT;
        let mut appended = self.builds.log().appended();
        loop {
            appended.mark_unchanged();
            self.builds.catch_up().await?;
            // What is known by now is acted on here; only what comes later makes the store open anew.
            self.told.mark_unchanged();
            let Some(build) = self.builds.of(&self.store).filter(|build| build.step == Step::Asked) else { return Ok(()) };
            if self.store.is_emptied_with(share) {
                tracing::info!(store = self.store.role().name(), build = build.number, "emptying the store");
                self.inner.reset().await?;
                crash::point("replay.after-reset");
                self.builds.catch_up().await?;
                // It may have been asked for anew meanwhile: the last word on the topic must not be one about an older build.
                if self.builds.of(&self.store).is_some_and(|known| known.number > build.number) {
                    continue;
                }
                self.builds.put(&self.store, &Build { step: Step::Emptied, ..build }).await?;
                crash::point("replay.after-emptied");
            } else if tokio::time::timeout_at(deadline, appended.changed()).await.is_err() {
                let role = self.store.role().name();
                return Err(SinkError::Unavailable {
                    step: format!("opening the {role} store"),
                    cause: "it is to be emptied, which the worker of partition 0 has not done yet".into(),
                });
            }
        }
    }
}

#[async_trait]
impl Sink for ReplayingSink {
    fn role(&self) -> Role {
        self.inner.role()
    }

    async fn open(&mut self, log: LogIdentity, share: &Share) -> Result<Vec<StorePosition>, SinkError> {
        self.emptied_if_asked(share).await?;
        self.inner.open(log, share).await
    }

    async fn apply(&mut self, batch: &SinkBatch) -> Result<Applied, SinkError> {
        self.inner.apply(batch).await
    }

    fn batches_per_write(&self) -> usize {
        self.inner.batches_per_write()
    }

    fn is_filling(&self) -> bool {
        self.inner.is_filling()
    }

    async fn look_after(&mut self) -> Result<(), SinkError> {
        self.inner.look_after().await
    }

    fn went_back(&self) -> bool {
        self.inner.went_back()
    }

    async fn release(&mut self) -> Result<(), SinkError> {
        self.inner.release().await
    }

    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError> {
        self.inner.positions().await
    }

    async fn filled_from(&self) -> Result<Option<LogIdentity>, SinkError> {
        self.inner.filled_from().await
    }

    async fn check(&self, log: LogIdentity) -> StoreReport {
        self.inner.check(log).await
    }

    async fn reset(&mut self) -> Result<(), SinkError> {
        self.inner.reset().await
    }

    fn reopen(&self) -> Option<watch::Receiver<u64>> {
        Some(self.told.clone())
    }
}
