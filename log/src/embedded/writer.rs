//! The one thread of this process that writes.
//!
//! Guarantees: requests are taken in the order in which they came; whatever waits is written in one transaction and synced once,
//! so many small appends cost one sync. Everybody is answered only after the commit. Other processes may write between
//! transactions: what they changed is noticed inside the transaction, before an offset is given.
//! On failure: the transaction is rolled back as a whole and each of its requests gets the error; offsets and positions are read
//! from the file again. After a failed commit the outcome is unknown to the caller, as the port says.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, params};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::catalog::Catalog;
use super::place::{Place, file_error, repeat};
use super::plan::{Plan, Rows};
use crate::Clock;
use crate::crash;
use crate::port::LogError;
use crate::record::{Append, crc};

/// Bytes of appends that may wait: more costs memory, less makes producers wait for each other. One larger append waits alone.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes after which a group is closed: larger ones spill the page cache, smaller ones sync more often.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Rows per statement: more gain nothing measurable, and each partition keeps such a statement prepared.
const STATEMENT_ROWS: usize = 16;

/// Bytes per permit of the queue's semaphore, whose count is limited to 32 bits.
const PERMIT_BYTES: usize = 1024;
/// The bookkeeping of a request counts too, or empty ones could wait without end.
const REQUEST_BYTES: usize = 256;

type Work = Box<dyn FnOnce(&Place, &Connection) -> Result<(), LogError> + Send>;

enum Command {
    Append { append: Append, answer: oneshot::Sender<Result<Vec<u64>, LogError>>, permit: OwnedSemaphorePermit },
    Transact { step: &'static str, work: Work, answer: oneshot::Sender<Result<(), LogError>> },
}

struct Waiting {
    answer: oneshot::Sender<Result<Vec<u64>, LogError>>,
    _permit: OwnedSemaphorePermit,
}

/// The handle of the thread; dropping it lets the thread finish what waits and ends it.
#[derive(Debug)]
pub(super) struct Writer {
    commands: Option<mpsc::UnboundedSender<Command>>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        place: Arc<Place>,
        connection: Connection,
        clock: Clock,
        appended: watch::Sender<u64>,
    ) -> Result<Self, LogError> {
        // bounded in bytes by the semaphore
        let (commands, inbox) = mpsc::unbounded_channel();
        let path = place.path().to_owned();
        let work = Thread { place, connection, clock, appended, catalog: Catalog::default(), known_version: None };
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || work.run(inbox))
            .map_err(|error| file_error("starting the writer", &path, error))?;
        Ok(Self {
            commands: Some(commands),
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX / PERMIT_BYTES)),
            thread: Some(thread),
        })
    }

    pub(super) async fn append(&self, append: Append) -> Result<Vec<u64>, LogError> {
        if append.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = (append.bytes() + REQUEST_BYTES).min(QUEUE_BYTES_MAX);
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).expect("at most the whole queue, which is far below 2^32");
        let permit = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| gone("appending"))?;
        let (answer, answered) = oneshot::channel();
        self.send("appending", Command::Append { append, answer, permit })?;
        answered.await.map_err(|_| gone("appending"))?
    }

    /// Runs work of another kind in a transaction of its own, between appends.
    pub(super) async fn transact(
        &self,
        step: &'static str,
        work: impl FnOnce(&Place, &Connection) -> Result<(), LogError> + Send + 'static,
    ) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        self.send(step, Command::Transact { step, work: Box::new(work), answer })?;
        answered.await.map_err(|_| gone(step))?
    }

    fn send(&self, step: &'static str, command: Command) -> Result<(), LogError> {
        let commands = self.commands.as_ref().ok_or_else(|| gone(step))?;
        commands.send(command).map_err(|_| gone(step))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's writer thread had panicked");
        }
    }
}

fn gone(step: &str) -> LogError {
    LogError::Fatal { step: step.to_owned(), cause: "the log's writer thread has ended; start tidemark again".into() }
}

struct Thread {
    place: Arc<Place>,
    connection: Connection,
    clock: Clock,
    appended: watch::Sender<u64>,
    catalog: Catalog,
    /// SQLite's count of other connections' changes when `catalog` was read; `None`: read it again.
    known_version: Option<i64>,
}

impl Thread {
    fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        let mut carried = None;
        while let Some(command) = carried.take().or_else(|| inbox.blocking_recv()) {
            match command {
                Command::Transact { step, work, answer } => {
                    let done = self.transact(step, work);
                    // nobody waits any more when the caller was cancelled; the work is done all the same
                    let _ = answer.send(done);
                }
                Command::Append { append, answer, permit } => {
                    let mut bytes = append.bytes();
                    let mut appends = vec![append];
                    let mut waiting = vec![Waiting { answer, _permit: permit }];
                    while bytes < GROUP_BYTES_MAX {
                        match inbox.try_recv() {
                            Ok(Command::Append { append, answer, permit }) => {
                                bytes += append.bytes();
                                appends.push(append);
                                waiting.push(Waiting { answer, _permit: permit });
                            }
                            Ok(other) => {
                                carried = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.answer(&appends, waiting);
                }
            }
        }
    }

    fn answer(&mut self, appends: &[Append], waiting: Vec<Waiting>) {
        let answers = match self.append(appends) {
            Ok(answers) => answers,
            Err(error) => {
                self.roll_back();
                appends.iter().map(|_| Err(repeat(&error))).collect()
            }
        };
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            // nobody waits any more when the caller was cancelled; the records are there all the same
            let _ = waiting.answer.send(answer);
        }
    }

    fn append(&mut self, appends: &[Append]) -> Result<Vec<Result<Vec<u64>, LogError>>, LogError> {
        self.begin("appending")?;
        let now = (self.clock)();
        let mut plan = Plan::default();
        for append in appends {
            plan.add(&mut self.catalog, append, now);
        }
        if plan.is_empty() {
            self.batch("ROLLBACK").map_err(|error| self.place.classify("appending", error))?;
            return Ok(plan.answers);
        }
        self.write(&plan).map_err(|error| self.place.classify("appending", error))?;
        self.announce();
        Ok(plan.answers)
    }

    fn transact(&mut self, step: &'static str, work: Work) -> Result<(), LogError> {
        let done = self.begin(step).and_then(|()| {
            work(&self.place, &self.connection)?;
            self.batch("COMMIT").map_err(|error| self.place.classify(step, error))
        });
        if done.is_err() {
            self.roll_back();
        }
        self.known_version = None;
        done
    }

    /// Takes the write lock and makes sure that `catalog` is what the file says.
    fn begin(&mut self, step: &'static str) -> Result<(), LogError> {
        let failed = |error| self.place.classify(step, error);
        self.batch("BEGIN IMMEDIATE").map_err(failed)?;
        self.place.still_there()?;
        let version = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(failed)?;
        if self.known_version != Some(version) {
            self.catalog = Catalog::load(&self.connection).map_err(failed)?;
            self.known_version = Some(version);
        }
        Ok(())
    }

    fn write(&self, plan: &Plan<'_>) -> rusqlite::Result<()> {
        for rows in plan.rows.values() {
            self.insert(rows)?;
        }
        let mut ends = self.connection.prepare_cached("UPDATE partition SET next = ?, last_time = ? WHERE id = ?")?;
        for index in plan.rows.keys() {
            let partition = &self.catalog.partitions[*index];
            ends.execute(params![partition.next, partition.last_time, partition.id])?;
        }
        let mut moves = self.connection.prepare_cached(
            "INSERT INTO position (consumer, topic, partition, next) VALUES (?, ?, ?, ?)
             ON CONFLICT (consumer, topic, partition) DO UPDATE SET next = excluded.next",
        )?;
        for position in &plan.positions {
            moves.execute(params![position.consumer, position.topic, position.partition, position.next])?;
        }
        crash::point("log.before-commit");
        self.batch("COMMIT")?;
        crash::point("log.after-commit");
        Ok(())
    }

    fn insert(&self, rows: &Rows<'_>) -> rusqlite::Result<()> {
        let head = format!("INSERT INTO r{} (offset, time, key, value, crc) VALUES ", rows.partition_id);
        let mut rest = rows.rows.as_slice();
        for size in [STATEMENT_ROWS, 1] {
            if rest.len() < size {
                continue;
            }
            let sql = format!("{head}(?,?,?,?,?){}", ",(?,?,?,?,?)".repeat(size - 1));
            let mut statement = self.connection.prepare_cached(&sql)?;
            while rest.len() >= size {
                let (some, others) = rest.split_at(size);
                for (index, row) in some.iter().enumerate() {
                    let parameter = index * 5;
                    statement.raw_bind_parameter(parameter + 1, row.offset)?;
                    statement.raw_bind_parameter(parameter + 2, rows.time)?;
                    statement.raw_bind_parameter(parameter + 3, row.key)?;
                    statement.raw_bind_parameter(parameter + 4, row.value)?;
                    statement.raw_bind_parameter(parameter + 5, crc(row.offset, rows.time, row.key, row.value))?;
                }
                statement.raw_execute()?;
                rest = others;
            }
        }
        Ok(())
    }

    fn announce(&self) {
        let total = self.catalog.total();
        self.appended.send_if_modified(|seen| {
            let more = total > *seen;
            *seen = total.max(*seen);
            more
        });
    }

    fn roll_back(&mut self) {
        self.known_version = None;
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.batch("ROLLBACK") {
            // the next BEGIN fails and says so to whoever appends
            tracing::warn!(%error, "the log's transaction could not be rolled back");
        }
    }

    fn batch(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}
