//! The connector: one file after the other, each claimed, published, decided, put to its place.
//!
//! Guarantees: one claim is decided before the next begins; the checkpoint stands in the same append as the records; whatever is
//! cut off is taken up by `open` with the same numbers. Relies on one instance per source (a newer epoch ends this one).
//! On failure: the error says what to do; what was durable stays, the rest is done again. A file that cannot be put to its place
//! is kept aside and tried again while others go on.

mod begin;
mod finish;
mod idle;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tidemark_connector_core::port::ConnectorCounts;
use tidemark_connector_core::{Connector, ConnectorError, Step, progress};
use tidemark_log::{Append, Log, Topics};
use tidemark_schemas::Catalog;
use tokio::sync::watch;

use crate::claim::{Claim, SOURCE};
use crate::clock::Clock;
use crate::complete::{Completeness, Waits};
use crate::forms::Forms;
use crate::inspect::Inspection;
use crate::ledger::Ledger;
use crate::options::FileOptions;
use crate::publish::{Batch, Publication};
use crate::receipts::Answers;
use crate::scan::Candidate;
use crate::stats::{Statistics, StatisticsHandle};
use crate::tree::{Signature, Tree};
use crate::unsynced::Unsynced;
use crate::watch::Watcher;

/// The file connector.
pub struct FileConnector {
    log: Arc<dyn Log>,
    topics: Topics,
    forms: Forms,
    catalog: Arc<Catalog>,
    options: FileOptions,
    clock: Clock,
    tree: Option<Arc<Tree>>,
    watcher: Option<Watcher>,
    ledger: Ledger,
    epoch: u64,
    partitions: HashMap<String, u32>,
    /// Whether what the log says must be read (again).
    must_load: bool,
    /// Hash over all code lists.
    vocabularies: u64,
    work: Work,
    queue: VecDeque<Candidate>,
    completeness: Completeness,
    /// Closed in memory, to be closed on the log when what they left is on the disk.
    settled: Unsynced,
    /// Closed in memory and on the disk, to be appended with the next claim or when there is nothing else to do.
    closing: Vec<Claim>,
    /// Decided, but their places cannot be written; oldest first.
    unarchived: Vec<Settlement>,
    statistics: StatisticsHandle,
    /// The claim that was counted last.
    reported: Option<u64>,
    requests: BTreeMap<String, Statistics>,
    read_again: HashSet<String>,
    /// Initial files that stand in the statistics as read.
    initial_read: HashSet<String>,
    counts: ConnectorCounts,
    next_look: Option<Duration>,
    looked_at: Option<Duration>,
    caught_up: Option<Duration>,
    /// Nothing before it on the receipts topic speaks of claims to come.
    receipts_at: u64,
    /// What was found in envelopes for sorting, by path.
    peeked: HashMap<String, (Signature, (Option<i64>, u8))>,
    /// Marked before the log is read, so that an append between reading and waiting wakes.
    appended: watch::Receiver<u64>,
    last_cleaning: Option<Duration>,
}

/// What is under way.
enum Work {
    None,
    Inspecting(Candidate, Box<Inspection>),
    Publishing(Box<Publication>, Option<Box<Batch>>),
    Settling(Box<Settlement>),
}

/// A claim whose records are all published.
struct Settlement {
    claim: Claim,
    answers: Answers,
    /// Whether it stands in the statistics.
    counted: bool,
}

impl FileConnector {
    /// A connector; nothing is touched before `open`.
    pub fn new(log: Arc<dyn Log>, topics: Topics, catalog: Arc<Catalog>, options: FileOptions, clock: Clock) -> Self {
        Self {
            topics,
            forms: Forms::new(&catalog),
            options,
            clock,
            tree: None,
            watcher: None,
            ledger: Ledger::default(),
            epoch: 0,
            partitions: HashMap::new(),
            must_load: true,
            vocabularies: hash_vocabularies(&catalog),
            catalog,
            work: Work::None,
            queue: VecDeque::new(),
            completeness: Completeness::default(),
            settled: Unsynced::default(),
            closing: Vec::new(),
            unarchived: Vec::new(),
            statistics: StatisticsHandle::default(),
            reported: None,
            requests: BTreeMap::new(),
            read_again: HashSet::new(),
            initial_read: HashSet::new(),
            counts: ConnectorCounts::default(),
            next_look: None,
            looked_at: None,
            caught_up: None,
            receipts_at: 0,
            peeked: HashMap::new(),
            appended: log.appended(),
            log,
            last_cleaning: None,
        }
    }

    /// A look at it from other tasks.
    pub fn statistics(&self) -> StatisticsHandle {
        self.statistics.clone()
    }

    fn tree(&self) -> Result<&Arc<Tree>, ConnectorError> {
        self.tree.as_ref().ok_or_else(|| ConnectorError::Fatal("the file connector was stepped before it was opened".to_owned()))
    }

    fn waits(&self) -> Waits {
        Waits { settle: self.options.settle, broken_after: self.options.broken_after }
    }

    /// Adds the claims that are closed to what is about to be appended.
    fn put_closing(&self, append: &mut Append) {
        for claim in &self.closing {
            progress::put(append, &self.topics, &claim.key(), claim);
        }
    }

    async fn append_with_closing(&mut self, mut append: Append) -> Result<(), ConnectorError> {
        self.put_closing(&mut append);
        if !append.is_empty() {
            self.log.append(append).await?;
        }
        self.closing.clear();
        Ok(())
    }

    /// Takes a new epoch and reads the ledger.
    async fn load(&mut self) -> Result<(), ConnectorError> {
        self.receipts_at = self.log.bounds(&self.topics.receipts, 0).await?.end;
        self.partitions = self.log.topics().await?.into_iter().collect();
        self.epoch = progress::take_epoch(self.log.as_ref(), &self.topics, SOURCE).await?;
        self.ledger = Ledger::load(self.log.as_ref(), &self.topics).await?;
        self.ledger.start_epoch(self.epoch);
        for claim in self.settled.claims().iter().chain(&self.closing) {
            self.ledger.put(claim.clone());
        }
        self.must_load = false;
        Ok(())
    }

    /// Today in the connector's zone.
    fn today(&self) -> String {
        let now = jiff::Timestamp::from_microsecond(self.clock.wall_micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        now.to_zoned(self.options.zone.clone()).date().to_string()
    }
}

#[async_trait]
impl Connector for FileConnector {
    fn source(&self) -> &str {
        SOURCE
    }

    async fn open(&mut self) -> Result<(), ConnectorError> {
        let root = &self.options.root;
        let tree = Tree::open(root).map_err(|cause| ConnectorError::Unavailable {
            step: format!("open the import root {}; make it a folder that can be read and written", root.display()),
            cause: cause.into(),
        })?;
        self.tree = Some(Arc::new(tree));
        self.put_templates()?;
        if self.options.watch && self.watcher.is_none() {
            self.watcher = Watcher::start(&self.options.root);
        }
        self.work = Work::None;
        self.queue.clear();
        self.counts = ConnectorCounts::default();
        if self.must_load {
            self.load().await?;
        }
        self.try_kept().await
    }

    async fn step(&mut self) -> Result<Step, ConnectorError> {
        let step = match std::mem::replace(&mut self.work, Work::None) {
            Work::None => self.begin().await,
            Work::Inspecting(candidate, inspection) => self.inspect(candidate, inspection).await,
            Work::Publishing(publication, batch) => self.publish(publication, batch).await,
            Work::Settling(settlement) => self.settle(settlement).await,
        };
        // After any other failure the outcome of an append may be unknown: numbers given out since must not be given again.
        self.must_load |= matches!(&step, Err(error) if !matches!(error, ConnectorError::Unavailable { .. }));
        step
    }

    async fn wait(&mut self) {
        let nap = match (&self.work, self.next_look) {
            (Work::Settling(_), _) => self.options.scan_interval,
            (_, Some(wait)) => wait.min(self.options.scan_interval),
            (_, None) => self.options.scan_interval,
        };
        let settling = matches!(self.work, Work::Settling(_));
        let watcher = self.watcher.as_ref();
        let appended = &mut self.appended;
        let something = async {
            match watcher {
                Some(watcher) if !settling => watcher.changed().await,
                _ => std::future::pending().await,
            }
        };
        let answered = async {
            // Whoever holds the log is gone: only time wakes us then.
            if appended.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if !settling {
                tokio::time::sleep(REQUEST_LOOK).await;
            }
        };
        tokio::select! {
            () = something => {}
            () = answered => {}
            () = tokio::time::sleep(nap) => {}
        }
    }

    fn counts(&self) -> ConnectorCounts {
        self.counts
    }
}

/// Files up to this size are worked on where we are: handing them to another thread costs more than the work.
const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// Does work that blocks, beside the runtime unless the file is small.
async fn aside<T: Send + 'static>(size: u64, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ConnectorError> {
    if size <= SMALL_BYTES_MAX {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ConnectorError::Fatal(format!("reading a file broke off: {error}")))
}

fn hash_vocabularies(catalog: &Catalog) -> u64 {
    let mut hasher = Sha256::new();
    for vocabulary in catalog.vocabularies() {
        hasher.update(format!("{} {:?}", vocabulary.name, vocabulary.codes));
    }
    let digest = hasher.finalize();
    u64::from_le_bytes(digest[..8].try_into().expect("a digest is longer than eight bytes"))
}

/// How long a request of another process may go unnoticed: looking costs a scan, so not every append may cause one.
const REQUEST_LOOK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
