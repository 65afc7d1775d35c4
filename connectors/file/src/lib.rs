//! The file-drop connector.

mod convert;
mod fields;
pub mod forms;
pub mod problem;
pub mod splitter;
