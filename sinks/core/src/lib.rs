//! What every sink shares: the port, batches of after-images, references as tables show them, embedders, text templates, points
//! and the search for them, the gate of stores that have none, and the contract suites that each adapter passes.

pub mod batch;
pub mod contract;
pub mod embedder;
pub mod graph;
pub mod points;
pub mod port;
pub mod references;
pub mod refused;
pub mod report;
pub mod search;
pub mod sql;
pub mod template;
pub mod tls;
pub mod versions;
pub mod views;

pub use batch::{KeyOrder, SinkBatch, SinkRow, TopicBatch};
pub use port::{Applied, RejectedRow, Role, Sink, SinkError, StorePosition, StoreReport};
