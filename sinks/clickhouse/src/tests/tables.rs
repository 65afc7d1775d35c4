//! What the store looks like: statements, types, migration, and what a key's rows become.

use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::views::AnalyticsView;
use tidemark_test_support::Kind;

use super::harness::Database;
use crate::{ddl, views};

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

fn vouchers(attributes: &str, fields: &str) -> Fixture {
    let text = format!(
        r#"{{"type":"record","name":"voucher","namespace":"tidemark","tidemark":{{"title":"券","key":["shop","code"]{attributes}}},
            "fields":[{{"name":"shop","type":"string","title":"店","required":true}},
            {{"name":"code","type":"string","title":"券号","required":true}}{fields}]}}"#
    );
    Fixture::new(Catalog::with_files(&[("voucher.avsc".to_owned(), text)]).unwrap())
}

fn text_field(name: &str, more: &str) -> String {
    format!(r#",{{"name":"{name}","type":["null","string"],"default":null,"title":"{name}"{more}}}"#)
}

#[test]
fn the_statements_of_tables_and_views() {
    let catalog = Catalog::built_in();
    let mut statements = Vec::new();
    for name in ["customer", "consumption", "catalog_relation"] {
        statements.extend(ddl(&catalog, catalog.entity(name).unwrap()));
    }
    statements.extend(AnalyticsView::ALL.into_iter().map(|view| views::made(view, -5 * 3600).ddl()));
    insta::assert_snapshot!(statements.join(";\n\n"));
}

#[test]
fn a_table_is_parted_by_a_field_of_its_key_or_not_at_all() {
    let statement = |attributes: &str| {
        let fixture = vouchers(attributes, &text_field("colour", ""));
        ddl(fixture.catalog(), fixture.entity("voucher"))[0].clone()
    };
    assert!(statement(r#","analytics":{"partition_by":"shop"}"#).contains("PARTITION BY `shop`"));
    assert!(!statement(r#","analytics":{"partition_by":"colour"}"#).contains("PARTITION BY"), "a colour may change");
    assert!(statement(r#","analytics":{"order_by":["code","colour"]}"#).contains("ORDER BY (`code`, `key`)"));
    assert!(statement("").contains("ORDER BY (`shop`, `code`, `key`)"));
}

#[tokio::test]
async fn columns_have_their_types() {
    let Some(url) = Kind::ClickHouse.address("columns_have_their_types") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    database.sink().open(LOG, &Share::All).await.unwrap();
    let sql = format!(
        "SELECT name, type FROM system.columns WHERE database = '{}' AND table = 'consumption_versions' AND name IN \
         ('order_number', 'order_date', 'order_type', 'lines', 'net_amount', 'source_is_new_customer', 'changed_at', \
         'lines_item.item_type', 'lines_item.discount_rate') ORDER BY name",
        database.name
    );
    assert_eq!(
        database.query(&sql).await,
        [
            "changed_at|DateTime64(6, 'UTC')",
            "lines|Nullable(String)",
            "lines_item.discount_rate|Array(Nullable(Decimal(5, 4)))",
            "lines_item.item_type|Array(LowCardinality(Nullable(String)))",
            "net_amount|Nullable(Decimal(18, 2))",
            "order_date|Nullable(Date32)",
            "order_number|String",
            "order_type|LowCardinality(Nullable(String))",
            "source_is_new_customer|Nullable(Bool)",
        ]
    );
}

#[tokio::test]
async fn an_order_date_corrected_across_months_leaves_one_row() {
    let Some(url) = Kind::ClickHouse.address("an_order_date_corrected_across_months_leaves_one_row") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut sink = database.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let order = |date: &str, version| {
        let row = format!(
            r#"{{"order_number":"O1","institution_code":"BJ","customer_code":"C1","order_date":"{date}","lines":[],
                "net_amount":"100.00","payment_status":"PAID"}}"#
        );
        fixture.state("consumption", &row, version)
    };
    for (from, date) in (0..).zip(["2026-01-31", "2026-02-01", "2025-12-31"]) {
        sink.apply(&fixture.batch("consumption", from, &[order(date, from + 1)])).await.unwrap();
    }
    assert_eq!(database.query("SELECT order_date, orders, revenue FROM revenue_daily").await, ["2025-12-31|1|100.00"]);
    database.execute("OPTIMIZE TABLE consumption_versions FINAL").await;
    assert_eq!(
        database.query("SELECT order_date, version FROM consumption_versions").await,
        ["2025-12-31|3"],
        "also once merged"
    );
}

#[tokio::test]
async fn a_repeated_insert_counts_once() {
    let Some(url) = Kind::ClickHouse.address("a_repeated_insert_counts_once") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut sink = database.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    database.execute("SYSTEM STOP MERGES consumption_versions").await;
    let batch = fixture.batch("consumption", 0, &[fixture.order("O1", "C1", &["A", "B"], 1)]);
    sink.apply(&batch).await.unwrap();
    // As if the process had ended after the rows and before the positions.
    database.execute("TRUNCATE TABLE tidemark_position").await;
    assert_eq!(sink.open(LOG, &Share::All).await.unwrap(), []);
    assert_eq!(sink.apply(&batch).await.unwrap().written, 1);
    assert_eq!(database.query("SELECT count() FROM consumption_versions").await, ["2"], "the rows are there twice");
    assert_eq!(database.query("SELECT orders, revenue FROM revenue_by_department").await, ["1|200.00"]);
    assert_eq!(
        database.query("SELECT item_code, orders, revenue FROM revenue_by_product ORDER BY 1").await,
        ["A|1|100.00", "B|1|100.00"]
    );
    assert_eq!(database.query("SELECT count() FROM consumption_line").await, ["2"]);
}

#[tokio::test]
async fn a_new_field_adds_a_column_and_an_old_one_keeps_its_own() {
    let Some(url) = Kind::ClickHouse.address("a_new_field_adds_a_column_and_an_old_one_keeps_its_own") else { return };
    let lines = |fields: &str| {
        format!(
            r#",{{"name":"uses","default":null,"title":"用","type":["null",{{"type":"array","items":{{"type":"record","name":"use",
            "fields":[{{"name":"day","type":["null","string"],"default":null,"title":"日"}}{fields}]}}}}]}}"#
        )
    };
    let old = vouchers("", &format!("{}{}{}", text_field("colour", ""), text_field("status", ""), lines("")));
    let motto = format!("{}{}", text_field("motto", ""), text_field("status", r#","vocabulary":"status""#));
    let new = vouchers("", &format!("{motto}{}", lines(&text_field("place", ""))));
    let mut database = Database::fresh(&url, old.catalog());
    let mut sink = database.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let row = |more: &str, code: &str| format!(r#"{{"shop":"S","code":"{code}",{more}}}"#);
    let first = [
        old.state("voucher", &row(r#""colour":"红","status":"ACTIVE","uses":[{"day":"一"},{"day":"二"}]"#, "V1"), 1),
        old.state("voucher", &row(r#""colour":"蓝""#, "V2"), 2),
    ];
    sink.apply(&old.batch("voucher", 0, &first)).await.unwrap();
    drop(sink);

    database.catalog = new.catalog().clone();
    let mut sink = database.sink();
    assert_eq!(sink.open(LOG, &Share::All).await.unwrap()[0].next, 0, "read again: it is derived otherwise");
    assert_eq!(
        database.query("SELECT key, motto, status FROM voucher ORDER BY key").await,
        ["S|V1|null|ACTIVE", "S|V2|null|null"],
        "rows of the old schema can be read before they are written again"
    );
    assert_eq!(database.query("SELECT position, day, place FROM use ORDER BY 1").await, ["1|一|null", "2|二|null"]);
    let again = [
        new.state("voucher", &row(r#""motto":"美","status":"ACTIVE","uses":[{"day":"一","place":"京"}]"#, "V1"), 1),
        new.state("voucher", &row(r#""motto":"丽""#, "V2"), 2),
    ];
    sink.apply(&new.batch("voucher", 0, &again[..1])).await.unwrap();
    assert_eq!(sink.open(LOG, &Share::All).await.unwrap()[0].next, 1, "a second start goes on with the refresh");
    sink.apply(&new.batch("voucher", 1, &again[1..])).await.unwrap();
    assert_eq!(
        database.query("SELECT key, motto FROM voucher ORDER BY key").await,
        ["S|V1|美", "S|V2|丽"],
        "of one version the later"
    );
    assert_eq!(database.query("SELECT position, day, place FROM use").await, ["1|一|京"]);
    assert_eq!(database.query("SELECT count() FROM system.columns WHERE table = 'voucher_versions' AND name = 'colour' AND database = currentDatabase()").await, ["1"]);
    let repeat = sink.apply(&new.batch("voucher", 2, &again)).await.unwrap();
    assert_eq!(repeat.written, 0, "afterwards only newer versions are written");
}

#[tokio::test]
async fn a_column_of_another_type_stops_the_store() {
    let Some(url) = Kind::ClickHouse.address("a_column_of_another_type_stops_the_store") else { return };
    let fixture = vouchers("", &text_field("colour", ""));
    let database = Database::fresh(&url, fixture.catalog());
    database.sink().open(LOG, &Share::All).await.unwrap();
    database.execute("ALTER TABLE voucher_versions MODIFY COLUMN colour Nullable(FixedString(3))").await;
    let error = database.sink().open(LOG, &Share::All).await.unwrap_err();
    assert!(matches!(error, SinkError::Fatal { .. }), "{error:?}");
    let text = error.to_string().replace(&database.name, "db").replace(&url, "http://server");
    assert_eq!(
        text,
        "column `colour` of voucher_versions in database db at http://server is Nullable(FixedString(3)) and must be \
         Nullable(String); `tidemark replay analytics` empties it and fills it again from the log"
    );
}

#[tokio::test]
async fn what_a_reader_chose_stays_and_the_levels_follow_the_configuration() {
    let Some(url) = Kind::ClickHouse.address("what_a_reader_chose_stays_and_the_levels_follow_the_configuration") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    database.sink().open(LOG, &Share::All).await.unwrap();
    database.execute("ALTER TABLE tidemark_parameter UPDATE today = '2026-08-01' WHERE id = 1 SETTINGS mutations_sync = 2").await;
    let levels = vec!["O'RLY".to_owned()];
    crate::analytics(database.options(), fixture.catalog().clone(), levels, 0).open(LOG, &Share::All).await.unwrap();
    assert_eq!(
        database.query("SELECT today, vip_levels[1], length(vip_levels), inactive_days FROM tidemark_parameter FINAL").await,
        ["2026-08-01|O'RLY|1|180"]
    );
}
