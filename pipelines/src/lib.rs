//! Order, batching, retry and checkpoints: the engine that runs every stage the same way, and the fold.

pub mod dead_letters;
pub mod engine;
pub mod fold;
pub mod metrics;
pub mod status;
