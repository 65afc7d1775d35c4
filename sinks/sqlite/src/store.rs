//! One SQLite file with one owner: the core that the four adapters share.
//!
//! A thread of its own holds the connection; the async side sends it jobs and waits. A batch is one transaction: the rows
//! behind their version gate, then the positions, guarded by the writer's epoch ([`crate::meta`]); it is all there or not at all.
//! A caller that went away before the commit takes its batch with it.
//!
//! The file is in WAL mode, so readers work beside the writer. `synchronous=NORMAL`: a power cut may lose the last commits, but
//! the positions are in them, so what is lost is read from the log again. A file that was removed or replaced is noticed before
//! each batch; then the engine opens the store anew, and an empty one fills from the start.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tidemark_log::{LogIdentity, crash};
use tidemark_sink_core::{Applied, Role, Sink, SinkBatch, SinkError, SinkRow, StorePosition, StoreReport};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::failure::{Failure, fatal};
use crate::{meta, report};

/// Page cache of one store. Larger ones save reads of random updates; four stores share the process's memory bound.
const CACHE_KIB: i64 = 16 * 1024;
/// Pages of WAL before a checkpoint: larger ones write a page that changes often fewer times, smaller ones are read faster.
const CHECKPOINT_PAGES: i64 = 4_000;
/// How long a writer waits for a lock before the engine hears of it; other stores do not wait with it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// A first fill is over when no batch comes for this long, or so many in a row were this small: a store that lags gets full
/// ones, but the first entities of an import are few as well.
const IDLE: Duration = Duration::from_secs(1);
const SMALL_BATCH: usize = 500;
const SMALL_BATCHES: u32 = 32;
/// Statements kept prepared: three lengths of a few for each entity.
const STATEMENTS_MAX: usize = 256;

/// What one role makes of rows. Stateless: all that lasts is in the file.
pub(crate) trait Adapter: Send + Sync + 'static {
    /// What the store is for.
    fn role(&self) -> Role;

    /// Page size of a new file.
    fn page_bytes(&self) -> u32 {
        4096
    }

    /// Whether rows of this entity are kept here; others are passed over.
    fn keeps(&self, entity: &str) -> bool;

    /// All entities, also those passed over, each with the fingerprint of what its rows are derived by.
    fn fingerprints(&self) -> Vec<(String, u64)>;

    /// Makes or migrates, additively, tables, indexes and views.
    fn create(&self, connection: &Connection) -> Result<(), Failure>;

    /// Writes one part's rows (sorted by key, each key once) where newer, or where not older if `refreshing`; returns how many.
    fn write(&self, connection: &Connection, batch: &SinkBatch, rows: &[SinkRow<'_>], refreshing: bool) -> Result<u64, Failure>;

    /// Whether it holds nothing yet.
    fn is_empty(&self, _connection: &Connection) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Makes what an empty store does better without while it is filled, such as indexes. Idempotent.
    fn settle(&self, _connection: &Connection) -> Result<(), Failure> {
        Ok(())
    }

    /// The tables whose rows `check` counts.
    fn tables(&self) -> Vec<String>;
}

/// A sink over one SQLite file.
pub(crate) struct SqliteSink {
    path: PathBuf,
    adapter: Arc<dyn Adapter>,
    /// The store's thread; it ends when this is dropped. Unbounded, yet short: the port's calls come one after the other.
    jobs: Option<mpsc::Sender<Job>>,
}

type Job = Box<dyn FnOnce(&mut Owner) + Send>;

/// Says whether the caller has gone away.
type Abandoned<'a> = &'a dyn Fn() -> bool;

impl SqliteSink {
    pub(crate) fn new(path: PathBuf, adapter: Arc<dyn Adapter>) -> Self {
        Self { path, adapter, jobs: None }
    }

    /// Runs a job on the store's thread, which is started when it is not there.
    async fn run<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut Owner, Abandoned<'_>) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |owner| {
            let outcome = job(owner, &|| reply.is_closed());
            // Nobody waits any more: what was done is in the file, and the next `open` reads it there.
            drop(reply.send(outcome));
        });
        let jobs = match self.jobs.take() {
            Some(jobs) => jobs,
            None => start(&self.path, &self.adapter)?,
        };
        let sent = jobs.send(job);
        if sent.is_ok() {
            self.jobs = Some(jobs);
        }
        match answer.await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.jobs = None;
                Err(fatal(format!("{}: the store's thread ended", self.path.display()), "it panicked; see the lines above"))
            }
        }
    }
}

fn start(path: &Path, adapter: &Arc<dyn Adapter>) -> Result<mpsc::Sender<Job>, SinkError> {
    let (jobs, inbox) = mpsc::channel::<Job>();
    // An adapter may have to wait for something asynchronous: it does so on its own thread, driven by the caller's runtime.
    let runtime = Handle::current();
    let mut owner = Owner { path: path.to_owned(), adapter: Arc::clone(adapter), open: None };
    std::thread::Builder::new()
        .name(format!("sink-{}", adapter.role().name()))
        .spawn(move || {
            let _entered = runtime.enter();
            while let Some(job) = next(&inbox, &mut owner) {
                job(&mut owner);
            }
        })
        .map_err(|error| fatal(format!("starting the thread of {}", path.display()), error))?;
    Ok(jobs)
}

/// The next job; on the way, what a first fill left to do. `None` when the sink is gone.
fn next(inbox: &mpsc::Receiver<Job>, owner: &mut Owner) -> Option<Job> {
    if owner.open.as_ref().and_then(|open| open.filling.as_ref()).is_some_and(|filling| filling.begun) {
        match inbox.recv_timeout(IDLE) {
            Err(mpsc::RecvTimeoutError::Timeout) => owner.settle_when_idle(),
            outcome => return outcome.ok(),
        }
    }
    inbox.recv().ok()
}

#[async_trait]
impl Sink for SqliteSink {
    fn role(&self) -> Role {
        self.adapter.role()
    }

    async fn open(&mut self, log: LogIdentity) -> Result<Vec<StorePosition>, SinkError> {
        self.run(move |owner, _| owner.open(log)).await
    }

    async fn apply(&mut self, batch: &SinkBatch) -> Result<Applied, SinkError> {
        let batch = batch.clone();
        self.run(move |owner, abandoned| owner.apply(&batch, abandoned)).await
    }

    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError> {
        let path = self.path.clone();
        beside(move || report::positions(&path)).await
    }

    async fn check(&self, log: LogIdentity) -> StoreReport {
        let (path, adapter) = (self.path.clone(), Arc::clone(&self.adapter));
        let looked = beside(move || Ok(report::check(&path, &*adapter, log))).await;
        looked.unwrap_or_else(|error| StoreReport { summary: self.path.display().to_string(), problems: vec![error.to_string()] })
    }

    async fn reset(&mut self) -> Result<(), SinkError> {
        self.run(|owner, _| owner.reset()).await
    }
}

/// Runs a look on a thread that may block.
pub(crate) async fn beside<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    match tokio::task::spawn_blocking(look).await {
        Ok(outcome) => outcome,
        Err(error) => Err(fatal("looking into a store".to_owned(), error)),
    }
}

/// What the store's thread owns.
struct Owner {
    path: PathBuf,
    adapter: Arc<dyn Adapter>,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    epoch: i64,
    /// Device and inode: which file it is, whatever its name points to now.
    file: (u64, u64),
    /// Being filled for the first time, and not settled yet.
    filling: Option<Filling>,
}

/// How a first fill goes.
#[derive(Default)]
struct Filling {
    begun: bool,
    /// Small batches since the last large one.
    small: u32,
}

impl Filling {
    fn is_over_after(&mut self, records: usize) -> bool {
        self.begun = true;
        self.small = if records < SMALL_BATCH { self.small + 1 } else { 0 };
        self.small >= SMALL_BATCHES
    }
}

impl Owner {
    fn open(&mut self, log: LogIdentity) -> Result<Vec<StorePosition>, SinkError> {
        // Closed first: closing may take the WAL of its path away.
        self.open = None;
        let (open, positions) = self.try_open(log).map_err(|failure| failure.classify(&self.path, "opening"))?;
        self.open = Some(open);
        Ok(positions)
    }

    fn try_open(&self, log: LogIdentity) -> Result<(Open, Vec<StorePosition>), Failure> {
        let mut connection = connect(&self.path, self.adapter.page_bytes())?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        meta::bind(&transaction, &self.path, self.adapter.role(), log)?;
        let epoch = meta::raise_epoch(&transaction)?;
        self.adapter.create(&transaction)?;
        meta::derive(&transaction, &self.adapter.fingerprints())?;
        let positions = meta::positions(&transaction)?;
        let filling = self.adapter.is_empty(&transaction)?.then(Filling::default);
        if filling.is_none() {
            self.adapter.settle(&transaction)?;
        }
        transaction.commit()?;
        let file = identity_of(&self.path).ok_or_else(|| gone(&self.path))?;
        Ok((Open { connection, epoch, file, filling }, positions))
    }

    /// The first fill seems to be over. A failure is no loss: the next open settles the store.
    fn settle_when_idle(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| open.filling.is_some()) else { return };
        match settle(&*self.adapter, open) {
            Ok(()) => {}
            Err(failure) => tracing::warn!(store = self.adapter.role().name(), %failure, "indexes are built at the next start"),
        }
    }

    fn apply(&mut self, batch: &SinkBatch, abandoned: Abandoned<'_>) -> Result<Applied, SinkError> {
        let Some(open) = &mut self.open else {
            return Err(unavailable(&self.path, "the store is not open"));
        };
        if identity_of(&self.path) != Some(open.file) {
            return Err(gone(&self.path));
        }
        let (rows, skipped) = batch.collapse_where(|entity| self.adapter.keeps(&entity.name)).map_err(SinkError::Rejected)?;
        let written = write(&self.path, &*self.adapter, open, batch, &rows, abandoned)
            .map_err(|failure| failure.classify(&self.path, "writing"))?;
        if let Some(filling) = &mut open.filling
            && filling.is_over_after(batch.len())
        {
            settle(&*self.adapter, open).map_err(|failure| failure.classify(&self.path, "building indexes of"))?;
        }
        Ok(Applied { written, skipped: skipped + rows.len() as u64 - written })
    }

    fn reset(&mut self) -> Result<(), SinkError> {
        self.open = None;
        match self.try_reset() {
            Err(Failure::Sqlite(error)) if is_damaged(&error) => remove(&self.path),
            outcome => outcome.map_err(|failure| failure.classify(&self.path, "emptying")),
        }
    }

    fn try_reset(&self) -> Result<(), Failure> {
        if !self.path.exists() {
            return Ok(());
        }
        let mut connection = connect(&self.path, self.adapter.page_bytes())?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        meta::reset(&transaction)?;
        transaction.commit()?;
        Ok(())
    }
}

/// Ends the first fill.
fn settle(adapter: &dyn Adapter, open: &mut Open) -> Result<(), Failure> {
    open.filling = None;
    let transaction = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    adapter.settle(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// One batch, one transaction. It takes the write lock only with its first write, so that a slow embedder holds up nobody; if
/// another writer came between, SQLite refuses that write.
fn write(
    path: &Path,
    adapter: &dyn Adapter,
    open: &mut Open,
    batch: &SinkBatch,
    rows: &[SinkRow<'_>],
    abandoned: Abandoned<'_>,
) -> Result<u64, Failure> {
    let transaction = open.connection.transaction()?;
    meta::expect_epoch(&transaction, path, open.epoch)?;
    let mut written = 0;
    for some in rows.chunk_by(|one, other| one.part == other.part) {
        let refreshing = meta::refreshing(&transaction, &batch.parts[some[0].part])?;
        written += adapter.write(&transaction, batch, some, refreshing)?;
    }
    for part in &batch.parts {
        meta::move_position(&transaction, path, part)?;
    }
    if abandoned() {
        transaction.rollback()?;
        return Ok(0);
    }
    crash::point("sqlite.before-commit");
    transaction.commit()?;
    crash::point("sqlite.after-commit");
    Ok(written)
}

/// Opens the file for writing, making it if it is not there.
fn connect(path: &Path, page_bytes: u32) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "page_size", page_bytes)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let step = format!("{}: its file system allows no WAL; put the data folder on a local disk", path.display());
        return Err(fatal(step, format!("journal mode is {mode}")).into());
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(connection)
}

/// Opens the file for reading beside a writer; `None` when it is not there.
pub(crate) fn connect_to_read(path: &Path) -> Result<Option<Connection>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(Some(connection))
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn gone(path: &Path) -> SinkError {
    unavailable(path, "the file was removed or replaced; the store is opened anew and filled from the log")
}

fn unavailable(path: &Path, problem: &str) -> SinkError {
    SinkError::Unavailable { step: format!("writing {}", path.display()), cause: problem.into() }
}

fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Takes a damaged store away, with what SQLite keeps beside it.
fn remove(path: &Path) -> Result<(), SinkError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SinkError::Unavailable { step: format!("removing {}", path.display()), cause: error.into() });
            }
            _ => {}
        }
    }
    Ok(())
}
