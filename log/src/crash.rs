//! Named places where a test may kill the process: between two steps whose order is what an argument rests on.
//!
//! With the feature `crash-points`, the process aborts (nothing is flushed, no destructor runs) when it comes to the place that
//! `TIDEMARK_CRASH_AT` names: `fold.before-append`, or `fold.before-append:3` for the third time. With `TIDEMARK_CRASH_BY=stop` it
//! is stopped there instead (SIGSTOP), and goes on when somebody lets it. Without the feature, which is how the program is built for
//! users, [`point`] is empty.

/// Aborts or stops the process here if a test asked for it.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_name: &str) {}

/// Aborts or stops the process here if a test asked for it.
#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static TIMES: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("TIDEMARK_CRASH_AT").ok()?;
        match text.rsplit_once(':') {
            Some((place, times)) => Some((place.to_owned(), times.parse().ok()?)),
            None => Some((text, 1)),
        }
    });
    if let Some((place, times)) = wanted
        && place == name
        && TIMES.fetch_add(1, Ordering::Relaxed) + 1 == *times
    {
        // The one thing that a test looks for, so that a place that is never reached does not pass as survived.
        eprintln!("crash point reached: {name}");
        if std::env::var("TIDEMARK_CRASH_BY").is_ok_and(|way| way == "stop") {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)
                .expect("a process may stop itself");
        } else {
            std::process::abort();
        }
    }
}
