//! The analytics sink on ClickHouse.
