mod alike;
mod harness;
mod injection;
mod stores;
mod writers;

use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{self, Fixture};
use tidemark_test_support::Kind;

use harness::Store;

#[tokio::test]
async fn the_postgres_store_keeps_the_contract() {
    let Some(url) = Kind::Postgres.address("the_postgres_store_keeps_the_contract") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Store::fresh(&url, fixture.catalog()) }).await;
}
