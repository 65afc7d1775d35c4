//! The rows that are measured: narrow ones of eight columns, an entity that one file in a configured folder adds, and consumption
//! records with a line each. Row number n is the same in every run; a revision changes its amounts.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tidemark_log::{Append, Log};
use tidemark_schemas::{Cell, Entity, Row, State, codec, json as rows};
use tidemark_tests::change;

use crate::topics::Topic;

/// The entity that the folder adds.
pub(crate) const NARROW: (&str, &str) = ("narrow.avsc", include_str!("narrow.avsc"));

/// Records of one append.
const APPEND_RECORDS: u64 = 5_000;
/// When all of it happened, UTC microseconds.
const MOMENT: i64 = 1_768_012_200_000_000;
const SOURCE: &str = "bench";
/// 2025-01-01.
const FIRST_DAY: i32 = 20_089;

/// Which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Eight columns.
    Narrow,
    /// Orders.
    Consumption,
}

impl Kind {
    /// The entity.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Narrow => "narrow",
            Self::Consumption => "consumption",
        }
    }

    /// Row number n at a revision, as cells.
    fn row(self, entity: &Entity, number: u64, revision: u64) -> Result<Row<'static>> {
        match self {
            Self::Narrow => Ok(narrow(number, revision)),
            Self::Consumption => {
                rows::row_from_json(&entity.record, &order(number, revision)).map_err(|problem| anyhow!(problem))
            }
        }
    }
}

/// Writes the added entity into the folder that the program reads schemas from.
pub(crate) fn write_schema(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(NARROW.0), NARROW.1).with_context(|| folder.display().to_string())
}

/// Appends the states of `count` rows at a revision, in the order of their keys, as the fold would have left them.
pub(crate) async fn append_states(topic: &Topic, kind: Kind, count: u64, revision: u64) -> Result<()> {
    let entity = topic.entity(kind)?;
    let name = topic.topics.state(kind.name());
    fill(topic, count, |number, append| {
        let row = kind.row(&entity, number, revision)?;
        let offset = revision * count + number;
        let state = State {
            key: key_of(&entity, &row)?.into(),
            tenant: entity.tenant_of(&row).map(|tenant| tenant.to_owned().into()),
            version: topic.identity.version(offset),
            deleted: false,
            row,
            changed_at: MOMENT,
            ingested_at: MOMENT,
            position: (0, offset),
            snapshots: Vec::new(),
        };
        append.record(&name, 0, state.key.as_bytes(), |out| codec::encode_state(&entity, &state, out));
        Ok(())
    })
    .await
}

/// Appends changes that put in `count` rows at a revision.
pub(crate) async fn append_changes(topic: &Topic, kind: Kind, count: u64, revision: u64) -> Result<()> {
    let entity = topic.entity(kind)?;
    let name = topic.topics.changes(kind.name());
    fill(topic, count, |number, append| {
        let row = kind.row(&entity, number, revision)?;
        let key = key_of(&entity, &row)?;
        let change = change::of(&entity, &key, Some(row), SOURCE, revision * count + number + 1);
        append.record(&name, 0, key.as_bytes(), |out| codec::encode_change(&entity, &change, out));
        Ok(())
    })
    .await
}

async fn fill(topic: &Topic, count: u64, mut put: impl FnMut(u64, &mut Append) -> Result<()>) -> Result<()> {
    for start in (0..count).step_by(APPEND_RECORDS as usize) {
        let mut append = Append::default();
        for number in start..(start + APPEND_RECORDS).min(count) {
            put(number, &mut append)?;
        }
        topic.log.append(append).await?;
    }
    Ok(())
}

fn key_of(entity: &Arc<Entity>, row: &[Cell<'_>]) -> Result<String> {
    Ok(entity.key_of(row).context("every row has a key")?.as_str().to_owned())
}

fn narrow(number: u64, revision: u64) -> Row<'static> {
    let text = |text: String| Cell::Text(text.into());
    vec![
        text(format!("BJ-HA-001-ORD-{number:09}")),
        text(format!("SHOP-{}", number % 20)),
        text(format!("C{:07}", number.wrapping_mul(7_919) % 200_000)),
        text(format!("STAFF-{}", number % 500)),
        text("PAID".to_owned()),
        Cell::Date(FIRST_DAY + (number % 365) as i32),
        Cell::Decimal(rust_decimal::Decimal::new((number % 100_000 + revision).cast_signed(), 2)),
        Cell::Int((number % 9 + revision).cast_signed()),
    ]
}

fn order(number: u64, revision: u64) -> Value {
    let (month, day) = (number % 12 + 1, number % 28 + 1);
    let money = |fen: u64| format!("{}.{:02}", fen / 100, fen % 100);
    let gross = 10_000 + number.wrapping_mul(7_919) % 900_000 + revision * 100;
    let (discount, net) = (gross / 10, gross - gross / 10);
    json!({
        "order_number": format!("BJ-HA-001-ORD-2025{month:02}{day:02}-{number:07}"),
        "institution_code": "BJ-HA-001",
        "customer_code": format!("BJ-HA-001-C{:06}", number.wrapping_mul(31) % 50_000),
        "doctor_code": format!("DOC-{}", number % 40),
        "order_date": format!("2025-{month:02}-{day:02}"),
        "order_type": "PROJECT",
        "lines": [{
            "line_no": 1, "item_type": "PROJECT", "item_code": format!("PRJ-{}", number % 60), "item_name": "水光针",
            "consumed_product_code": format!("PROD-{}", number % 60), "quantity": 1, "unit_price": money(gross),
            "discount_amount": money(discount), "net_amount": money(net)
        }],
        "gross_amount": money(gross),
        "discount_amount": money(discount),
        "net_amount": money(net),
        "payment_method": "WECHAT",
        "payment_status": "PAID",
        "department": "皮肤科"
    })
}
