//! The vector sink on Qdrant.
