//! The file-drop connector: JSON files under an import root become changes.
//!
//! Guarantees: every record ends as applied, unchanged or rejected, also across a kill at any moment; a broken file publishes
//! nothing; nothing outside the import root is read or written; memory does not grow with files. Relies on the log, and on a fold
//! that answers with receipts. What went wrong with a record stands in its file's result, with a copy that can be dropped again.
//! Deliberately not here: whether a key exists and what a change makes of it, which is the fold's.

mod claim;
mod clock;
mod complete;
mod connector;
mod convert;
mod dry_run;
mod envelope;
mod fields;
pub mod forms;
mod inspect;
mod ledger;
mod options;
mod outcome;
mod places;
pub mod problem;
mod publish;
mod receipts;
mod rejects;
mod retention;
mod retried;
mod scan;
mod settle;
pub mod splitter;
mod stats;
pub mod templates;
mod tree;
mod unsynced;
mod watch;

pub use claim::with_receipts_moved;
pub use clock::Clock;
pub use connector::FileConnector;
pub use dry_run::{DryRunError, dry_run};
pub use ledger::{ScanAnswer, ScanRequest, answer_key, request_key};
pub use options::{FileOptions, Part, Selection};
pub use stats::{CurrentFile, FileReport, Statistics, StatisticsHandle};
