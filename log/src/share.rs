//! Which partitions a worker holds: the same numbers of every topic of a kind, so that what belongs to one key is in one hand.

use std::collections::BTreeSet;

/// The partition numbers that one worker of a stage holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// All of them: the stage has one worker.
    All,
    /// Only these; others hold the rest.
    Partitions(BTreeSet<u32>),
}

impl Share {
    /// Whether this partition is among them.
    pub fn holds(&self, partition: u32) -> bool {
        match self {
            Self::All => true,
            Self::Partitions(numbers) => numbers.contains(&partition),
        }
    }
}
