mod embedded;
pub(crate) mod harness;
mod late;
mod stores;
mod takeover;

use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{self, Fixture};
use tidemark_test_support::Kind;

use harness::Store;

#[tokio::test]
async fn the_graph_store_keeps_the_contract() {
    let Some(address) = Kind::Nebula.address("the_graph_store_keeps_the_contract") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Store::fresh(&address, fixture.catalog()) }).await;
}

/// The same with texts as escaped literals, as before 3.5.
#[tokio::test]
async fn with_literals_it_keeps_the_contract_too() {
    let Some(address) = Kind::Nebula.address("with_literals_it_keeps_the_contract_too") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async {
        Store::fresh(&address, fixture.catalog()).with(|options| options.values = crate::Values::Literals)
    })
    .await;
}
