//! Waiting for async work from tests that are not async: clients of servers, and the log's library.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// Runs a future to its end; what it leaves running goes on.
///
/// # Panics
/// Within another runtime: tests of the whole program have none.
pub fn finish<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")).block_on(work)
}
