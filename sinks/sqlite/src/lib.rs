//! The four SQLite sinks.
