//! A sink as a stage: read the state topics from where the store stands, apply batch after batch.
//!
//! Guarantees: the store's own positions are the only ones that count; they are read at every opening and checked against the
//! log. Under load the next batch is read while one is applied. A row that the store refuses becomes a dead letter before the rest
//! of its batch is applied without it, so nothing is dropped silently and nothing else is held up.
//! On failure: whatever is in hand is forgotten, the store opened anew and read on from there. The same between two batches when
//! the store asks for it, because it is to be emptied or was.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join;
use tidemark_log::{Append, Assignment, Membership, Share, crash};
use tidemark_schemas::codec::{DecodeError, decode_state};
use tidemark_sink_core::batch::UNDECODABLE;
use tidemark_sink_core::report::ahead_of_log;
use tidemark_sink_core::{Applied, RejectedRow, Sink, SinkBatch, SinkError, StorePosition, TopicBatch};
use tokio::sync::watch;
use tokio::time::Instant;

use super::cursors::{Cursors, Part, Side};
use super::failure::{Class, Failure};
use super::report::Reporter;
use super::supervise::{Session, Stage};
use super::{BatchLimits, Pipeline, membership, retry, schemas};
use crate::dead_letters::{self, Refused};

/// How long the next batch is waited for, beside the work on the one before, while a store that keeps pace is filled for the first
/// time: rows that are written together share what they touch, and nobody reads the last one yet.
const FILLING_LINGER: Duration = Duration::from_millis(150);

/// How long giving a store's partitions back may hold up their next writer, or the end of the process.
const RELEASE: Duration = Duration::from_secs(2);

pub(super) struct SinkStage<'p> {
    pipeline: &'p Pipeline,
    stage: String,
    sink: Box<dyn Sink>,
    limits: BatchLimits,
    /// Fingerprints that were looked for on the progress topic: a row whose writer is still unknown then is a dead letter.
    schemas_tried: HashSet<u64>,
    /// Kept over failures: a store that is down must not move partitions from worker to worker.
    membership: Option<Arc<dyn Membership>>,
}

impl<'p> SinkStage<'p> {
    pub(super) fn new(pipeline: &'p Pipeline, sink: Box<dyn Sink>, limits: BatchLimits) -> Self {
        let stage = format!("sink.{}", sink.role().name());
        let limits = limits.holding(sink.batches_per_write());
        Self { pipeline, stage, sink, limits, schemas_tried: HashSet::new(), membership: None }
    }

    /// The reading positions as the store says, each within the log's bounds.
    async fn open(&mut self, share: &Share) -> Result<Cursors, Failure> {
        let log = &self.pipeline.log;
        let positions = self.sink.open(log.identity(), share).await?;
        let mut cursors = Cursors::of(self.pipeline, Side::State, share).await?;
        let ends = cursors.ends(&**log).await?;
        for (cursor, end) in cursors.list.iter_mut().zip(ends) {
            let stands =
                |position: &&StorePosition| position.partition == cursor.partition && position.entity == cursor.entity.name;
            // A store that has seen nothing begins at 0, also where compaction has taken the first offsets away.
            cursor.next = positions.iter().find(stands).map_or(0, |position| position.next);
            if cursor.next > end {
                let place = format!("{}/{}", cursor.topic, cursor.partition);
                let text = ahead_of_log(self.sink.role(), &place, cursor.next, end);
                return Err(Failure::new(Class::Operator, text));
            }
        }
        Ok(cursors)
    }

    /// Gives the store's partitions back. Where that fails, the next writer takes them as from one that was killed.
    async fn release(&mut self) {
        match tokio::time::timeout(RELEASE, self.sink.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(stage = %self.stage, %error, "the store's partitions were not given back"),
            Err(_) => tracing::warn!(stage = %self.stage, "the store's partitions were not given back: no answer"),
        }
    }

    fn batch_of(&self, cursors: &Cursors, parts: &[Part]) -> SinkBatch {
        let parts = parts.iter().map(|part| {
            let cursor = &cursors.list[part.cursor];
            TopicBatch {
                entity: Arc::clone(&cursor.entity),
                partition: cursor.partition,
                from: part.from,
                next: part.next,
                records: Arc::clone(&part.records),
            }
        });
        SinkBatch { catalog: Arc::clone(&self.pipeline.catalog), parts: parts.collect(), excluded: HashSet::new() }
    }

    /// Applies the batch, without the rows that the store refuses. Returns what came of it and how many were refused.
    async fn apply(&mut self, mut batch: SinkBatch, report: &Reporter) -> Result<(Applied, u64), Failure> {
        loop {
            let rows = match self.sink.apply(&batch).await {
                Ok(applied) => return Ok((applied, batch.excluded.len() as u64)),
                Err(SinkError::Rejected(rows)) => rows,
                Err(error) => return Err(error.into()),
            };
            if self.learn_schemas(&batch, &rows).await? {
                continue;
            }
            let before = batch.excluded.len();
            self.bury(&batch, &rows, report).await?;
            batch.exclude(&rows);
            if batch.excluded.len() == before {
                let text = format!("{} refuses rows that its batch excludes; report this as a bug", self.stage);
                return Err(Failure::new(Class::Fatal, text));
            }
        }
    }

    /// Whether a row was refused only because its writer's schema was not known yet, and now is, whichever stage has learnt it.
    async fn learn_schemas(&mut self, batch: &SinkBatch, rows: &[RejectedRow]) -> Result<bool, Failure> {
        let mut learnt = false;
        for row in rows {
            let Some((part, value)) = find(batch, row) else { continue };
            let fingerprint = match decode_state(&batch.catalog, &part.entity, value) {
                Ok(state) => {
                    learnt |= row.reason == UNDECODABLE && state.key == row.key;
                    continue;
                }
                Err(DecodeError::UnknownSchema(fingerprint)) if !self.schemas_tried.contains(&fingerprint) => fingerprint,
                Err(_) => continue,
            };
            learnt |= schemas::learn(self.pipeline, fingerprint).await?;
            self.schemas_tried.insert(fingerprint);
        }
        Ok(learnt)
    }

    /// Puts the refused rows on the dead-letter topic.
    async fn bury(&mut self, batch: &SinkBatch, rows: &[RejectedRow], report: &Reporter) -> Result<(), Failure> {
        let topics = &self.pipeline.topics;
        let mut append = Append::default();
        for row in rows {
            let topic = topics.state(&row.entity);
            let (partition, offset) = row.position;
            let refused = Refused {
                stage: &self.stage,
                entity: &row.entity,
                topic: &topic,
                partition,
                offset,
                key: row.key.as_bytes(),
                value: find(batch, row).map_or(&[], |(_, value)| value),
            };
            tracing::error!(stage = %self.stage, %topic, partition, offset, reason = %row.reason, "row refused by the store");
            dead_letters::put_open(&mut append, topics, refused, &row.reason, &row.detail);
        }
        self.pipeline.log.append(append).await?;
        crash::point("sink.after-dead-letters");
        report.dead_letters(rows.len() as u64);
        Ok(())
    }
}

/// The part and the bytes of a refused row.
fn find<'b>(batch: &'b SinkBatch, row: &RejectedRow) -> Option<(&'b TopicBatch, &'b [u8])> {
    let (partition, offset) = row.position;
    let part = batch.parts.iter().find(|part| part.partition == partition && part.entity.name == row.entity)?;
    let record = part.records.iter().find(|record| record.offset == offset)?;
    Some((part, record.value))
}

#[async_trait]
impl Stage for SinkStage<'_> {
    async fn run(&mut self, session: &mut Session) -> Result<(), Failure> {
        let shutdown = &self.pipeline.shutdown;
        let membership = membership::joined(&mut self.membership, &*self.pipeline.log, &self.stage).await?;
        let mut wanted = membership.wanted();
        loop {
            let Some(assignment) = membership::next(&mut wanted, shutdown).await else { break };
            // Whatever was in hand is applied, and what was read ahead forgotten: the rest may go to others.
            self.release().await;
            membership.holds(&assignment.share);
            if matches!(&assignment.share, Share::Partitions(numbers) if numbers.is_empty()) {
                session.report.stands_at(Vec::new());
                session.quiet();
                if membership::changed(&mut wanted, shutdown).await { continue } else { break }
            }
            let ended = self.run_share(session, &assignment, &mut wanted).await;
            if ended.is_err() {
                // Where it is still open, nothing of it is under way.
                self.release().await;
            }
            match ended.map_err(|failure| membership::failed(&*membership, &assignment.share, failure))? {
                End::Shutdown => break,
                End::OpenAnew => {}
            }
        }
        self.release().await;
        membership.leave().await;
        Ok(())
    }

    fn membership(&self) -> Option<&dyn Membership> {
        self.membership.as_deref()
    }
}

/// Whether the store has asked to be opened anew.
fn is_told(reopen: Option<&watch::Receiver<u64>>) -> bool {
    reopen.is_some_and(|reopen| reopen.has_changed().unwrap_or(false))
}

/// Waits until it asks.
async fn told(reopen: &mut Option<watch::Receiver<u64>>) {
    if let Some(reopen) = reopen
        && reopen.changed().await.is_ok()
    {
        return;
    }
    // Nobody can ask any more, or ever could.
    std::future::pending::<()>().await;
}

/// How a run ended without a failure.
enum End {
    Shutdown,
    /// Partitions came or go, or the store is to be emptied or was.
    OpenAnew,
}

impl SinkStage<'_> {
    /// Runs on one share until it changes.
    async fn run_share(
        &mut self,
        session: &mut Session,
        assignment: &Assignment,
        wanted: &mut watch::Receiver<Option<Assignment>>,
    ) -> Result<End, Failure> {
        let pipeline = self.pipeline;
        let log = Arc::clone(&pipeline.log);
        let mut appended = log.appended();
        // `reading` runs ahead of `committed` by what is in hand and read ahead.
        let mut reading = self.open(&assignment.share).await?;
        let mut reopen = self.sink.reopen();
        let mut committed = reading.positions();
        session.report.stands_at(committed.clone());
        let mut ahead = Vec::new();
        let limits = self.limits;
        loop {
            if pipeline.shutdown.is_cancelled() {
                return Ok(End::Shutdown);
            }
            if wanted.borrow().as_ref() != Some(assignment) || is_told(reopen.as_ref()) || self.sink.went_back() {
                return Ok(End::OpenAnew);
            }
            // Seen before it is read: what is appended in between wakes the wait below at once.
            appended.borrow_and_update();
            let parts = if ahead.is_empty() { reading.gather(&*log, limits).await? } else { std::mem::take(&mut ahead) };
            if parts.is_empty() {
                session.quiet();
                tokio::select! {
                    biased;
                    () = pipeline.shutdown.cancelled() => return Ok(End::Shutdown),
                    _ = wanted.changed() => {}
                    () = told(&mut reopen) => return Ok(End::OpenAnew),
                    _ = appended.changed() => {}
                    () = retry::idle() => self.sink.look_after().await?,
                }
                continue;
            }
            session.report.read(&parts);
            session.report.lag(&*log, &committed).await;
            let started = Instant::now();
            crash::point("sink.before-apply");
            let batch = self.batch_of(&reading, &parts);
            let is_loaded = limits.are_near(&parts);
            let lingers = self.sink.is_filling() && !is_loaded;
            let applying = async {
                let (applied, refused) = self.apply(batch, &session.report).await?;
                crash::point("sink.after-apply");
                for part in &parts {
                    committed[part.cursor].2 = part.next;
                }
                session.worked();
                session.report.applied(applied.written + applied.skipped, refused, started.elapsed());
                session.report.stands_at(committed.clone());
                Ok(())
            };
            let reading_ahead = async {
                if lingers {
                    retry::wait(FILLING_LINGER, &pipeline.shutdown).await;
                } else if !is_loaded {
                    // What is read now would wait for this batch, and what comes a moment later for two.
                    return Ok(Ok(Vec::new()));
                }
                // A read that fails cuts no write short.
                Ok::<_, Failure>(reading.gather(&*log, limits).await)
            };
            let working = try_join(applying, reading_ahead);
            let ((), read) = tokio::select! {
                biased;
                worked = working => worked?,
                // Others are at work on what was lost; the store is opened anew, which takes a new epoch for the rest.
                () = membership::lost(wanted, assignment.losses) => return Ok(End::OpenAnew),
            };
            ahead = read?;
            session.report.queued(&ahead);
        }
    }
}
