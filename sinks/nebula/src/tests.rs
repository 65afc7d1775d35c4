mod embedded;
pub(crate) mod harness;
mod stores;
mod takeover;

use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{self, Fixture};

use harness::{Store, skipped};

#[tokio::test]
async fn the_graph_store_keeps_the_contract() {
    if skipped("the_graph_store_keeps_the_contract") {
        return;
    }
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Store::fresh(fixture.catalog()) }).await;
}

/// The same with texts as escaped literals, as before 3.5.
#[tokio::test]
async fn with_literals_it_keeps_the_contract_too() {
    if skipped("with_literals_it_keeps_the_contract_too") {
        return;
    }
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async {
        Store::fresh(fixture.catalog()).with(|options| options.values = crate::Values::Literals)
    })
    .await;
}
