//! The only place where anything waits to try or look again: exponential back-off on Tokio time, so that paused time works.
//!
//! The jitter is drawn from a seed (the stage's name), not from the machine, so that a simulation repeats itself.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use tokio_util::sync::CancellationToken;

use super::failure::Class;

/// First pause after something was unavailable: short, since most such things are over at once (a lock, a restart).
const UNAVAILABLE_FIRST: Duration = Duration::from_millis(100);
/// Longest such pause: how late a store that came back is noticed at the most. With the opening of the store and a batch it must stay
/// below the five seconds in which work goes on.
const UNAVAILABLE_LONGEST: Duration = Duration::from_secs(2);
/// First pause after a fault that a retry will hardly mend.
const FATAL_FIRST: Duration = Duration::from_secs(1);
/// Longest such pause.
const FATAL_LONGEST: Duration = Duration::from_secs(30);
/// Pause before looking whether an operator has put things right.
const OPERATOR: Duration = Duration::from_secs(15);
/// How late it is noticed that a store was taken away while nothing is written to it; a look costs one question to the disk.
const IDLE: Duration = Duration::from_secs(3);

/// The back-off of one stage.
#[derive(Debug)]
pub(super) struct Retry {
    unavailable: ExponentialBackoff,
    fatal: ExponentialBackoff,
    random: u64,
}

impl Retry {
    pub(super) fn new(stage: &str) -> Self {
        Self {
            unavailable: exponential(UNAVAILABLE_FIRST, UNAVAILABLE_LONGEST),
            fatal: exponential(FATAL_FIRST, FATAL_LONGEST),
            random: xxhash_rust::xxh3::xxh3_64(stage.as_bytes()) | 1,
        }
    }

    /// Something worked: the next failure starts from the shortest pause.
    pub(super) fn succeeded(&mut self) {
        self.unavailable.reset();
        self.fatal.reset();
    }

    /// How long to wait after a failure; `None` when it must not be tried again.
    pub(super) fn pause(&mut self, class: Class) -> Option<Duration> {
        let pause = match class {
            Class::Unavailable => self.unavailable.next_backoff().unwrap_or(UNAVAILABLE_LONGEST),
            Class::Fatal => self.fatal.next_backoff().unwrap_or(FATAL_LONGEST),
            Class::Operator => OPERATOR,
            Class::Superseded => return None,
        };
        Some(self.jitter(pause))
    }

    /// Between three quarters and the whole of it.
    fn jitter(&mut self, pause: Duration) -> Duration {
        // xorshift64: any even spread will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        pause.mul_f64(0.75 + (self.random >> 11) as f64 / (1_u64 << 53) as f64 / 4.0)
    }
}

/// Waits until a store that has nothing to write is to be looked after.
pub(super) async fn idle() {
    tokio::time::sleep(IDLE).await;
}

/// Waits; `false` when shutdown came first.
pub(super) async fn wait(pause: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}

fn exponential(first: Duration, longest: Duration) -> ExponentialBackoff {
    ExponentialBackoff {
        current_interval: first,
        initial_interval: first,
        // The crate's own jitter is not seeded.
        randomization_factor: 0.0,
        multiplier: 2.0,
        max_interval: longest,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, FATAL_LONGEST, Retry, UNAVAILABLE_FIRST, UNAVAILABLE_LONGEST};

    #[test]
    fn pauses_grow_to_a_bound_and_start_anew_after_a_success() {
        let mut retry = Retry::new("sink.graph");
        let pauses: Vec<_> = (0..12).filter_map(|_| retry.pause(Class::Unavailable)).collect();
        assert!(pauses[0] <= UNAVAILABLE_FIRST && pauses[0] >= UNAVAILABLE_FIRST.mul_f64(0.74));
        assert!(pauses[3] > pauses[0] * 4, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= UNAVAILABLE_LONGEST));
        retry.succeeded();
        assert!(retry.pause(Class::Unavailable).unwrap() <= UNAVAILABLE_FIRST);
        assert!(retry.pause(Class::Fatal).unwrap() <= FATAL_LONGEST);
        assert_eq!(retry.pause(Class::Superseded), None);
    }

    #[test]
    fn the_same_stage_waits_the_same_every_time() {
        let pauses = |stage| {
            let mut retry = Retry::new(stage);
            (0..5).map(|_| retry.pause(Class::Unavailable)).collect::<Vec<_>>()
        };
        assert_eq!(pauses("fold"), pauses("fold"));
        assert_ne!(pauses("fold"), pauses("sink.graph"));
    }
}
