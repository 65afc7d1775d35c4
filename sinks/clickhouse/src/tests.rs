mod failures;
mod harness;
mod https;
mod tables;
mod text;
mod writers;

use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{self, Fixture};
use tidemark_test_support::Kind;

use harness::Database;

#[tokio::test]
async fn the_analytics_store_keeps_the_contract() {
    let Some(url) = Kind::ClickHouse.address("the_analytics_store_keeps_the_contract") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Database::fresh(&url, fixture.catalog()) }).await;
}
