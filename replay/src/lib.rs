//! Stores built again from the log: the log is the truth, so a store is never mended by hand.
//!
//! The plain form: a store is emptied where it stands and filled again from the state topics.
//! 1. [`Replay::ask`] writes down on the progress topic that a new *build* of the store is wanted ([`Build`], step `asked`).
//! 2. Whoever runs the store's sink has it wrapped in a [`ReplayingSink`]. It notices, also while it has nothing to do; one worker
//!    empties the store, which makes every writer that still runs stale, and writes that down (step `emptied`).
//! 3. All workers open the store anew, find no positions, and fill their shares.
//! 4. [`Replay::look`] says how far that is; the command that asked writes down the end (step `filled`).
//!
//! Guarantees: what was asked for is done, by the next start of the sink if not now. Killed between any two steps, the next start
//! goes on where it stopped; emptying twice costs a second refill and loses nothing, since positions go with the rows.
//! Relies on the sink port (`reset`, and that an emptied store makes former writers stale) and on one worker that holds partition
//! number 0.
//! Deliberately not here: running the sink, which is the engine's, and giving up, which is the caller's.

mod build;
mod builds;
mod replay;
mod sink;
#[cfg(test)]
mod tests;

pub use build::{Build, Step, StoreName, tells_of_build};
pub use builds::Builds;
pub use replay::{Replay, ReplayError, Stand, Wish};
pub use sink::ReplayingSink;
