//! The graph sink on NebulaGraph, with a small client of its own.

mod client;
mod failure;
mod ngql;
