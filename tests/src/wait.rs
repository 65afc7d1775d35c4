//! Waiting for a condition, with a deadline; nothing here sleeps a fixed time and hopes.

use std::time::{Duration, Instant};

/// How long a looked-for condition may take on a loaded machine before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks: long enough not to steal the machine from what is tested.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks until `look` finds something.
///
/// # Panics
/// When nothing was found in time, naming `what`.
pub fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Lets time pass where time itself is the input (a file that grows slowly, a paced load).
pub fn pass(duration: Duration) {
    let end = Instant::now() + duration;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
