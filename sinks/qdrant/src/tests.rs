mod embedded;
mod harness;
mod stores;
mod writers;

use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{self, Fixture};
use tidemark_test_support::Kind;

use harness::Store;

#[tokio::test]
async fn the_vector_store_keeps_the_contract() {
    let Some(url) = Kind::Qdrant.address("the_vector_store_keeps_the_contract") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Store::fresh(&url, fixture.catalog()) }).await;
    contract::points::run(&fixture, || async { Store::fresh(&url, fixture.catalog()) }).await;
}

/// The same on a server that is taken for one before 1.16.
#[tokio::test]
async fn without_conditions_it_keeps_the_contract_too() {
    let Some(url) = Kind::Qdrant.address("without_conditions_it_keeps_the_contract_too") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Store::fresh(&url, fixture.catalog()).in_order() }).await;
    contract::points::run(&fixture, || async { Store::fresh(&url, fixture.catalog()).in_order() }).await;
}
