//! Both adapters keep the contract of the port.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use tempfile::TempDir;
use tidemark_log::Log;
use tidemark_log::contract::{Compaction, Fixture, run_all};
use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::memory::{MemoryLog, MemoryOptions};

struct Embedded {
    directory: TempDir,
}

impl Embedded {
    async fn log(&self) -> EmbeddedLog {
        let mut options = EmbeddedOptions::new(self.directory.path().join("log.db"));
        options.compaction_records_min = 0;
        EmbeddedLog::open(options).await.expect("the log opens")
    }
}

#[async_trait]
impl Fixture for Embedded {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(self.log().await)
    }

    async fn compact(&self) -> Compaction {
        self.log().await.maintain().await.expect("maintenance works");
        Compaction::Done
    }

    fn appends_lie_together(&self) -> bool {
        true
    }
}

struct Memory {
    log: Arc<MemoryLog>,
}

#[async_trait]
impl Fixture for Memory {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::<MemoryLog>::clone(&self.log)
    }

    async fn compact(&self) -> Compaction {
        self.log.maintain();
        Compaction::Done
    }

    fn appends_lie_together(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_log_keeps_the_contract() {
    run_all(&|| Box::new(Embedded { directory: tempfile::tempdir().unwrap() })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_in_memory_keeps_the_contract() {
    run_all(&|| {
        let ticks = AtomicI64::new(0);
        let options =
            MemoryOptions { clock: Arc::new(move || ticks.fetch_add(3, Ordering::Relaxed)), ..MemoryOptions::default() };
        Box::new(Memory { log: Arc::new(MemoryLog::new(options)) })
    })
    .await;
}
