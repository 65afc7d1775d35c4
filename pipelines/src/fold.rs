//! The fold: changes to current state.
//!
//! [`decide`] is the pure function; [`cache`] its working state, which can be lost; the stage around them reads batches of
//! changes and commits everything that comes of one (states, receipts, rejections, marks, dead letters, positions) in one append.

pub mod cache;
pub mod decide;
mod ledger;
pub(crate) mod shared;
pub(crate) mod stage;
