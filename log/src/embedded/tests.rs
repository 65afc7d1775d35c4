//! The embedded log against damage, other processes, kills, and time; what every log does is in `contract`.

mod backups;
mod damage;
mod processes;
mod retention;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use super::{EmbeddedLog, EmbeddedOptions};
use crate::port::{ConsumerPosition, Log, LogError, ReadLimit, Retention, TopicSpec};
use crate::record::Append;

const ALL: ReadLimit = ReadLimit { records_max: 1_000_000, bytes_max: 1 << 30 };

/// A folder with a log in it and a clock that only the test moves.
struct Place {
    directory: TempDir,
    now: Arc<AtomicI64>,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), now: Arc::new(AtomicI64::new(1_000)) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log.db")
    }

    fn set_clock(&self, now: i64) {
        self.now.store(now, Ordering::SeqCst);
    }

    fn options(&self) -> EmbeddedOptions {
        self.options_at(&self.path())
    }

    fn options_at(&self, path: &Path) -> EmbeddedOptions {
        let now = Arc::clone(&self.now);
        EmbeddedOptions { path: path.to_owned(), clock: Arc::new(move || now.load(Ordering::SeqCst)), compaction_records_min: 0 }
    }

    async fn open(&self) -> EmbeddedLog {
        EmbeddedLog::open(self.options()).await.unwrap()
    }

    async fn with_topic(&self, retention: Retention) -> EmbeddedLog {
        let log = self.open().await;
        log.create_topics(&[TopicSpec { name: "t".to_owned(), partitions: 1, retention }]).await.unwrap();
        log
    }
}

/// Records `<from>`…, each with its number in key and value.
fn numbered(from: u64, count: u64) -> Append {
    let topic: Arc<str> = "t".into();
    let mut append = Append::default();
    for number in from..from + count {
        append.record(&topic, 0, format!("key {number}").as_bytes(), |out| {
            out.extend(format!("value {number} ").bytes().cycle().take(400));
        });
    }
    append
}

fn position(from: u64, next: u64) -> Append {
    let mut append = Append::default();
    append.position(ConsumerPosition { consumer: "fold".to_owned(), topic: "t".to_owned(), partition: 0, from, next });
    append
}

/// That it is damage, and that the text names the file and a remedy.
fn assert_damaged<T: std::fmt::Debug>(found: &Result<T, LogError>, path: &Path, what: &str) {
    let Err(LogError::Damaged(text)) = found else {
        panic!("`{what}` expected, found {found:?}");
    };
    assert!(text.contains(path.to_str().unwrap()), "{text} names the file");
    assert!(text.contains(what), "`{what}` expected: {text}");
}
