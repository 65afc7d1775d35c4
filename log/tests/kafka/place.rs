//! Where the broker is, and a log of its own for each test there.

use std::fs::OpenOptions;
use std::io::Write;

use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use uuid::Uuid;

/// The broker's address; without one the test is skipped by its name, which is a failure with `CI=true`.
pub(crate) fn broker(test: &str) -> Option<String> {
    if let Ok(address) = std::env::var("TIDEMARK_TEST_KAFKA") {
        return Some(address);
    }
    let reason = "TIDEMARK_TEST_KAFKA is not set";
    eprintln!("skipped: {test}: {reason}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} must not be skipped with CI=true: {reason}");
    if let Some(list) = std::env::var_os("TIDEMARK_TEST_SKIPS") {
        let file = OpenOptions::new().append(true).create(true).open(list);
        file.and_then(|mut file| writeln!(file, "{test}: {reason}")).expect("the list of skipped tests takes a line");
    }
    None
}

/// A prefix that nobody else has.
pub(crate) fn prefix() -> String {
    format!("test-{}", Uuid::new_v4().simple())
}

/// A handle on the log with this prefix.
pub(crate) async fn open(broker: &str, prefix: &str) -> KafkaLog {
    KafkaLog::open(KafkaOptions::new(broker, prefix)).await.expect("the log opens")
}
