//! What a stage tells the board and the metrics: the common figures, once per batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidemark_log::{Log, ReadLimit};
use tokio::time::Instant;

use super::cursors::{Part, bytes_of, oldest_of, records_of};
use super::failure::{Class, Failure};
use crate::metrics;
use crate::status::{StagePosition, StageState, StatusBoard};

/// How often a busy stage looks how far it is from the end: each look asks the log once per partition.
const LAG_EVERY: Duration = Duration::from_millis(250);

/// What is read to learn the age of a record.
const FIRST_RECORD: ReadLimit = ReadLimit { records_max: 1, bytes_max: 1 };

/// One stage's mouth.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    board: StatusBoard,
    stage: Arc<str>,
    lag_known_at: Option<Instant>,
    /// When the oldest record in hand was appended.
    oldest: Option<i64>,
    /// The partition number whose unit this is the mouth of; a stage in one piece has none.
    number: Option<u32>,
    /// What the units of a divided stage say of themselves.
    units: Arc<Mutex<BTreeMap<u32, UnitLine>>>,
}

/// What makes up a divided stage's line.
#[derive(Debug, Clone, Copy, Default)]
struct UnitLine {
    quiet: bool,
    lag_records: u64,
    lag_seconds: u64,
}

impl Reporter {
    pub(crate) fn new(board: &StatusBoard, stage: &str) -> Self {
        let reporter = Self {
            board: board.clone(),
            stage: stage.into(),
            lag_known_at: None,
            oldest: None,
            number: None,
            units: Arc::default(),
        };
        reporter.update(|line| line.state = StageState::Starting);
        // A figure that is 0 is shown as 0, and not left out until it rises.
        for name in
            [metrics::RECORDS_IN, metrics::RECORDS_OUT, metrics::RECORDS_REJECTED, metrics::RETRIED, metrics::DEAD_LETTERS]
        {
            ::metrics::counter!(name, "stage" => reporter.label()).increment(0);
        }
        ::metrics::gauge!(metrics::QUEUE_BYTES, "stage" => reporter.label()).set(0.0);
        reporter
    }

    /// The mouth of a unit of this stage.
    pub(crate) fn of_partition(&self, number: u32) -> Self {
        Self { number: Some(number), lag_known_at: None, oldest: None, ..self.clone() }
    }

    /// The stage has units for these partition numbers.
    pub(crate) fn divided(&self, numbers: &BTreeSet<u32>) {
        let mut units = self.lock_units();
        units.retain(|number, _| numbers.contains(number));
        for number in numbers {
            units.entry(*number).or_default();
        }
        drop(units);
        self.board.stands_only_on(&self.stage, numbers);
        self.add_up();
    }

    /// Changes what this unit says of itself; `false` for a stage in one piece.
    fn update_unit(&self, change: impl FnOnce(&mut UnitLine)) -> bool {
        let Some(number) = self.number else { return false };
        if let Some(unit) = self.lock_units().get_mut(&number) {
            change(unit);
        }
        self.add_up();
        true
    }

    /// The line of a divided stage: quiet when all its units are, as far behind as all together, as late as the latest.
    fn add_up(&self) {
        let units: Vec<UnitLine> = self.lock_units().values().copied().collect();
        self.update(|line| {
            line.quiet = units.iter().all(|unit| unit.quiet);
            line.lag_records = units.iter().map(|unit| unit.lag_records).sum();
            line.lag_seconds = units.iter().map(|unit| unit.lag_seconds).max().unwrap_or(0);
        });
    }

    fn lock_units(&self) -> MutexGuard<'_, BTreeMap<u32, UnitLine>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut crate::status::StageStatus)) {
        self.board.update(&self.stage, change);
    }

    fn label(&self) -> String {
        self.stage.to_string()
    }

    /// It works.
    pub(crate) fn running(&self) {
        self.update(|line| {
            line.state = StageState::Running;
            line.needs_a_person = false;
        });
        ::metrics::gauge!(metrics::STAGE_DEGRADED, "stage" => self.label()).set(0.0);
    }

    /// It ended by request.
    pub(crate) fn stopped(&self) {
        self.update(|line| line.state = StageState::Stopped);
        tracing::info!(stage = %self.stage, "stage stopped");
    }

    /// It failed; `retried` says whether it is tried again.
    pub(crate) fn degraded(&self, failure: &Failure, pause: Option<Duration>) {
        let text = match pause {
            Some(_) => failure.text.clone(),
            None => format!("{}; this stage has stopped: end the other process, then start this one again", failure.text),
        };
        match pause {
            Some(pause) => {
                let retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(stage = %self.stage, error = %text, retry_ms, "stage failed and is retried");
            }
            None => tracing::error!(stage = %self.stage, error = %text, "stage stopped"),
        }
        self.update(|line| {
            line.state = StageState::Degraded(text);
            line.needs_a_person = failure.class != Class::Unavailable;
            line.quiet = false;
            line.retried += u64::from(pause.is_some());
        });
        if pause.is_some() {
            ::metrics::counter!(metrics::RETRIED, "stage" => self.label()).increment(1);
        }
        ::metrics::gauge!(metrics::STAGE_DEGRADED, "stage" => self.label()).set(1.0);
    }

    /// A batch was read.
    pub(crate) fn read(&mut self, parts: &[Part]) {
        let records = records_of(parts) as u64;
        self.oldest = oldest_of(parts);
        self.update(|line| {
            line.read += records;
            line.quiet = false;
        });
        self.update_unit(|unit| unit.quiet = false);
        ::metrics::counter!(metrics::RECORDS_IN, "stage" => self.label()).increment(records);
        ::metrics::histogram!(metrics::BATCH_RECORDS, "stage" => self.label()).record(records as f64);
    }

    /// What a connector did since it was asked last.
    pub(crate) fn count(&self, read: u64, applied: u64, rejected: u64) {
        if read + applied + rejected == 0 {
            return;
        }
        self.update(|line| {
            line.read += read;
            line.applied += applied;
            line.rejected += rejected;
        });
        ::metrics::counter!(metrics::RECORDS_IN, "stage" => self.label()).increment(read);
        ::metrics::counter!(metrics::RECORDS_OUT, "stage" => self.label()).increment(applied);
        if rejected > 0 {
            ::metrics::counter!(metrics::RECORDS_REJECTED, "stage" => self.label()).increment(rejected);
        }
    }

    /// What waits behind the batch in hand.
    pub(crate) fn queued(&self, parts: &[Part]) {
        ::metrics::gauge!(metrics::QUEUE_BYTES, "stage" => self.label()).set(bytes_of(parts) as f64);
    }

    /// A batch is committed.
    pub(crate) fn applied(&self, applied: u64, rejected: u64, took: Duration) {
        self.update(|line| {
            line.applied += applied;
            line.rejected += rejected;
            line.state = StageState::Running;
            line.needs_a_person = false;
        });
        ::metrics::counter!(metrics::RECORDS_OUT, "stage" => self.label()).increment(applied);
        if rejected > 0 {
            ::metrics::counter!(metrics::RECORDS_REJECTED, "stage" => self.label()).increment(rejected);
        }
        ::metrics::histogram!(metrics::BATCH_SECONDS, "stage" => self.label()).record(took.as_secs_f64());
    }

    pub(crate) fn dead_letters(&self, written: u64) {
        if written > 0 {
            ::metrics::counter!(metrics::DEAD_LETTERS, "stage" => self.label()).increment(written);
        }
    }

    /// How far the stage has come: what [`crate::engine::Pipeline::caught_up`] looks at.
    pub(crate) fn stands_at(&self, positions: Vec<StagePosition>) {
        match self.number {
            None => self.board.stands_at(&self.stage, positions),
            Some(number) => self.board.stands_at_on(&self.stage, number, positions),
        }
    }

    /// The stage stands at the end of all its topics with nothing in hand.
    pub(crate) fn quiet(&mut self) {
        self.oldest = None;
        self.lag_known_at = None;
        if !self.update_unit(|unit| unit.quiet = true) {
            self.update(|line| line.quiet = true);
        }
        self.tell_lag(0, 0);
    }

    /// Looks how far a stage that does not work falls behind: from where it stood last, and the age of what it wants next.
    pub(crate) async fn lag_while_down(&mut self, log: &dyn Log) {
        let stands = self.board.positions().borrow().get(&*self.stage).cloned().unwrap_or_default();
        if stands.is_empty() {
            // Where it stands is not known yet, and 0 would say that it is at the end.
            return;
        }
        let (mut records, mut oldest) = (0, None::<i64>);
        for (topic, partition, next) in &stands {
            // A log that does not answer is what the stage fails by; its text says so.
            let Ok(bounds) = log.bounds(topic, *partition).await else { return };
            if bounds.end <= *next {
                continue;
            }
            records += bounds.end - next;
            let Ok(first) = log.read(topic, *partition, *next, FIRST_RECORD).await else { return };
            if let Some(record) = first.iter().next() {
                oldest = Some(oldest.map_or(record.timestamp, |oldest| oldest.min(record.timestamp)));
            }
        }
        self.tell_lag(records, oldest.map_or(0, age_seconds));
    }

    /// Looks how far the committed positions are from the end; too soon after the last look it does nothing.
    pub(crate) async fn lag(&mut self, log: &dyn Log, committed: &[StagePosition]) {
        let now = Instant::now();
        if self.lag_known_at.is_some_and(|known| now - known < LAG_EVERY) {
            return;
        }
        // A log that does not answer fails the stage's next read, which says so.
        let places: Vec<_> = committed.iter().map(|(topic, partition, _)| (Arc::clone(topic), *partition)).collect();
        let Ok(ends) = log.ends(&places).await else { return };
        let records = committed.iter().zip(ends).map(|((_, _, next), end)| end.saturating_sub(*next)).sum();
        self.lag_known_at = Some(now);
        let seconds = if records == 0 { 0 } else { self.oldest.map_or(0, age_seconds) };
        self.tell_lag(records, seconds);
    }

    fn tell_lag(&self, records: u64, seconds: u64) {
        let unit = self.update_unit(|unit| {
            unit.lag_records = records;
            unit.lag_seconds = seconds;
        });
        if unit {
            return;
        }
        self.update(|line| {
            line.lag_records = records;
            line.lag_seconds = seconds;
        });
        if self.stage.starts_with("sink.") {
            ::metrics::gauge!(metrics::SINK_LAG_RECORDS, "stage" => self.label()).set(records as f64);
            ::metrics::gauge!(metrics::SINK_LAG_SECONDS, "stage" => self.label()).set(seconds as f64);
        }
    }
}

/// Seconds since a time stamp of the log: for people to look at, nothing is decided by it.
fn age_seconds(micros: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    u64::try_from((now - micros) / 1_000_000).unwrap_or(0)
}
