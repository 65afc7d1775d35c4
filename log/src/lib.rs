//! The log: the port that everything else sees, its adapters on SQLite and on Apache Kafka, and an in-memory one for simulations.
//!
//! Guarantees: an append with consumer positions is all or nothing; offsets of a partition rise; a record that was
//! read once is read again at the same offset until retention or compaction removes it. A log has a random id and a
//! generation, so that nobody takes one log for another.

mod blocking;
pub mod contract;
pub mod crash;
pub mod embedded;
pub mod kafka;
pub mod membership;
pub mod memory;
pub mod partition;
pub mod port;
pub mod record;
mod refusal;
mod share;
pub mod sqlite;
pub mod topics;

pub use membership::{Assignment, Membership};
pub use port::{Bounds, ConsumerPosition, Log, LogError, LogIdentity, ReadLimit, Retention, TopicSchema, TopicSpec};
pub use record::{Append, RECORD_BYTES_MAX, RecordBatch, RecordRef};
pub use share::Share;
pub use topics::Topics;

/// Tells the time, in UTC microseconds.
pub type Clock = std::sync::Arc<dyn Fn() -> i64 + Send + Sync>;
