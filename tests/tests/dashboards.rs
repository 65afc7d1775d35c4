//! The boards: their shape, and each panel's query run on the engine with Grafana's macros in place, for each state of the variables
//! and within the limits of the user as whom the boards read.
//!
//! The expander knows only the macros that the boards use, by the plugin's documentation; any other `$` is a failure.

#![allow(clippy::unwrap_used, reason = "test code: what is not as it must be ends the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clickhouse::Client;
use serde_json::Value;
use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_clickhouse::ClickHouseOptions;
use tidemark_sink_core::contract::{Fixture, LOG};
use tidemark_test_support::Kind;

/// Units of the boards that Grafana knows; money by `currency:`.
const UNITS: [&str; 2] = ["short", "percentunit"];
/// What the boards' date filter is expanded to.
const RANGE: (&str, &str) = ("2026-01-01", "2026-03-31");
/// An institution whose code must be quoted.
const QUOTED: &str = "SH'2";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

fn boards() -> Vec<(String, Value)> {
    let mut boards = Vec::new();
    for entry in fs::read_dir(folder().join("boards")).unwrap() {
        let path = entry.unwrap().path();
        boards.push((path.display().to_string(), serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap()));
    }
    assert!(!boards.is_empty());
    boards
}

fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    board["panels"].as_array().unwrap().iter()
}

#[test]
fn boards_have_the_shape_that_grafana_reads() {
    for (file, board) in boards() {
        assert!(board["schemaVersion"].is_u64() && board["uid"].is_string(), "{file}");
        let mut ids = BTreeSet::new();
        for panel in panels(&board) {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
            let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{title} is wider than a board");
            assert!(panel["description"].as_str().unwrap().len() > 20, "{title} says what it counts, and of which column");
            let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap().iter();
            let units = overrides.flat_map(|one| one["properties"].as_array().unwrap()).map(|one| &one["value"]);
            for unit in units.chain([&panel["fieldConfig"]["defaults"]["unit"]]).filter_map(Value::as_str) {
                assert!(UNITS.contains(&unit) || unit.starts_with("currency:"), "{title}: unit {unit}");
            }
            for target in panel["targets"].as_array().unwrap() {
                let is_series = panel["type"] == "timeseries";
                assert_eq!(target["format"], if is_series { 0 } else { 1 }, "{title}: the format fits the panel");
                assert_eq!(target["queryType"], if is_series { "timeseries" } else { "table" }, "{title}");
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}: the data source is the board's variable");
                assert!(target["rawSql"].is_string(), "{title}");
            }
        }
    }
}

#[test]
fn a_mistake_in_a_query_does_not_expand() {
    let all = |sql: &str| expanded(sql, &[]);
    assert_eq!(all("$__conditionalAll(a IN (${institution:singlequote}), $institution)"), Ok("1=1".to_owned()));
    assert_eq!(
        expanded("$__conditionalAll(a IN (${institution:singlequote}), $institution)", &["B", "S'2"]),
        Ok(r"a IN ('B','S\'2')".to_owned())
    );
    assert_eq!(all("$__dateFilter(day)"), Ok("day >= toDate('2026-01-01') AND day <= toDate('2026-03-31')".to_owned()));
    for wrong in ["$__dateFiltre(day)", "$__dateFilter(a, b)", "$institution", "${other:singlequote}", "$__dateFilter(day"] {
        assert!(all(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn every_panel_answers_on_the_engine() {
    let Some(url) = Kind::ClickHouse.address("every_panel_answers_on_the_engine") else { return };
    let database = format!("tidemark_test_boards_{}", std::process::id());
    let client = Client::default().with_url(&url).with_database(&database);
    fill(&url, &database).await;
    let reader = limits().into_iter().fold(client.clone(), |client, (name, value)| client.with_setting(name, value));
    for (_, board) in boards() {
        for variable in board["templating"]["list"].as_array().unwrap().iter().filter(|variable| variable["type"] == "query") {
            let answer = ask(&reader, variable["query"].as_str().unwrap()).await;
            assert_eq!(answer.names, ["value", "label"]);
            assert_eq!(answer.rows, [["BJ", "北京"], [QUOTED, QUOTED]]);
        }
        for panel in panels(&board) {
            let title = panel["title"].as_str().unwrap();
            for (chosen, revenue) in [(vec![], "301.5"), (vec!["BJ"], "101"), (vec!["BJ", QUOTED], "301.5")] {
                let sql = expanded(panel["targets"][0]["rawSql"].as_str().unwrap(), &chosen).unwrap();
                let answer = ask(&reader, &sql).await;
                answer.expect_shape(panel, &format!("{title}, {chosen:?}"));
                if title == "收入" {
                    assert_eq!(answer.rows, [[revenue]], "{chosen:?}");
                }
            }
        }
    }
    // What the reader's profile forbids, it forbids.
    let forbidden =
        client.query_raw("INSERT INTO tidemark_parameter(id) VALUES (2)").with_setting("readonly", "1").execute().await;
    assert!(forbidden.unwrap_err().to_string().contains("Code: 164"), "a reader changes nothing");
    client.query_raw(&format!("DROP DATABASE {database} SYNC")).execute().await.unwrap();
}

async fn fill(url: &str, database: &str) {
    let fixture = Fixture::new(Catalog::built_in());
    let options = ClickHouseOptions::new(url, database);
    let mut sink = tidemark_sink_clickhouse::analytics(options, fixture.catalog().clone(), vec!["GOLD".to_owned()], 8 * 3600);
    sink.open(LOG, &Share::All).await.unwrap();
    let order = |number: u64, institution: &str, date: &str, net: &str| {
        let row = format!(
            r#"{{"order_number":"O{number}","customer_code":"C1","institution_code":"{institution}","order_date":"{date}",
                "department":"皮肤科","payment_status":"PAID","net_amount":"{net}","lines":[{{"line_no":1,"item_type":"PROJECT",
                "item_code":"P1","item_name":"水光","quantity":1,"net_amount":"{net}"}}]}}"#
        );
        fixture.state("consumption", &row, number)
    };
    let orders = [
        order(1, "BJ", "2026-01-10", "100.00"),
        order(2, QUOTED, "2026-02-01", "200.50"),
        order(3, "BJ", "2025-12-31", "7.00"),
        order(4, "BJ", "2026-03-01", "1.00"),
    ];
    let customer = r#"{"customer_code":"C1","institution_code":"BJ","vip_level":"GOLD","first_visit_date":"2020-01-01"}"#;
    let old =
        format!(r#"{{"customer_code":"C2","institution_code":"{QUOTED}","vip_level":"GOLD","last_visit_date":"2020-01-01"}}"#);
    let mut batch = fixture.batch("consumption", 0, &orders);
    batch.parts.push(fixture.part("customer", 0, &[fixture.state("customer", customer, 1), fixture.state("customer", &old, 2)]));
    let unnamed = format!(r#"{{"institution_code":"{QUOTED}"}}"#);
    let institutions = [
        fixture.state("institution", r#"{"institution_code":"BJ","name":"北京"}"#, 1),
        fixture.state("institution", &unnamed, 2),
    ];
    batch.parts.push(fixture.part("institution", 0, &institutions));
    sink.apply(&batch).await.unwrap();
}

/// The limits of the reader's profile, but the one that forbids the test to set the others.
fn limits() -> Vec<(String, String)> {
    let text = fs::read_to_string(folder().join("reader.sql")).unwrap();
    let (_, profile) = text.split_once("tidemark_reader SETTINGS").unwrap();
    let (profile, _) = profile.split_once(';').unwrap();
    let limits = profile.split(',').map(|limit| limit.split_once('=').unwrap());
    let limits = limits.map(|(name, value)| (name.trim().to_owned(), value.trim().replace(" CHANGEABLE_IN_READONLY", "")));
    let limits: Vec<_> = limits.filter(|(name, _)| name != "readonly").collect();
    assert!(limits.len() >= 3, "{limits:?}");
    limits
}

struct Answer {
    names: Vec<String>,
    types: Vec<String>,
    rows: Vec<Vec<String>>,
}

async fn ask(client: &Client, sql: &str) -> Answer {
    let cursor = client.query_raw(sql).fetch_bytes("JSONCompactStringsEachRowWithNamesAndTypes").unwrap().collect().await;
    let bytes = cursor.unwrap_or_else(|error| unreachable!("{error}\n{sql}"));
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut rows: Vec<Vec<String>> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    let rest = rows.split_off(2);
    let types = rows.pop().unwrap();
    Answer { names: rows.pop().unwrap(), types, rows: rest }
}

impl Answer {
    fn expect_shape(&self, panel: &Value, what: &str) {
        let is_number = |kind: &String| ["Int", "Float", "UInt"].iter().any(|number| kind.contains(number));
        let is_text = |kind: &String| kind.contains("String");
        assert!(!self.rows.is_empty(), "{what} shows something");
        match panel["type"].as_str().unwrap() {
            "stat" => {
                let is_one_number = self.rows.len() == 1 && self.types.len() == 1 && is_number(&self.types[0]);
                assert!(is_one_number, "{what}: {:?}", self.types);
            }
            "timeseries" => {
                assert!(self.names[0] == "time" && self.types[0].starts_with("DateTime("), "{what}: {:?}", self.types);
                assert_eq!(self.types.iter().filter(|kind| is_number(kind)).count(), 1, "{what}: one value");
                let times: Vec<&String> = self.rows.iter().map(|row| &row[0]).collect();
                assert!(times.is_sorted(), "{what}: times ascend");
                let labels = |row: &Vec<String>| {
                    let texts = row.iter().zip(&self.types).filter(|(_, kind)| is_text(kind)).map(|(cell, _)| cell.clone());
                    (row[0].clone(), texts.collect::<Vec<_>>())
                };
                let points: BTreeSet<_> = self.rows.iter().map(labels).collect();
                assert_eq!(points.len(), self.rows.len(), "{what}: one point for each time and series");
            }
            "barchart" => assert!(is_text(&self.types[0]) && is_number(&self.types[1]), "{what}: {:?}", self.types),
            "table" => {}
            other => unreachable!("{what}: a panel of kind {other} has no check"),
        }
    }
}

/// The query as it reaches the server, with these institutions chosen; none = all.
fn expanded(sql: &str, chosen: &[&str]) -> Result<String, String> {
    let quoted: Vec<String> =
        chosen.iter().map(|code| format!("'{}'", code.replace('\\', "\\\\").replace('\'', "\\'"))).collect();
    let sql = with_macro(sql, "$__conditionalAll", &|arguments| match arguments {
        [_, "$institution"] if chosen.is_empty() => Ok("1=1".to_owned()),
        [condition, "$institution"] => Ok((*condition).to_owned()),
        other => Err(format!("arguments {other:?}")),
    })?;
    let sql = sql.replace("${institution:singlequote}", &quoted.join(","));
    let sql = with_macro(&sql, "$__dateFilter", &|arguments| match arguments {
        [column] => Ok(format!("{column} >= toDate('{}') AND {column} <= toDate('{}')", RANGE.0, RANGE.1)),
        other => Err(format!("arguments {other:?}")),
    })?;
    if sql.contains('$') { Err(format!("nobody expands what is left: {sql}")) } else { Ok(sql) }
}

/// The text with each call of a macro replaced by what `expand` makes of its arguments.
fn with_macro(sql: &str, name: &str, expand: &dyn Fn(&[&str]) -> Result<String, String>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once(&format!("{name}(")) {
        let mut depth = 0;
        let mut commas = Vec::new();
        let end = after.char_indices().find_map(|(index, character)| {
            match character {
                '(' => depth += 1,
                ')' if depth == 0 => return Some(index),
                ')' => depth -= 1,
                ',' if depth == 0 => commas.push(index),
                _ => {}
            }
            None
        });
        let end = end.ok_or_else(|| format!("{name} is not closed"))?;
        let starts = std::iter::once(0).chain(commas.iter().map(|comma| comma + 1));
        let ends = commas.iter().copied().chain([end]);
        let arguments: Vec<&str> = starts.zip(ends).map(|(start, end)| after[start..end].trim()).collect();
        text.push_str(before);
        text.push_str(&expand(&arguments)?);
        rest = &after[end + 1..];
    }
    text.push_str(rest);
    Ok(text)
}
