//! The fold of one share of the partitions: batches of changes in, one append per batch out.
//!
//! A stage that has all partitions is one such unit; where workers share them, each partition number is one ([`super::shared`]).
//!
//! Guarantees: states, receipts, rejections, marks, dead letters and the fold's positions are one append, so a batch counts once
//! or not at all. What a batch did lives in an overlay and enters the cache only after the commit. Under load the next one is read
//! and decided upon it while it is committed, and appended only when the first is in the log.
//! On failure, also where the outcome is unknown: overlays, marks and counts in memory are dropped, the committed positions are
//! read again, and the cache is brought up to the state topics. Relies on being the only writer of states of its partitions (the
//! engine's stage lock, or the log's fencing by partition number).

mod batch;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::join;
use tidemark_log::{Append, ConsumerPosition, Share, crash};
use tokio::time::Instant;

use super::cache::{Cache, CacheError, Overlay, Overlays, Reached, entity_seed};
use super::ledger::Ledger;
use crate::engine::cursors::{Cursors, Part, Side};
use crate::engine::failure::Failure;
use crate::engine::supervise::Session;
use crate::engine::{BatchLimits, Pipeline, in_place, schemas};
use batch::{Batch, Stopped};

/// Consumer name of the fold's positions, and its stage name.
pub(crate) const CONSUMER: &str = "fold";
/// Bytes that come of a batch to those that are read for it: beyond, it is cut. Two batches are under way, each in an append and an
/// overlay.
const DECIDED_MAX: usize = 2;
/// Largest batch while the cache is brought up to the state topics: only memory depends on it.
const CATCH_UP: BatchLimits = BatchLimits { records_max: 10_000, bytes_max: 8 << 20 };

/// The fold of one share.
pub(crate) struct FoldUnit {
    pipeline: Pipeline,
    share: Share,
    /// Where the cache is.
    directory: PathBuf,
    limits: BatchLimits,
    cache: Option<Cache>,
    /// The cache failed and must be made anew.
    discard: bool,
    /// Fingerprints that were looked for on the progress topic: a change whose writer is still unknown then is a dead letter.
    schemas_tried: HashSet<u64>,
}

/// What the fold knows while it runs; made anew after every failure.
struct Running {
    reading: Cursors,
    places: Vec<Place>,
    ledger: Ledger,
    cache: Cache,
    overlays: Overlays,
}

/// What belongs to a cursor.
struct Place {
    state_topic: Arc<str>,
    seed: u64,
}

/// What the next batch came to.
enum Next {
    /// It is decided, and its append complete.
    Decided(Box<Decided>),
    /// Nothing is there.
    Nothing,
    /// A schema was looked for: the batch is decided anew from the committed positions.
    Again,
}

struct Decided {
    batch: Batch,
    /// Cursors and where they stand after it.
    moved: Vec<(usize, u64)>,
    /// It is so large that there is probably more.
    is_loaded: bool,
    started: Instant,
}

impl FoldUnit {
    /// Ends with the pipeline's shutdown.
    pub(crate) fn new(pipeline: Pipeline, share: Share, directory: PathBuf, limits: BatchLimits) -> Self {
        let limits = limits.holding(pipeline.log.batches_per_commit());
        Self { pipeline, share, directory, limits, cache: None, discard: false, schemas_tried: HashSet::new() }
    }

    async fn open(&mut self) -> Result<Running, Failure> {
        let log = &*self.pipeline.log;
        let positions = match &self.share {
            Share::All => log.positions(CONSUMER).await?,
            Share::Partitions(numbers) => {
                let mut positions = Vec::new();
                for number in numbers {
                    // Ends what a former owner has under way: before that they are not final.
                    positions.extend(log.take_over(CONSUMER, *number).await?);
                }
                positions
            }
        };
        let mut reading = Cursors::of(&self.pipeline, Side::Changes, &self.share).await?;
        for (topic, partition, next) in positions {
            let stands = |cursor: &&mut crate::engine::cursors::Cursor| *cursor.topic == *topic && cursor.partition == partition;
            if let Some(cursor) = reading.list.iter_mut().find(stands) {
                cursor.next = next;
            }
        }
        let ledger = Ledger::load(log, &self.pipeline.topics, &reading).await?;
        let cache = self.open_cache().await?;
        let place = |cursor: &crate::engine::cursors::Cursor| Place {
            state_topic: self.pipeline.topics.state(&cursor.entity.name),
            seed: entity_seed(&cursor.entity.name),
        };
        let places = reading.list.iter().map(place).collect();
        Ok(Running { reading, places, ledger, cache, overlays: Overlays::default() })
    }

    /// The cache, brought up to the ends of the state topics.
    async fn open_cache(&mut self) -> Result<Cache, Failure> {
        let log = Arc::clone(&self.pipeline.log);
        let log = &*log;
        let identity = log.identity();
        let mut cache = match self.cache.take() {
            Some(cache) => cache,
            None if self.discard => in_place(|| Cache::create(&self.directory, identity))?,
            None => in_place(|| Cache::open(&self.directory, identity))?,
        };
        self.discard = false;
        let mut states = Cursors::of(&self.pipeline, Side::State, &self.share).await?;
        let ends = states.ends(log).await?;
        for (cursor, end) in states.list.iter_mut().zip(ends) {
            cursor.next = cache.next(&cursor.entity.name, cursor.partition);
            if cursor.next > end {
                tracing::warn!(topic = %cursor.topic, "the fold's cache is ahead of the log; it is made anew");
                cache = in_place(|| Cache::create(&self.directory, identity))?;
                states = Cursors::of(&self.pipeline, Side::State, &self.share).await?;
                break;
            }
        }
        let mut overlay = Overlay::default();
        loop {
            let parts = states.gather(log, CATCH_UP).await?;
            if parts.is_empty() {
                return Ok(cache);
            }
            overlay.clear();
            let mut reached = Vec::with_capacity(parts.len());
            for part in &parts {
                let cursor = &states.list[part.cursor];
                let seed = entity_seed(&cursor.entity.name);
                for record in part.records.iter() {
                    overlay.put(seed, record.key, record.value);
                }
                reached.push(Reached { entity: cursor.entity.name.clone(), partition: cursor.partition, next: part.next });
            }
            in_place(|| cache.put_unseen(&overlay, &reached)).map_err(|error| self.cache_failed(error))?;
        }
    }

    fn cache_failed(&mut self, error: CacheError) -> Failure {
        self.discard = true;
        error.into()
    }

    /// Reads the next batch and decides it, upon those before it whether they are committed yet or not.
    async fn next(&mut self, running: &mut Running, session: &mut Session) -> Result<Next, Failure> {
        let mut parts = running.reading.gather(&*self.pipeline.log, self.limits).await?;
        session.report.queued(&parts);
        if parts.is_empty() {
            return Ok(Next::Nothing);
        }
        let started = Instant::now();
        let identity = self.pipeline.log.identity();
        let decided = in_place(|| {
            let mut batch = Batch::default();
            batch.decide(
                &self.pipeline,
                running,
                &mut parts,
                identity,
                &self.schemas_tried,
                DECIDED_MAX * self.limits.bytes_max,
            )?;
            running.ledger.write(&mut batch.append, &self.pipeline.topics, &running.reading);
            put_positions(&mut batch.append, &running.reading, &parts);
            Ok(batch)
        });
        match decided {
            Ok(batch) => {
                session.report.read(&parts);
                let moved = parts.iter().map(|part| (part.cursor, part.next)).collect();
                let is_loaded = self.limits.are_near(&parts);
                Ok(Next::Decided(Box::new(Decided { batch, moved, is_loaded, started })))
            }
            Err(Stopped::UnknownSchema(fingerprint)) => {
                schemas::learn(&self.pipeline, fingerprint).await?;
                self.schemas_tried.insert(fingerprint);
                Ok(Next::Again)
            }
            Err(Stopped::Cache(error)) => Err(self.cache_failed(error)),
            Err(Stopped::Failed(failure)) => Err(failure),
        }
    }

    async fn run_open(&mut self, running: &mut Running, session: &mut Session) -> Result<End, Failure> {
        let pipeline = self.pipeline.clone();
        let log = Arc::clone(&pipeline.log);
        let mut appended = log.appended();
        let mut committed = running.reading.positions();
        session.report.stands_at(committed.clone());
        // Seen before it is read, here and below: what is appended in between wakes the wait at once.
        appended.borrow_and_update();
        let mut next = self.next(running, session).await?;
        loop {
            if pipeline.shutdown.is_cancelled() {
                return Ok(End::Shutdown);
            }
            let Decided { mut batch, moved, is_loaded, started } = match next {
                Next::Decided(decided) => *decided,
                Next::Again => return Ok(End::Again),
                Next::Nothing => {
                    session.quiet();
                    tokio::select! {
                        biased;
                        () = pipeline.shutdown.cancelled() => return Ok(End::Shutdown),
                        _ = appended.changed() => {}
                    }
                    appended.borrow_and_update();
                    next = self.next(running, session).await?;
                    continue;
                }
            };
            session.report.lag(&*log, &committed).await;
            crash::point("fold.before-append");
            let append = std::mem::take(&mut batch.append);
            running.overlays.send();
            appended.borrow_and_update();
            // What is read now would wait for this batch, and what comes a moment later for two.
            let reading_ahead = async { if is_loaded { Some(self.next(running, session).await) } else { None } };
            let (offsets, following) = join(log.append(append), reading_ahead).await;
            let reached = batch.reached(&running.reading, &offsets?);
            crash::point("fold.after-append");
            if !reached.is_empty() {
                let taken_in = in_place(|| running.cache.put(running.overlays.committing(), &reached));
                taken_in.map_err(|error| self.cache_failed(error))?;
            }
            crash::point("fold.after-cache");
            running.overlays.settle();
            for (cursor, next) in moved {
                committed[cursor].2 = next;
            }
            session.worked();
            session.report.applied(batch.decided - batch.rejected, batch.rejected, started.elapsed());
            session.report.dead_letters(batch.dead_letters);
            session.report.stands_at(committed.clone());
            next = match following {
                Some(following) => following?,
                None => self.next(running, session).await?,
            };
        }
    }
}

/// How a run ended without a failure.
enum End {
    Shutdown,
    /// A schema was looked for: the batch is decided anew from the committed positions.
    Again,
}

impl FoldUnit {
    /// Runs until shutdown; again after a failure.
    pub(crate) async fn run(&mut self, session: &mut Session) -> Result<(), Failure> {
        loop {
            let mut running = self.open().await?;
            let ended = self.run_open(&mut running, session).await;
            if !self.discard {
                // It holds only what was committed.
                self.cache = Some(running.cache);
            }
            match ended? {
                End::Shutdown => return Ok(()),
                End::Again => {}
            }
        }
    }
}

fn put_positions(append: &mut Append, cursors: &Cursors, parts: &[Part]) {
    for part in parts {
        let cursor = &cursors.list[part.cursor];
        append.position(ConsumerPosition {
            consumer: CONSUMER.to_owned(),
            topic: cursor.topic.to_string(),
            partition: cursor.partition,
            from: part.from,
            next: part.next,
        });
    }
}
