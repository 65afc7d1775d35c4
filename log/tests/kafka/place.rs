//! A log of its own for each test on the broker.

use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use uuid::Uuid;

/// A prefix that nobody else has.
pub(crate) fn prefix() -> String {
    format!("test-{}", Uuid::new_v4().simple())
}

/// A handle on the log with this prefix.
pub(crate) async fn open(broker: &str, prefix: &str) -> KafkaLog {
    KafkaLog::open(KafkaOptions::new(broker, prefix)).await.expect("the log opens")
}
