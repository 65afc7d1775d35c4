//! Time as an argument: the wall clock for names and stamps, a monotonic one for ages.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Both clocks. The wall clock may jump; no age is taken from it alone.
#[derive(Clone)]
pub struct Clock {
    /// UTC microseconds.
    pub wall: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Since some moment; never falls.
    pub monotonic: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        let start = Instant::now();
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        Self { wall: Arc::new(wall), monotonic: Arc::new(move || start.elapsed()) }
    }

    pub(crate) fn wall_micros(&self) -> i64 {
        (self.wall)()
    }

    pub(crate) fn now(&self) -> Duration {
        (self.monotonic)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}
