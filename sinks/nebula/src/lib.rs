//! The graph sink on NebulaGraph, with a small client of its own.
