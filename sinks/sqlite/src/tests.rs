mod harness;
mod histories;
mod roles;
mod stores;

use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{self, Fixture};

use harness::{Kind, Store};

#[tokio::test]
async fn the_relational_store_keeps_the_contract() {
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Store::fresh(Kind::Relational, fixture.catalog()) }).await;
}

#[tokio::test]
async fn the_graph_store_keeps_the_contract() {
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Store::fresh(Kind::Graph, fixture.catalog()) }).await;
}

#[tokio::test]
async fn the_vector_store_keeps_the_contract() {
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Store::fresh(Kind::Vector, fixture.catalog()) }).await;
    contract::points::run(&fixture, || async { Store::fresh(Kind::Vector, fixture.catalog()) }).await;
}

#[tokio::test]
async fn the_analytics_store_keeps_the_contract() {
    let fixture = Fixture::new(Catalog::built_in());
    contract::run(&fixture, || async { Store::fresh(Kind::Analytics, fixture.catalog()) }).await;
}
