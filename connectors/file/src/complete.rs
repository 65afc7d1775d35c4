//! Whether a file is complete: renamed in or closed by its writer, else unchanged for a while.
//!
//! Ages come from our own observation on the monotonic clock, so a wall clock that is set back or forward harms nothing; the
//! file's own time only shortens the wait for files that were there long before us.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::clock::Clock;
use crate::tree::Signature;

/// A broken file whose own time is so old is not growing any more, whenever we first saw it.
const OLD: Duration = Duration::from_secs(60);

/// What was seen of one file.
#[derive(Debug)]
struct Seen {
    signature: Signature,
    since: Duration,
    announced: bool,
    broken: bool,
}

/// All that is being watched.
#[derive(Debug, Default)]
pub(crate) struct Completeness {
    seen: HashMap<String, Seen>,
}

/// The two waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) settle: Duration,
    pub(crate) broken_after: Duration,
}

impl Completeness {
    /// Notes how the file looks now; `announced` = its writer has closed it or renamed it in.
    pub(crate) fn observe(&mut self, path: &str, signature: Signature, announced: bool, clock: &Clock) {
        match self.seen.get_mut(path) {
            Some(seen) if seen.signature == signature => seen.announced |= announced,
            _ => {
                let seen = Seen { signature, since: clock.now(), announced, broken: false };
                self.seen.insert(path.to_owned(), seen);
            }
        }
    }

    /// It did not parse.
    pub(crate) fn broke(&mut self, path: &str) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.broken = true;
        }
    }

    /// How long until it may be read; `None` = now.
    pub(crate) fn wait(&self, path: &str, waits: Waits, clock: &Clock) -> Option<Duration> {
        let seen = self.seen.get(path)?;
        let own = clock.now().saturating_sub(seen.since);
        let by_its_time =
            Duration::from_micros(clock.wall_micros().saturating_sub(seen.signature.modified / 1_000).max(0).cast_unsigned());
        let (needed, satisfied) = if seen.broken {
            (waits.broken_after, own >= waits.broken_after || by_its_time >= OLD.max(waits.broken_after))
        } else {
            (waits.settle, seen.announced || own >= waits.settle || by_its_time >= waits.settle)
        };
        (!satisfied).then(|| needed.saturating_sub(own))
    }

    /// Whether it may still be growing, as far as a broken file is concerned.
    pub(crate) fn may_grow(&self, path: &str, waits: Waits, clock: &Clock) -> bool {
        let Some(seen) = self.seen.get(path) else { return false };
        let as_broken = Seen { broken: true, ..*seen };
        let one = Self { seen: HashMap::from([(path.to_owned(), as_broken)]) };
        one.wait(path, waits, clock).is_some()
    }

    /// Forgets files that are not there any more.
    pub(crate) fn keep(&mut self, paths: &HashSet<&str>) {
        self.seen.retain(|path, _| paths.contains(path.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::time::Duration;

    use super::{Completeness, Waits};
    use crate::clock::Clock;
    use crate::tree::Signature;

    const WAITS: Waits = Waits { settle: Duration::from_secs(2), broken_after: Duration::from_secs(5) };

    struct Hands {
        wall: Arc<AtomicI64>,
        millis: Arc<AtomicU64>,
        clock: Clock,
    }

    fn hands() -> Hands {
        let wall = Arc::new(AtomicI64::new(1_000_000_000_000));
        let millis = Arc::new(AtomicU64::new(0));
        let (one, other) = (Arc::clone(&wall), Arc::clone(&millis));
        let clock = Clock {
            wall: Arc::new(move || one.load(Ordering::SeqCst)),
            monotonic: Arc::new(move || Duration::from_millis(other.load(Ordering::SeqCst))),
        };
        Hands { wall, millis, clock }
    }

    fn young(hands: &Hands, size: u64) -> Signature {
        Signature { size, modified: hands.wall.load(Ordering::SeqCst) * 1_000, inode: 1, regular: true, changed: 0 }
    }

    #[test]
    fn a_silent_file_waits_until_it_is_unchanged() {
        let hands = hands();
        let mut complete = Completeness::default();
        complete.observe("a", young(&hands, 1), false, &hands.clock);
        assert_eq!(complete.wait("a", WAITS, &hands.clock), Some(Duration::from_secs(2)));
        hands.millis.store(1_900, Ordering::SeqCst);
        complete.observe("a", young(&hands, 2), false, &hands.clock);
        hands.millis.store(3_800, Ordering::SeqCst);
        assert!(complete.wait("a", WAITS, &hands.clock).is_some());
        hands.millis.store(3_900, Ordering::SeqCst);
        assert_eq!(complete.wait("a", WAITS, &hands.clock), None);
    }

    #[test]
    fn an_announced_file_is_read_at_once_but_broken_it_waits() {
        let hands = hands();
        let mut complete = Completeness::default();
        complete.observe("a", young(&hands, 1), true, &hands.clock);
        assert_eq!(complete.wait("a", WAITS, &hands.clock), None);
        complete.broke("a");
        assert_eq!(complete.wait("a", WAITS, &hands.clock), Some(Duration::from_secs(5)));
        hands.millis.store(5_000, Ordering::SeqCst);
        assert_eq!(complete.wait("a", WAITS, &hands.clock), None);
    }

    #[test]
    fn an_old_file_need_not_wait() {
        let hands = hands();
        let mut complete = Completeness::default();
        let old = Signature { modified: 0, ..young(&hands, 1) };
        complete.observe("a", old, false, &hands.clock);
        assert_eq!(complete.wait("a", WAITS, &hands.clock), None);
        complete.broke("a");
        assert_eq!(complete.wait("a", WAITS, &hands.clock), None);
    }

    #[test]
    fn a_clock_set_back_ends_no_wait_early_and_makes_none_endless() {
        let hands = hands();
        let mut complete = Completeness::default();
        let signature = young(&hands, 1);
        hands.wall.store(0, Ordering::SeqCst);
        complete.observe("a", signature, false, &hands.clock);
        assert_eq!(complete.wait("a", WAITS, &hands.clock), Some(Duration::from_secs(2)));
        hands.millis.store(2_000, Ordering::SeqCst);
        assert_eq!(complete.wait("a", WAITS, &hands.clock), None);
    }
}
