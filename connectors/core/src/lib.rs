//! What every connector shares: the port that the engine drives, progress records, source numbers, receipts.

pub mod port;
pub mod progress;
pub mod receipt;

pub use port::{Connector, ConnectorError, Step};
