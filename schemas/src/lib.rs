//! What a record is: entity schemas, rows, their codec, changes and states.
//!
//! Guarantees: everything that a store or a person needs to know about an entity comes from one `.avsc` file; a row is
//! positional cells bound to a compiled [`Entity`]; what is encoded here decodes under every compatible schema.
//! Pure: no I/O, no clock, no async runtime (built-in files are embedded; a folder is read by the caller).

pub mod attributes;
pub mod catalog;
pub mod cell;
pub mod change;
pub mod codec;
pub mod compile;
pub mod entity;
pub mod format;
pub mod json;
pub mod key;
pub mod released;
pub mod row;
#[cfg(test)]
mod samples;
pub mod state;
pub mod text;
pub mod vocabulary;

pub use catalog::Catalog;
pub use cell::{Cell, Row};
pub use change::{Change, Operation};
pub use entity::Entity;
pub use key::Key;
pub use state::State;
