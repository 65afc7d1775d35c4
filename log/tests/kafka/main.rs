//! The log on a real broker, whose address is in `TIDEMARK_TEST_KAFKA`.

mod contract;
mod place;
