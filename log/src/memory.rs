//! The log in memory, with a fault plan, for simulations and unit tests.

/// The log in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {}
