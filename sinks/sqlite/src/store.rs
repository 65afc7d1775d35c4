//! One SQLite file with one owner: the core that the four adapters share.
//!
//! A thread of its own holds the connection; the async side sends it jobs and waits. A batch is one transaction: the rows
//! behind their version gate, then the positions, guarded by the writer's epoch ([`crate::meta`]); it is all there or not at all.
//! A caller that went away before the commit takes its batch with it.
//!
//! The file is in WAL mode, so readers work beside the writer. `synchronous=NORMAL`: a power cut may lose the last commits, but
//! the positions are in them, so what is lost is read from the log again. A file that was removed or replaced is noticed before
//! each batch, and while there is none; then the engine opens the store anew, and an empty one fills from the start.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};
use tidemark_log::sqlite::{ErrorClass, FileIdentity};
use tidemark_log::{LogIdentity, Share, crash};
use tidemark_sink_core::{Applied, KeyOrder, RejectedRow, Role, Sink, SinkBatch, SinkError, SinkRow, StorePosition, StoreReport};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::failure::{Failure, class_of, fatal};
use crate::filling::Filling;
use crate::{file, meta, report};

/// Rows that are decoded at once: enough that what a piece begins with hardly counts, few enough that a large batch fits into memory.
pub(crate) const PIECE_ROWS: usize = 2_048;

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

    /// Writes rows of one entity (sorted by key, each key once) where newer, or where not older if `refreshing`; returns how many.
    fn write(&self, connection: &Connection, batch: &SinkBatch, rows: &[SinkRow<'_>], refreshing: bool) -> Result<u64, Failure>;

    /// Statements that make what an empty store does better without while it is filled. Idempotent.
    fn postponed(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether rows cost more to make than to write (texts go to an embedder): then nothing is made that may have to be given up.
    fn is_dear(&self) -> bool {
        false
    }

    /// The tables whose rows `check` counts; while all are empty the store is.
    fn tables(&self) -> Vec<String>;
}

/// A sink over one SQLite file.
pub(crate) struct SqliteSink {
    path: PathBuf,
    adapter: Arc<dyn Adapter>,
    worker: Option<Worker>,
    /// What the last batch left behind.
    filling: bool,
}

/// The store's thread.
struct Worker {
    /// Unbounded, yet short: the port's calls come one after the other.
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
    /// Its last job was answered.
    idle: bool,
}

type Job = Box<dyn FnOnce(&mut Owner) + Send>;

/// Says whether the caller has gone away.
type Abandoned<'a> = &'a dyn Fn() -> bool;

impl SqliteSink {
    pub(crate) fn new(path: PathBuf, adapter: Arc<dyn Adapter>) -> Self {
        Self { path, adapter, worker: None, filling: false }
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
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => start(&self.path, &self.adapter)?,
        };
        let sent = worker.jobs.send(job);
        worker.idle = false;
        if sent.is_ok() {
            self.worker = Some(worker);
        }
        let Ok(outcome) = answer.await else {
            self.worker = None;
            return Err(fatal(format!("{}: the store's thread ended", self.path.display()), "it panicked; see the lines above"));
        };
        if let Some(worker) = &mut self.worker {
            worker.idle = true;
        }
        outcome
    }
}

impl Drop for SqliteSink {
    /// Lets the thread finish what a first fill postponed and close its file, so that both are so when the process ends. Not
    /// after a call that was cut off: its job may wait for the very runtime that this would hold up.
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            drop(worker.jobs);
            if worker.idle && worker.thread.join().is_err() {
                tracing::warn!(store = self.adapter.role().name(), "the store's thread panicked while it closed its file");
            }
        }
    }
}

fn start(path: &Path, adapter: &Arc<dyn Adapter>) -> Result<Worker, SinkError> {
    let (jobs, inbox) = mpsc::channel::<Job>();
    // An adapter may have to wait for something asynchronous: it does so on its own thread, driven by the caller's runtime.
    let runtime = Handle::current();
    let mut owner = Owner { path: path.to_owned(), adapter: Arc::clone(adapter), open: None };
    let thread = std::thread::Builder::new()
        .name(format!("sink-{}", adapter.role().name()))
        .spawn(move || {
            let _entered = runtime.enter();
            while let Some(job) = next(&inbox, &mut owner) {
                job(&mut owner);
            }
            owner.settle();
        })
        .map_err(|error| fatal(format!("starting the thread of {}", path.display()), error))?;
    Ok(Worker { jobs, thread, idle: true })
}

/// The next job; before it, one step of what a first fill postponed. `None` when the sink is gone.
fn next(inbox: &mpsc::Receiver<Job>, owner: &mut Owner) -> Option<Job> {
    loop {
        owner.settle_step();
        let filling = owner.open.as_mut().and_then(|open| open.filling.as_mut());
        let Some(filling) = filling else { return inbox.recv().ok() };
        let Some(patience) = filling.patience() else { return inbox.recv().ok() };
        let since = Instant::now();
        match inbox.recv_timeout(patience) {
            Ok(job) => {
                filling.waited(since.elapsed());
                return Some(job);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => filling.idle(),
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
        }
    }
}

#[async_trait]
impl Sink for SqliteSink {
    fn role(&self) -> Role {
        self.adapter.role()
    }

    async fn open(&mut self, log: LogIdentity, _share: &Share) -> Result<Vec<StorePosition>, SinkError> {
        self.filling = false;
        self.run(move |owner, _| owner.open(log)).await
    }

    async fn apply(&mut self, batch: &SinkBatch) -> Result<Applied, SinkError> {
        let batch = batch.clone();
        let (applied, filling) = self.run(move |owner, abandoned| owner.apply(&batch, abandoned)).await?;
        self.filling = filling;
        Ok(applied)
    }

    async fn look_after(&mut self) -> Result<(), SinkError> {
        self.run(|owner, _| opened(&mut owner.open, &owner.path).map(|_| ())).await
    }

    /// A page that many rows of one transaction change is written once.
    fn batches_per_write(&self) -> usize {
        if self.adapter.is_dear() { 1 } else { 2 }
    }

    fn is_filling(&self) -> bool {
        self.filling
    }

    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError> {
        let (role, path) = (self.role(), self.path.clone());
        beside(move || report::positions(role, &path)).await
    }

    async fn filled_from(&self) -> Result<Option<LogIdentity>, SinkError> {
        let (role, path) = (self.role(), self.path.clone());
        beside(move || report::filled_from(role, &path)).await
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
    /// Which file it is.
    file: FileIdentity,
    /// Being filled for the first time, and not settled yet.
    filling: Option<Filling>,
    /// The last batch found no room on the disk; nothing else is wrong with it.
    out_of_room: bool,
}

impl Owner {
    fn open(&mut self, log: LogIdentity) -> Result<Vec<StorePosition>, SinkError> {
        if let Some(positions) = self.resume(log) {
            return Ok(positions);
        }
        // Closed first: closing may take the WAL of its path away.
        self.open = None;
        let (open, positions) =
            self.try_open(log).map_err(|failure| failure.classify(self.adapter.role(), &self.path, "opening"))?;
        self.open = Some(open);
        Ok(positions)
    }

    /// Goes on with what is open, when all that it lacked was room: every opening writes (epoch, views), so retries on a full disk
    /// would use up what little room there is. Gives back what can be given of the WAL. `None` = it must be opened anew.
    fn resume(&mut self, log: LogIdentity) -> Option<Vec<StorePosition>> {
        let open = self.open.as_mut().filter(|open| open.out_of_room)?;
        if FileIdentity::of(&self.path).ok() != Some(open.file) {
            return None;
        }
        // Refused while the disk is full, and of no consequence then: the WAL stays as it is.
        if let Err(error) = open.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::debug!(store = self.adapter.role().name(), %error, "the WAL keeps its size");
        }
        let is_ours = meta::expect_epoch(&open.connection, &self.path, open.epoch).is_ok()
            && meta::log(&open.connection).is_ok_and(|found| found == Some(log));
        let positions = meta::positions(&open.connection).ok().filter(|_| is_ours)?;
        open.out_of_room = false;
        Some(positions)
    }

    fn try_open(&self, log: LogIdentity) -> Result<(Open, Vec<StorePosition>), Failure> {
        let mut connection = file::connect(&self.path, self.adapter.page_bytes())?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        meta::bind(&transaction, &self.path, self.adapter.role(), log)?;
        let epoch = meta::raise_epoch(&transaction)?;
        self.adapter.create(&transaction)?;
        meta::derive(&transaction, &self.adapter.fingerprints())?;
        let positions = meta::positions(&transaction)?;
        let mut filling = None;
        if meta::is_empty(&transaction, &self.adapter.tables())? {
            filling = Some(Filling::new(self.adapter.postponed()));
        } else {
            self.adapter.postponed().iter().try_for_each(|statement| file::build(&transaction, statement))?;
        }
        transaction.commit()?;
        let file = FileIdentity::of(&self.path).map_err(|_| gone(&self.path))?;
        Ok((Open { connection, epoch, file, filling, out_of_room: false }, positions))
    }

    /// All that a first fill postponed: the store is closed.
    fn settle(&mut self) {
        while let Some(filling) = self.open.as_mut().and_then(|open| open.filling.as_mut()) {
            filling.idle();
            self.settle_step();
        }
    }

    /// One step of what a first fill postponed, if it is over. A failure is no loss: the next open does it.
    fn settle_step(&mut self) {
        let Some(open) = &mut self.open else { return };
        let Some(filling) = &mut open.filling else { return };
        if let Some(statement) = filling.next()
            && let Err(error) = file::build(&open.connection, &statement)
        {
            tracing::warn!(store = self.adapter.role().name(), %error, "indexes are built at the next start");
            open.filling = None;
            return;
        }
        if filling.is_done() {
            open.filling = None;
        }
    }

    /// Writes a batch; says what came of it, and whether more is to be expected soon.
    fn apply(&mut self, batch: &SinkBatch, abandoned: Abandoned<'_>) -> Result<(Applied, bool), SinkError> {
        let open = opened(&mut self.open, &self.path)?;
        let order = batch.key_order(|entity| self.adapter.keeps(&entity.name));
        let written = write(&self.path, &*self.adapter, open, batch, &order, abandoned).map_err(|failure| {
            open.out_of_room = failure.is_want_of_room();
            failure.classify(self.adapter.role(), &self.path, "writing")
        })?;
        let filling = open.filling.as_mut().is_some_and(|filling| {
            filling.filled(batch.len());
            filling.is_under_way()
        });
        Ok((Applied { written, skipped: order.count() - written }, filling))
    }

    fn reset(&mut self) -> Result<(), SinkError> {
        self.open = None;
        match self.try_reset() {
            Err(Failure::Sqlite(error)) if class_of(&error) == ErrorClass::Damaged => file::remove(&self.path),
            outcome => outcome.map_err(|failure| failure.classify(self.adapter.role(), &self.path, "emptying")),
        }
    }

    fn try_reset(&self) -> Result<(), Failure> {
        if !self.path.exists() {
            return Ok(());
        }
        let mut connection = file::connect(&self.path, self.adapter.page_bytes())?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        meta::reset(&transaction)?;
        transaction.commit()?;
        Ok(())
    }
}

/// What is open, if it still is the file at its path.
fn opened<'o>(open: &'o mut Option<Open>, path: &Path) -> Result<&'o mut Open, SinkError> {
    let open = open.as_mut().ok_or_else(|| unavailable(path, "the store is not open"))?;
    if FileIdentity::of(path).ok() == Some(open.file) { Ok(open) } else { Err(gone(path)) }
}

/// One batch, one transaction. It takes the write lock only with its first write; if another writer came between, SQLite refuses
/// that write.
fn write(
    path: &Path,
    adapter: &dyn Adapter,
    open: &mut Open,
    batch: &SinkBatch,
    order: &KeyOrder<'_>,
    abandoned: Abandoned<'_>,
) -> Result<u64, Failure> {
    let transaction = open.connection.transaction()?;
    meta::expect_epoch(&transaction, path, open.epoch)?;
    let refreshing: Vec<bool> = batch.parts.iter().map(|part| meta::refreshing(&transaction, part)).collect::<Result<_, _>>()?;
    let looked_through = if adapter.is_dear() { undecodable(order) } else { Vec::new() };
    if !looked_through.is_empty() {
        return Err(SinkError::Rejected(looked_through).into());
    }
    let mut written = 0;
    for piece in order.pieces(PIECE_ROWS) {
        if abandoned() {
            break;
        }
        let mut rows = match order.decode(piece) {
            Ok(rows) => rows,
            Err(refused) => {
                // Nothing of the batch is kept: all that is wrong with it is told at once. It may be nothing any more, where another
                // stage has learnt a schema since; the engine sees to that.
                let all = undecodable(order);
                return Err(SinkError::Rejected(if all.is_empty() { refused } else { all }).into());
            }
        };
        rows.sort_by_key(|row| refreshing[row.part]);
        for some in rows.chunk_by(|one, other| refreshing[one.part] == refreshing[other.part]) {
            written += adapter.write(&transaction, batch, some, refreshing[some[0].part])?;
        }
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

/// All records that do not decode.
fn undecodable(order: &KeyOrder<'_>) -> Vec<RejectedRow> {
    order.pieces(PIECE_ROWS).filter_map(|piece| order.decode(piece).err()).flatten().collect()
}

fn gone(path: &Path) -> SinkError {
    unavailable(path, "the file was removed or replaced; the store is opened anew and filled from the log")
}

fn unavailable(path: &Path, problem: &str) -> SinkError {
    SinkError::Unavailable { step: format!("writing {}", path.display()), cause: problem.into() }
}
