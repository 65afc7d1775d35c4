//! The log on a real broker, whose address is in `TIDEMARK_TEST_KAFKA`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here is a failed test")]

mod contract;
mod copy;
mod members;
mod partitions;
mod place;
mod readers;
mod registry;
mod topics;
mod transactions;
