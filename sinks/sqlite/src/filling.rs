//! The first fill of an empty store, and what it postpones.
//!
//! An index that is kept along with a fill costs more than the rows, and built afterwards, in one sorted pass, an eighth of that
//! (measured). So what a role names as postponed is made when the first fill is over, one statement at a time with the waiting
//! batches in between, so that no batch waits longer than for one index. Nothing is lost if the process ends before: the next
//! open makes what is missing.

use std::collections::VecDeque;
use std::time::Duration;

/// A first fill is over when no batch comes for this long; once several have come, for twice as long as one was ever waited for,
/// which is measured while the engine waits for fuller batches, and not less than the lower bound.
const IDLE_MAX: Duration = Duration::from_millis(500);
const IDLE_MIN: Duration = Duration::from_millis(200);
const WAITS_MIN: u32 = 8;
/// It is over as well when so many batches in a row were this small: an import brings larger ones, though its first entities are
/// few, and what goes on for ever does not, though the engine waits for fuller ones.
const SMALL_BATCH: usize = 2_000;
const SMALL_BATCHES: u32 = 32;

/// How the first fill goes.
#[derive(Debug)]
pub(crate) struct Filling {
    postponed: VecDeque<String>,
    begun: bool,
    over: bool,
    /// Small batches since the last large one.
    small: u32,
    /// How often something was waited for, and the longest wait.
    waits: u32,
    longest: Duration,
}

impl Filling {
    /// Nothing is there yet; these statements wait.
    pub(crate) fn new(postponed: Vec<String>) -> Self {
        Self { postponed: postponed.into(), begun: false, over: false, small: 0, waits: 0, longest: Duration::ZERO }
    }

    /// A batch was written.
    pub(crate) fn filled(&mut self, records: usize) {
        self.begun = true;
        self.small = if records < SMALL_BATCH { self.small + 1 } else { 0 };
        self.over |= self.small >= SMALL_BATCHES;
    }

    /// Something came after this long.
    pub(crate) fn waited(&mut self, wait: Duration) {
        self.waits += 1;
        self.longest = self.longest.max(wait);
    }

    /// No batch came while [`Filling::patience`] lasted.
    pub(crate) fn idle(&mut self) {
        self.over = true;
    }

    /// How long to wait for the next batch before something is to be done; `None` = as long as it takes.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let idle = if self.waits < WAITS_MIN { IDLE_MAX } else { (2 * self.longest).clamp(IDLE_MIN, IDLE_MAX) };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Filling, IDLE_MAX, IDLE_MIN, SMALL_BATCH, SMALL_BATCHES, WAITS_MIN};

    fn filling() -> Filling {
        Filling::new(vec!["one".to_owned(), "two".to_owned()])
    }

    #[test]
    fn nothing_is_waited_for_before_the_first_batch() {
        let mut filling = filling();
        assert_eq!((filling.patience(), filling.next(), filling.is_under_way()), (None, None, false));
        filling.filled(SMALL_BATCH);
        assert_eq!((filling.patience(), filling.next(), filling.is_under_way()), (Some(IDLE_MAX), None, true));
    }

    #[test]
    fn it_waits_twice_as_long_as_it_ever_had_to_once_that_is_known() {
        let mut filling = filling();
        filling.filled(SMALL_BATCH);
        for _ in 1..WAITS_MIN {
            filling.waited(Duration::from_millis(1));
        }
        assert_eq!(filling.patience(), Some(IDLE_MAX));
        filling.waited(Duration::from_millis(1));
        assert_eq!(filling.patience(), Some(IDLE_MIN));
        filling.waited(Duration::from_millis(140));
        assert_eq!(filling.patience(), Some(Duration::from_millis(280)));
        filling.waited(Duration::from_secs(9));
        assert_eq!(filling.patience(), Some(IDLE_MAX));
    }

    #[test]
    fn it_is_over_after_a_pause_and_done_after_every_statement() {
        let mut filling = filling();
        filling.filled(SMALL_BATCH);
        filling.idle();
        assert_eq!((filling.patience(), filling.is_under_way(), filling.is_done()), (Some(Duration::ZERO), false, false));
        assert_eq!((filling.next().as_deref(), filling.next().as_deref()), (Some("one"), Some("two")));
        assert!(filling.is_done());
    }

    #[test]
    fn it_is_over_after_many_small_batches_in_a_row_and_no_sooner() {
        let mut filling = filling();
        for _ in 1..SMALL_BATCHES {
            filling.filled(SMALL_BATCH - 1);
        }
        filling.filled(SMALL_BATCH);
        for _ in 1..SMALL_BATCHES {
            filling.filled(SMALL_BATCH - 1);
            assert!(!filling.is_under_way(), "nothing is expected after a small one");
            assert_eq!(filling.next(), None);
        }
        filling.filled(SMALL_BATCH - 1);
        assert_eq!(filling.next().as_deref(), Some("one"));
    }

    #[test]
    fn a_fill_that_postpones_nothing_is_done_when_it_is_over() {
        let mut filling = Filling::new(Vec::new());
        assert!(!filling.is_done());
        filling.filled(1);
        filling.idle();
        assert!(filling.is_done());
    }
}
