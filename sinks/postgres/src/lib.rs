//! The relational sink on Postgres.
