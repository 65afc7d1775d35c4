//! The first fill of an empty store, and what it postpones.
//!
//! An index that is kept along with a fill costs more than the rows, and built afterwards, in one sorted pass, an eighth of that
//! (measured). So what a role names as postponed is made when the first fill is over, one statement at a time with the waiting
//! batches in between, so that no batch waits longer than for one index. Nothing is lost if the process ends before: the next
//! open makes what is missing.

use std::collections::VecDeque;
use std::time::Duration;

/// A first fill is over when no batch comes for twice as long as one ever came, within these bounds, or when so many in a row were
/// this small: a store that lags gets full ones, but the first entities of an import are few as well.
const IDLE_MIN: Duration = Duration::from_millis(200);
const IDLE_MAX: Duration = Duration::from_millis(500);
const SMALL_BATCH: usize = 500;
const SMALL_BATCHES: u32 = 32;

/// How the first fill goes.
#[derive(Debug)]
pub(crate) struct Filling {
    postponed: VecDeque<String>,
    begun: bool,
    over: bool,
    /// Small batches since the last large one.
    small: u32,
    /// The longest wait for something to do.
    longest: Duration,
}

impl Filling {
    /// Nothing is there yet; these statements wait.
    pub(crate) fn new(postponed: Vec<String>) -> Self {
        Self { postponed: postponed.into(), begun: false, over: false, small: 0, longest: Duration::ZERO }
    }

    /// A batch was written.
    pub(crate) fn filled(&mut self, records: usize) {
        self.begun = true;
        self.small = if records < SMALL_BATCH { self.small + 1 } else { 0 };
        self.over |= self.small >= SMALL_BATCHES;
    }

    /// Something came after this long.
    pub(crate) fn waited(&mut self, wait: Duration) {
        self.longest = self.longest.max(wait);
    }

    /// No batch came while [`Filling::patience`] lasted.
    pub(crate) fn idle(&mut self) {
        self.over = true;
    }

    /// How long to wait for the next batch before something is to be done; `None` = as long as it takes.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let idle = (2 * self.longest).clamp(IDLE_MIN, IDLE_MAX);
        self.begun.then_some(if self.over { Duration::ZERO } else { idle })
    }

    /// Whether large batches come, so that more is to be expected.
    pub(crate) fn is_under_way(&self) -> bool {
        self.begun && !self.over && self.small == 0
    }

    /// The next statement to run, once the fill is over.
    pub(crate) fn next(&mut self) -> Option<String> {
        if self.over { self.postponed.pop_front() } else { None }
    }

    /// Whether it is over and nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.over && self.postponed.is_empty()
    }
}
