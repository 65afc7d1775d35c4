//! The embedded log: one SQLite file, in which a record's offset is the row id of its partition's table.
//!
//! Guarantees: an append is one transaction, synced before it is answered; what waits at the same time shares one commit, and a
//! request that is refused leaves nothing and harms nobody. Several processes may append, read and follow at once. Every record
//! carries a checksum that each read verifies; header, version and tail are checked at open, everything by `check_deep`.
//! Relies on: a local file system with working locks and fsync (no network share).
//! On failure: busy, full or failing disks are `Unavailable`; a damaged, newer, foreign or replaced file is `Damaged`, with the
//! file and the remedy in the text.
//! Deliberately not here: making room on the disk. Pages that retention and compaction free are used again by later appends,
//! the file itself does not shrink (a backup is written without them): keeping it small all the time would cost every append.

mod backup;
mod catalog;
mod check;
mod connection;
mod maintenance;
mod place;
mod plan;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch as tokio_watch;

use crate::Clock;
use crate::blocking::blocking;
use crate::port::{Bounds, Log, LogError, LogIdentity, ReadLimit, TopicSpec};
use crate::record::{Append, RecordBatch};

pub use backup::{BACKUP_FILE, Backup, LOG_FILE, TopicEnd, restore};
pub use check::DeepCheck;
pub use maintenance::Removed;

use place::Place;
use reader::Readers;
use watch::Watcher;
use writer::Writer;

/// Compaction of a partition waits for at least so many new records: fewer would make it scan for next to nothing.
const COMPACTION_RECORDS_MIN: u64 = 10_000;

/// Where the file is and how it behaves.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// `<data>/log.db`.
    pub path: PathBuf,
    /// Gives new records their time; a clock that goes back does not take the records' time with it.
    pub clock: Clock,
    /// New records after which a compacted partition is looked at again, though never fewer than it kept the last time; with 0
    /// one is enough.
    pub compaction_records_min: u64,
}

/// The embedded log.
pub struct EmbeddedLog {
    options: EmbeddedOptions,
    place: Arc<Place>,
    identity: LogIdentity,
    writer: Writer,
    readers: Readers,
    watcher: Watcher,
}

// === impl EmbeddedOptions ===

impl EmbeddedOptions {
    /// The log in this file, on the system's clock.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), clock: Arc::new(system_time), compaction_records_min: COMPACTION_RECORDS_MIN }
    }
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EmbeddedOptions")
            .field("path", &self.path)
            .field("compaction_records_min", &self.compaction_records_min)
            .finish_non_exhaustive()
    }
}

fn system_time() -> i64 {
    // a clock before 1970 or after the year 294,000 is as good as 1970: record time never falls anyway
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or_default()
}

// === impl EmbeddedLog ===

impl EmbeddedLog {
    /// Opens the log, making it if it is not there. Checks header, version and tail.
    pub async fn open(options: EmbeddedOptions) -> Result<Self, LogError> {
        Self::start(options, schema::create_if_missing).await
    }

    /// Opens a log that must be there already: for commands that only look.
    pub async fn open_existing(options: EmbeddedOptions) -> Result<Self, LogError> {
        Self::start(options, schema::require).await
    }

    async fn start(options: EmbeddedOptions, prepare: fn(&Path) -> Result<(), LogError>) -> Result<Self, LogError> {
        blocking("opening the log", move || {
            prepare(&options.path)?;
            let place = Arc::new(Place::of(&options.path)?);
            let connection = connection::open_writer(&place)?;
            let identity = schema::check_header(&place, &connection)?;
            let total = check::tail(&place, &connection)?;
            let (appended, _) = tokio_watch::channel(total);
            let watcher = Watcher::start(&place, appended.clone())?;
            let writer = Writer::start(Arc::clone(&place), connection, Arc::clone(&options.clock), appended)?;
            let readers = Readers::new(Arc::clone(&place));
            Ok(Self { options, place, identity, writer, readers, watcher })
        })
        .await
    }

    /// Reads everything: the file's structure, every record's checksum, offsets and times. Takes as long as reading the file.
    pub async fn check_deep(&self) -> Result<DeepCheck, LogError> {
        let place = Arc::clone(&self.place);
        blocking("the deep check", move || check::deep(&place)).await
    }

    /// A consistent copy into `directory` (`log.db` and `backup.json`), while others read and write. The copy is checked deep
    /// before it gets its name. A directory that holds a backup already is refused.
    pub async fn backup(&self, directory: &Path) -> Result<Backup, LogError> {
        let (place, directory, taken_at) = (Arc::clone(&self.place), directory.to_owned(), (self.options.clock)());
        blocking("the backup", move || backup::take(&place, &directory, taken_at)).await
    }

    /// Removes what retention and compaction no longer keep, in small transactions between which appends go on. For a schedule.
    pub async fn maintain(&self) -> Result<Removed, LogError> {
        let now = (self.options.clock)();
        maintenance::run(&self.readers, &self.writer, now, self.options.compaction_records_min).await
    }

    /// Removes these records of a compacted topic (offsets in ascending order) for good, in small transactions. The last record
    /// of the partition stays: it is how the file knows its end. Returns how many went. For records that somebody else knows to
    /// be past their time; who removes a key's record removes those before it as well, or an old one would count again.
    pub async fn forget(&self, topic: &str, partition: u32, offsets: &[u64]) -> Result<u64, LogError> {
        maintenance::forget(&self.readers, &self.writer, topic, partition, offsets).await
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EmbeddedLog")
            .field("path", &self.options.path)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    fn identity(&self) -> LogIdentity {
        self.identity
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let topics = topics.to_vec();
        self.writer.transact("creating topics", move |place, connection| catalog::create(place, connection, &topics)).await
    }

    async fn topics(&self) -> Result<Vec<(String, u32)>, LogError> {
        self.readers.topics().await
    }

    async fn append(&self, append: Append) -> Result<Vec<u64>, LogError> {
        self.writer.append(append).await
    }

    async fn read(&self, topic: &str, partition: u32, offset: u64, limit: ReadLimit) -> Result<RecordBatch, LogError> {
        self.readers.read(topic, partition, offset, limit).await
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError> {
        self.readers.bounds(topic, partition).await
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError> {
        self.readers.offset_at(topic, partition, time).await
    }

    async fn positions(&self, consumer: &str) -> Result<Vec<(String, u32, u64)>, LogError> {
        self.readers.positions(consumer).await
    }

    fn appended(&self) -> tokio_watch::Receiver<u64> {
        self.watcher.appended()
    }
}
