//! What each role makes of rows.

use std::path::PathBuf;
use std::sync::Arc;

use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tidemark_sink_core::contract::points::Counting;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_sink_core::search::Query;
use tidemark_sink_core::views::AnalyticsView;

use super::harness::{Kind, Store};
use crate::{analytics, graph, relational, vector as vector_store};

async fn filled(kind: Kind, fixture: &Fixture) -> (Store, Box<dyn Sink>) {
    let store = Store::fresh(kind, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let order = fixture.order("O1", "C1", &["BOTOX|1", "FILLER"], 1);
    let project = fixture.state("project", r#"{"project_code":"FILLER","name":"玻尿酸填充","standard_price":"3980.00"}"#, 1);
    let relation = fixture.state(
        "catalog_relation",
        r#"{"source_type":"PROJECT","source_code":"FILLER","target_type":"PRODUCT","target_code":"P1","relation_type":"SIMILAR","relation_level":3}"#,
        1,
    );
    let mut batch = fixture.batch("customer", 0, &[fixture.customer("C1", "张\\\"三", 1)]);
    batch.parts.push(fixture.part("consumption", 0, &[order]));
    batch.parts.push(fixture.part("project", 0, &[project]));
    batch.parts.push(fixture.part("catalog_relation", 0, &[relation]));
    sink.apply(&batch).await.unwrap();
    (store, sink)
}

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

#[test]
fn the_statements_of_all_tables_and_views() {
    let catalog = Catalog::built_in();
    let mut text = String::new();
    let mut section = |name: &str, statements: Vec<String>| {
        text.push_str(&format!("-- {name}\n{}\n\n", statements.join(";\n")));
    };
    for name in ["customer", "consumption", "catalog_relation"] {
        section(&format!("relational {name}"), relational::ddl(catalog.entity(name).unwrap()));
    }
    section("relational view", vec![relational::dangling_reference_ddl(&catalog)]);
    section("graph", graph::ddl());
    section("vector", vec![vector_store::ddl().to_owned()]);
    section("analytics consumption", analytics::ddl(&catalog, catalog.entity("consumption").unwrap()));
    section("analytics views", AnalyticsView::ALL.iter().map(|view| analytics::views::ddl(*view, 8 * 3600)).collect());
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn relational_cells_have_their_text_forms_and_dangling_references_are_seen() {
    let (store, _sink) = filled(Kind::Relational, &fixture()).await;
    assert_eq!(
        store.query(
            "SELECT key, version, tenant, deleted_at, changed_at, person_name, tags, first_visit_date, email FROM \
                     (SELECT *, person_email AS email FROM customer)"
        ),
        [r#"C1|1|BJ-HA-001|null|2026-01-10T02:30:01Z|张"三|["敏感肌","抗衰老"]|2026-01-10|null"#]
    );
    assert_eq!(store.query("SELECT net_amount, typeof(net_amount) FROM consumption"), ["200.00|text"]);
    assert_eq!(
        store.query("SELECT entity, key, field, target_entity, target_key FROM dangling_reference ORDER BY 1, 3, 5"),
        [
            "consumption|O1|doctor_code|staff|DOC-1",
            "consumption|O1|institution_code|institution|BJ-HA-001",
            r"consumption|O1|lines.item_code|project|BOTOX\|1",
            "customer|C1|consultant_code|staff|CONSULTANT-1",
            "customer|C1|institution_code|institution|BJ-HA-001",
        ]
    );
}

#[tokio::test]
async fn an_update_with_and_without_changed_references_moves_the_indexes() {
    let fixture = fixture();
    let (store, mut sink) = filled(Kind::Relational, &fixture).await;
    let row = |consultant: &str, name: &str, version| {
        let row = format!(r#"{{"customer_code":"C1","consultant_code":{consultant},"person":{{"name":"{name}"}}}}"#);
        fixture.state("customer", &row, version)
    };
    for (from, state, found) in
        [(1, row("\"X\"", "李", 2), "李|X"), (2, row("\"X\"", "王", 3), "王|X"), (3, row("null", "王", 4), "王|null")]
    {
        assert_eq!(sink.apply(&fixture.batch("customer", from, &[state])).await.unwrap().written, 1);
        assert_eq!(store.query("SELECT person_name, consultant_code FROM customer"), [found]);
    }
    assert_eq!(store.query("PRAGMA integrity_check"), ["ok"]);
}

#[tokio::test]
async fn graph_edges_belong_to_their_holder() {
    let fixture = fixture();
    let (store, mut sink) = filled(Kind::Graph, &fixture).await;
    let edges = "SELECT src, type, dst, rank FROM edge WHERE deleted_at IS NULL ORDER BY 1, 2, 3";
    let relation = "catalog_relation:PROJECT|FILLER|PRODUCT|P1|SIMILAR";
    let relation_edge = format!("project:FILLER|similar|product:P1|{}", tidemark_sink_core::graph::owner_rank(relation));
    assert_eq!(
        store.query(edges),
        [
            "consumption:O1|bought_by_customer|customer:C1|0",
            r"consumption:O1|includes_item|project:BOTOX\|1|1",
            "consumption:O1|includes_item|project:FILLER|2",
            "consumption:O1|took_place_at_institution|institution:BJ-HA-001|0",
            "consumption:O1|treated_by_doctor|staff:DOC-1|0",
            "customer:C1|belongs_to_institution|institution:BJ-HA-001|0",
            "customer:C1|served_by_consultant|staff:CONSULTANT-1|0",
            &relation_edge,
        ]
    );
    assert_eq!(
        store.query("SELECT vid, props FROM vertex WHERE tag = 'project'"),
        [r#"project:FILLER|{"project_code":"FILLER","name":"玻尿酸填充","standard_price":"3980.00"}"#]
    );
    let customer = fixture.customer("C1", "张三", 1);
    sink.apply(&fixture.batch("customer", 1, &[fixture.deleted(&customer, 2)])).await.unwrap();
    let project = fixture.state("project", r#"{"project_code":"FILLER"}"#, 1);
    sink.apply(&fixture.batch("project", 1, &[fixture.deleted(&project, 2)])).await.unwrap();
    assert!(store.query(edges).iter().all(|edge| !edge.starts_with("customer:C1|")), "a deleted record's edges go");
    assert!(store.query(edges).contains(&relation_edge), "an edge that is a record of its own stays with its end's deletion");
    assert!(store.query(edges)[0].ends_with("customer:C1|0"), "edges to a deleted record stay");
    let state = fixture.order("O1", "C9", &["FILLER"], 2);
    sink.apply(&fixture.batch("consumption", 1, &[state])).await.unwrap();
    assert_eq!(
        store.query(edges)[..2],
        ["consumption:O1|bought_by_customer|customer:C9|0", "consumption:O1|includes_item|project:FILLER|1"]
    );
}

#[tokio::test]
async fn the_ends_of_an_edge_may_stand_in_a_record() {
    let link = r#"{
      "type": "record", "name": "link", "tidemark": {"title": "链接", "key": "link_code",
        "graph": {"edge": {"from": ["ends.from_type", "ends.from_code"], "to": ["ends.to_type", "ends.to_code"]}}},
      "fields": [
        {"name": "link_code", "type": "string", "title": "编号", "required": true},
        {"name": "ends", "title": "两端", "default": null, "type": ["null", {"type": "record", "name": "link_ends", "fields": [
          {"name": "from_type", "type": ["null", "string"], "default": null, "title": "源类型"},
          {"name": "from_code", "type": ["null", "string"], "default": null, "title": "源代码"},
          {"name": "to_type", "type": ["null", "string"], "default": null, "title": "目标类型"},
          {"name": "to_code", "type": ["null", "string"], "default": null, "title": "目标代码"}]}]}
      ]}"#;
    let fixture = Fixture::new(Catalog::with_files(&[("link.avsc".to_owned(), link.to_owned())]).unwrap());
    let store = Store::fresh(Kind::Graph, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let row = r#"{"link_code":"L1","ends":{"from_type":"CUSTOMER","from_code":"C1","to_type":"PROJECT","to_code":"P1"}}"#;
    let applied = sink.apply(&fixture.batch("link", 0, &[fixture.state("link", row, 1)])).await.unwrap();
    assert_eq!(applied.written, 1);
    assert_eq!(store.query("SELECT src, type, dst FROM edge"), ["customer:C1|link|project:P1"]);
}

#[tokio::test]
async fn an_edge_entity_is_gated_by_its_own_version() {
    let fixture = fixture();
    let (store, mut sink) = filled(Kind::Graph, &fixture).await;
    let row = |level: u8, version| {
        let row = format!(
            r#"{{"source_type":"PROJECT","source_code":"FILLER","target_type":"PRODUCT","target_code":"P1","relation_type":"SIMILAR","relation_level":{level}}}"#
        );
        fixture.state("catalog_relation", &row, version)
    };
    let edge = "SELECT props ->> 'relation_level', version, deleted_at IS NOT NULL FROM edge WHERE owner IS NOT NULL";
    for (from, state, written, found) in [
        (1, row(5, 3), 1, "5|3|0"),
        (2, row(4, 2), 0, "5|3|0"),
        (3, fixture.deleted(&row(5, 3), 4), 1, "5|4|1"),
        (4, row(2, 3), 0, "5|4|1"),
        (5, row(1, 5), 1, "1|5|0"),
    ] {
        assert_eq!(sink.apply(&fixture.batch("catalog_relation", from, &[state])).await.unwrap().written, written);
        assert_eq!(store.query(edge), [found]);
    }
    assert_eq!(store.query("SELECT count(*) FROM vertex WHERE tag = 'catalog_relation'"), ["0"]);
}

#[tokio::test]
async fn search_explains_what_is_missing() {
    let fixture = fixture();
    let (store, _sink) = filled(Kind::Vector, &fixture).await;
    let query = || Query { collection: "customer_profiles".to_owned(), text: "x".to_owned(), limit: 1, filters: Vec::new() };
    let told =
        async |path: PathBuf, embedder: Arc<dyn Embedder>| crate::search(path, embedder).search(query()).await.unwrap_err();
    let errors = [
        told(store.path(), Counting::new("counting", 256)).await.to_string(),
        told(store.path().with_file_name("no.db"), Arc::new(NgramEmbedder)).await.to_string(),
    ];
    let text = errors.join("\n").replace(store.path().parent().unwrap().to_str().unwrap(), "data");
    insta::assert_snapshot!(text, @"
    data/store.db was filled by the embedder `ngram-256/1`, the configuration names `counting`; run `tidemark up` to fill it anew
    data/no.db is not there; run `tidemark up` once to fill it
    ");
}

#[tokio::test]
async fn the_views_add_up_to_the_fen() {
    let fixture = fixture();
    let store = Store::fresh(Kind::Analytics, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let order = |number: &str, customer: &str, date: &str, lines: &[(&str, &str)], refund: &str, status: &str| {
        let items: Vec<String> = (1..)
            .zip(lines)
            .map(|(line, (item, net))| {
                format!(r#"{{"line_no":{line},"item_type":"PROJECT","item_code":"{item}","quantity":1,"net_amount":"{net}"}}"#)
            })
            .collect();
        let net: u64 = lines.iter().map(|(_, net)| net.replace('.', "").parse::<u64>().unwrap()).sum();
        let net = format!("{}.{:02}", net / 100, net % 100);
        let row = format!(
            r#"{{"order_number":"{number}","institution_code":"BJ","customer_code":"{customer}","order_date":"{date}","lines":[{}],
                "gross_amount":"{net}","discount_amount":"0.00","net_amount":"{net}","refund_amount":{refund},
                "payment_status":"{status}","department":"皮肤科"}}"#,
            items.join(",")
        );
        fixture.state("consumption", &row, 1)
    };
    let gone = order("O9", "C1", "2026-01-10", &[("X", "1000.00")], "null", "PAID");
    let orders = [
        order("O1", "C1", "2026-01-10", &[("A", "0.10"), ("B", "0.20"), ("A", "0.03")], "\"0.10\"", "PARTIALLY_REFUNDED"),
        order("O2", "C1", "2026-03-01", &[("A", "90071992547409.93")], "null", "PAID"),
        order("O3", "C2", "2026-01-10", &[("B", "5.00")], "\"5.50\"", "PAID"),
        order("O4", "C2", "2026-01-11", &[("B", "7.00")], "null", "PENDING"),
        fixture.deleted(&gone, 2),
    ];
    let customer = |code: &str, level: &str, first: &str, last: &str| {
        let row = format!(
            r#"{{"customer_code":"{code}","institution_code":"BJ","vip_level":"{level}","first_visit_date":{first},"last_visit_date":{last}}}"#
        );
        fixture.state("customer", &row, 1)
    };
    let customers = [
        customer("C1", "GOLD", "null", "\"2025-01-01\""),
        customer("C2", "NORMAL", "null", "\"2026-02-01\""),
        customer("C3", "DIAMOND", "\"2026-01-31\"", "null"),
        customer("C4", "GOLD", "null", "null"),
    ];
    let mut batch = fixture.batch("consumption", 0, &orders);
    batch.parts.push(fixture.part("customer", 0, &customers));
    sink.apply(&batch).await.unwrap();
    assert_eq!(
        store.query("SELECT order_date, orders, revenue FROM revenue_daily ORDER BY 1"),
        ["2026-01-10|2|-0.27", "2026-03-01|1|90071992547409.93"]
    );
    assert_eq!(store.query("SELECT department, orders, revenue FROM revenue_by_department"), ["皮肤科|3|90071992547409.66"]);
    // 0.10 of refund over 0.10, 0.20 and 0.03: 3, 6 and 1 fen.
    assert_eq!(
        store.query("SELECT item_code, orders, quantity, revenue FROM revenue_by_product ORDER BY 1"),
        ["A|2|3|90071992547410.02", "B|2|2|-0.36"]
    );
    assert_eq!(
        store.query("SELECT customer_code, orders, revenue, last_order_date FROM vip_consumption ORDER BY 1"),
        ["C1|2|90071992547410.16|2026-03-01", "C3|0|0.00|null", "C4|0|0.00|null"]
    );
    assert_eq!(store.query("SELECT month, new_customers, with_second, rate FROM second_purchase_rate"), ["2026-01|2|1|0.5"]);
    store.connection().execute_batch("UPDATE tidemark_parameter SET today = '2026-07-30'").unwrap();
    let inactive = "SELECT customer_code, last_active_date, inactive_days FROM inactive_customers ORDER BY 1";
    assert_eq!(store.query(inactive), Vec::<String>::new(), "180 days sharp are not more than 180");
    store.connection().execute_batch("UPDATE tidemark_parameter SET today = '2026-08-01'").unwrap();
    assert_eq!(store.query(inactive), ["C2|2026-02-01|181", "C3|2026-01-31|182"]);
    sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(store.query("SELECT today FROM tidemark_parameter"), ["2026-08-01"], "what a reader chose stays");
}

#[test]
fn a_day_begins_when_it_does_in_the_zone() {
    let west = analytics::views::ddl(AnalyticsView::InactiveCustomers, -5 * 3600);
    assert!(west.contains("date('now', '-18000 seconds')"), "{west}");
}

#[tokio::test]
async fn lines_are_replaced_whole() {
    let fixture = fixture();
    let (store, mut sink) = filled(Kind::Analytics, &fixture).await;
    let lines = "SELECT key, position, item_code, net_amount, tenant FROM consumption_line ORDER BY 1, 2";
    assert_eq!(store.query(lines), ["O1|1|BOTOX|1|100.00|BJ-HA-001", "O1|2|FILLER|100.00|BJ-HA-001"]);
    sink.apply(&fixture.batch("consumption", 1, &[fixture.order("O1", "C1", &["X"], 2)])).await.unwrap();
    assert_eq!(store.query(lines), ["O1|1|X|100.00|BJ-HA-001"]);
    sink.apply(&fixture.batch("consumption", 2, &[fixture.deleted(&fixture.order("O1", "C1", &["X"], 2), 3)])).await.unwrap();
    assert_eq!(store.query(lines), Vec::<String>::new());
}
