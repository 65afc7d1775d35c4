//! What the end-to-end tests and the bench share: running the binary as its users do, reading what it leaves behind, random
//! inputs, and an oracle that says what must be there.
//!
//! Everything here looks at `tidemark` from outside: command line, import tree, result files, the SQLite files of the four
//! stores, HTTP. The one exception is [`second`], which plays a second source through the log's library.

#![allow(clippy::panic, reason = "all of it is test code: what is not as it must be ends the test, with both sides named")]

pub mod arena;
pub mod binary;
pub mod bulk;
pub mod change;
pub mod files;
pub mod generator;
pub mod judge;
pub mod machine;
pub mod on_servers;
pub mod oracle;
pub mod place;
pub mod random;
pub mod readers;
pub mod results;
pub mod running;
pub mod runtime;
pub mod second;
pub mod server_stores;
pub mod servers;
pub mod stores;
pub mod wait;
