//! The two analytics stores tell the same: on the same histories every view has the same columns and the same figures in SQLite and
//! in ClickHouse, to the fen.

#![allow(clippy::unwrap_used, reason = "test code: what is not as it must be ends the test")]

use std::path::Path;

use clickhouse::Client;
use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::json;
use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_clickhouse::ClickHouseOptions;
use tidemark_sink_core::contract::{Fixture, LOG};
use tidemark_sink_core::views::AnalyticsView;
use tidemark_sink_core::{Sink, SinkBatch};
use tidemark_test_support::Kind;
use tidemark_tests::random::Random;

const CUSTOMERS: u64 = 60;
const ORDERS: u64 = 400;
/// How ClickHouse writes a null in JSON strings.
const NULL: &str = "ᴺᵁᴸᴸ";

/// A row of a view: its values as text.
type Row = Vec<String>;

#[tokio::test]
async fn both_analytics_stores_give_the_same_figures() {
    let Some(url) = Kind::ClickHouse.address("both_analytics_stores_give_the_same_figures") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("analytics.db");
    let database = format!("tidemark_test_figures_{}", std::process::id());
    let client = Client::default().with_url(&url).with_database(&database);
    let levels = vec!["GOLD".to_owned(), "DIAMOND".to_owned()];
    let options = ClickHouseOptions::new(&url, &database);
    let mut sinks: [Box<dyn Sink>; 2] = [
        tidemark_sink_sqlite::analytics(file.clone(), fixture.catalog().clone(), levels.clone(), 8 * 3600),
        tidemark_sink_clickhouse::analytics(options, fixture.catalog().clone(), levels, 8 * 3600),
    ];
    let batches = history(&fixture, &mut Random::new(20_261_121));
    for sink in &mut sinks {
        sink.open(LOG, &Share::All).await.unwrap();
        for batch in &batches {
            sink.apply(batch).await.unwrap();
        }
    }
    let today = "UPDATE tidemark_parameter SET today = '2026-07-30', inactive_days = 150, second_purchase_days = 60";
    Connection::open(&file).unwrap().execute_batch(today).unwrap();
    let today = "ALTER TABLE tidemark_parameter UPDATE today = '2026-07-30', inactive_days = 150, second_purchase_days = 60 WHERE id = 1 \
                 SETTINGS mutations_sync = 2";
    client.query_raw(today).execute().await.unwrap();

    for view in AnalyticsView::ALL.iter().map(|view| view.name()).chain(["consumption_line"]) {
        let (columns, rows) = of_sqlite(&file, view);
        let (other_columns, other_rows) = of_clickhouse(&client, view).await;
        assert_eq!(other_columns, columns, "columns of {view}");
        assert!(!rows.is_empty(), "{view} has something to compare");
        assert_eq!(other_rows.len(), rows.len(), "rows of {view}");
        for (one, other) in rows.iter().zip(&other_rows) {
            assert_eq!(other, one, "{view} ({})", columns.join(", "));
        }
    }
    client.query_raw(&format!("DROP DATABASE {database} SYNC")).execute().await.unwrap();
}

/// Customers and orders, changed and deleted again, in several batches.
fn history(fixture: &Fixture, random: &mut Random) -> Vec<SinkBatch> {
    let customers: Vec<State<'static>> = (0..CUSTOMERS).map(|number| customer(fixture, random, number, number + 1)).collect();
    let mut orders: Vec<State<'static>> = (0..ORDERS).map(|number| order(fixture, random, number, number + 1)).collect();
    for version in ORDERS + 1..ORDERS + 200 {
        let number = random.below(ORDERS);
        let last = orders.iter().rfind(|state| state.key == format!("O{number}")).unwrap().clone();
        orders.push(if random.below(4) == 0 { fixture.deleted(&last, version) } else { order(fixture, random, number, version) });
    }
    let mut batches = vec![fixture.batch("customer", 0, &customers)];
    let gone = fixture.deleted(&customers[7], CUSTOMERS + 1);
    batches.push(fixture.batch("customer", CUSTOMERS, &[gone]));
    for (index, some) in orders.chunks(97).enumerate() {
        batches.push(fixture.batch("consumption", index as u64 * 97, some));
    }
    batches
}

fn customer(fixture: &Fixture, random: &mut Random, number: u64, version: u64) -> State<'static> {
    let row = json!({
        "customer_code": format!("C{number}"),
        "institution_code": maybe(random, |random| format!("BJ-{}", random.below(3))),
        "vip_level": maybe(random, |random| (*random.pick(&["GOLD", "DIAMOND", "NORMAL"])).to_owned()),
        "first_visit_date": maybe(random, day),
        "last_visit_date": maybe(random, day),
    });
    fixture.state("customer", &row.to_string(), version)
}

fn order(fixture: &Fixture, random: &mut Random, number: u64, version: u64) -> State<'static> {
    let count = random.below(4);
    let mut total = 0;
    let lines: Vec<_> = (1..=count)
        .map(|line| {
            let net = random.below(500_000);
            total += net;
            json!({
                "line_no": line,
                "item_type": random.pick(&["PROJECT", "PRODUCT"]),
                "item_code": maybe(random, |random| format!("P{}", random.below(9))),
                "item_name": maybe(random, |random| format!("玻尿酸{}", random.below(3))),
                "quantity": maybe(random, |random| random.below(5)),
                "discount_rate": maybe(random, |random| format!("0.{:04}", random.below(10_000))),
                "net_amount": maybe(random, |_| yuan(net)),
            })
        })
        .collect();
    let row = json!({
        "order_number": format!("O{number}"),
        // One in five of a customer whom nobody knows.
        "customer_code": maybe(random, |random| format!("C{}", random.below(CUSTOMERS * 5 / 4))),
        "institution_code": maybe(random, |random| format!("BJ-{}", random.below(3))),
        "order_date": maybe(random, day),
        "department": maybe(random, |random| format!("科室{}", random.below(4))),
        "payment_status": maybe(random, |random| (*random.pick(&["PAID", "PARTIALLY_REFUNDED", "REFUNDED", "PENDING"])).to_owned()),
        "net_amount": yuan(total),
        "refund_amount": maybe(random, |random| yuan(random.below(600_000))),
        "lines": lines,
    });
    fixture.state("consumption", &row.to_string(), version)
}

/// A value, or one time in six none.
fn maybe<T>(random: &mut Random, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
    let is_there = random.below(6) > 0;
    let value = value(random);
    is_there.then_some(value)
}

fn day(random: &mut Random) -> String {
    format!("2026-{:02}-{:02}", random.below(6) + 1, random.below(28) + 1)
}

fn yuan(fen: u64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

fn of_sqlite(file: &Path, view: &str) -> (Row, Vec<Row>) {
    let connection = Connection::open(file).unwrap();
    let mut statement = connection.prepare(&format!("SELECT * FROM {view}")).unwrap();
    let columns: Row = statement.column_names().into_iter().map(str::to_owned).collect();
    let shown = |value: Value| match value {
        Value::Null => "null".to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(value) => value,
        Value::Blob(_) => unreachable!("no view shows bytes"),
    };
    let rows = statement.query_map([], |row| (0..columns.len()).map(|index| row.get(index).map(shown)).collect());
    let mut rows: Vec<Row> = rows.unwrap().collect::<Result<_, _>>().unwrap();
    rows.sort();
    (columns, rows)
}

async fn of_clickhouse(client: &Client, view: &str) -> (Row, Vec<Row>) {
    let query = client.query_raw(&format!("SELECT * FROM {view}")).with_setting("output_format_decimal_trailing_zeros", "1");
    let bytes = query.fetch_bytes("JSONCompactStringsEachRowWithNames").unwrap().collect().await.unwrap();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let shown = |cell: String| if cell == NULL { "null".to_owned() } else { cell };
    let mut rows: Vec<Row> =
        lines.map(|line| serde_json::from_slice::<Row>(line).unwrap().into_iter().map(shown).collect()).collect();
    let columns = rows.remove(0);
    rows.sort();
    (columns, rows)
}
