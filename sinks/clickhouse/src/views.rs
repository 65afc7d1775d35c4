//! The views of the analytics store: what people ask first, under the names and columns of the SQLite store.
//!
//! Only live rows count. *Paid* is an order whose payment status is PAID or PARTIALLY_REFUNDED; *revenue* is its net amount
//! less its refund amount. Sums are made of whole fen, so they are exact; each comes as a decimal and in fen.
//!
//! What a reader may choose stands in the one row of `tidemark_parameter`: `today` (null = today in the configured zone, by its
//! offset when the process starts), `inactive_days`, `second_purchase_days`, and `vip_levels` (set from the configuration at each
//! open): `ALTER TABLE tidemark_parameter UPDATE today = '2026-08-01' WHERE id = 1`. A view is made only where the catalog has what
//! it reads, so that a catalog of other entities still works.

use tidemark_schemas::Catalog;
use tidemark_schemas::entity::FieldType;

use crate::statement::{comment, quoted};

/// Table of the parameters.
pub(crate) const PARAMETER: &str = "tidemark_parameter";

/// The statement that makes it. Of several rows, made by processes that began at the same moment, `FINAL` shows one.
pub(crate) fn parameter_ddl() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {PARAMETER}(\n  id UInt8,\n  today Nullable(Date32),\n  vip_levels Array(String),\n  \
         inactive_days Int64 DEFAULT 180,\n  second_purchase_days Int64 DEFAULT 90\n) ENGINE = ReplacingMergeTree\nORDER BY id\n{}",
        comment("what a reader of the views may choose")
    )
}

/// A view over tables or other views.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) select: String,
}

impl View {
    /// The statement that makes it, or makes it anew in one step.
    pub(crate) fn ddl(&self) -> String {
        format!("CREATE OR REPLACE VIEW {} AS\n{}\n{}", quoted(&self.name), self.select, comment(&self.title))
    }
}

/// A view with the columns that it reads.
struct Template {
    name: &'static str,
    needs: &'static [(&'static str, &'static [&'static str])],
    sql: &'static str,
}

const PAID: &[&str] = &[
    "order_number",
    "customer_code",
    "institution_code",
    "order_date",
    "department",
    "payment_status",
    "net_amount",
    "refund_amount",
];

/// In the order in which they are made: a later one may read an earlier one.
const VIEWS: [Template; 7] = [
    Template {
        name: "paid_order",
        needs: &[("consumption", PAID)],
        sql: "SELECT key, order_number, customer_code, institution_code, order_date, department,
  {fen:net_amount} AS net_fen, coalesce({fen:refund_amount}, 0) AS refund_fen,
  {fen:net_amount} - coalesce({fen:refund_amount}, 0) AS revenue_fen
FROM consumption
WHERE payment_status IN ('PAID', 'PARTIALLY_REFUNDED')",
    },
    Template {
        name: "revenue_daily",
        needs: &[("consumption", PAID)],
        sql: "SELECT order_date, institution_code, count() AS orders,
  {yuan:sum(paid_order.revenue_fen)} AS revenue, sum(paid_order.revenue_fen) AS revenue_fen
FROM paid_order GROUP BY order_date, institution_code",
    },
    Template {
        name: "revenue_by_department",
        needs: &[("consumption", PAID)],
        sql: "SELECT department, count() AS orders,
  {yuan:sum(paid_order.revenue_fen)} AS revenue, sum(paid_order.revenue_fen) AS revenue_fen
FROM paid_order GROUP BY department",
    },
    Template {
        name: "revenue_by_product",
        needs: &[("consumption", PAID)],
        // An order's refund is spread over its lines by their net amounts; each line takes what the lines up to it take less
        // what those before it took, so that the shares add up to the refund to the fen. An order is one row here, its lines are
        // arrays: no join, and no window.
        sql: "WITH owner AS (
  SELECT key, coalesce({fen:refund_amount}, 0) AS refund_fen,
    `lines_item.item_type` AS types, `lines_item.item_code` AS codes, `lines_item.item_name` AS names,
    `lines_item.quantity` AS quantities,
    arrayMap(amount -> coalesce({fen:amount}, 0), `lines_item.net_amount`) AS fens
  FROM consumption_versions FINAL
  WHERE payment_status IN ('PAID', 'PARTIALLY_REFUNDED')
), line AS (
  SELECT key, refund_fen, arraySum(fens) AS order_fen, item_type, item_code, item_name, quantity, net_fen, until_fen
  FROM owner
  ARRAY JOIN types AS item_type, codes AS item_code, names AS item_name, quantities AS quantity, fens AS net_fen,
    arrayCumSum(fens) AS until_fen
), share AS (
  SELECT key, item_type, item_code, item_name, quantity,
    net_fen - toInt64(intDivOrZero(toInt128(refund_fen) * until_fen, order_fen)
      - intDivOrZero(toInt128(refund_fen) * (until_fen - net_fen), order_fen)) AS revenue_fen
  FROM line
)
SELECT item_type, item_code, max(share.item_name) AS item_name, uniqExact(key) AS orders, sum(share.quantity) AS quantity,
  {yuan:sum(share.revenue_fen)} AS revenue, sum(share.revenue_fen) AS revenue_fen
FROM share GROUP BY item_type, item_code",
    },
    Template {
        name: "vip_consumption",
        needs: &[("consumption", PAID), ("customer", &["customer_code", "institution_code", "vip_level"])],
        sql: "WITH paid AS (
  SELECT assumeNotNull(customer_code) AS customer, count() AS orders, sum(paid_order.revenue_fen) AS revenue_fen,
    max(order_date) AS last_order_date
  FROM paid_order WHERE customer_code IS NOT NULL GROUP BY customer
)
SELECT c.customer_code AS customer_code, c.institution_code AS institution_code, c.vip_level AS vip_level,
  ifNull(paid.orders, 0) AS orders, {yuan:ifNull(paid.revenue_fen, 0)} AS revenue,
  ifNull(paid.revenue_fen, 0) AS revenue_fen, paid.last_order_date AS last_order_date
FROM customer AS c LEFT JOIN paid ON paid.customer = c.customer_code
WHERE has((SELECT vip_levels FROM tidemark_parameter FINAL), coalesce(c.vip_level, ''))",
    },
    Template {
        name: "inactive_customers",
        needs: &[
            ("consumption", PAID),
            ("customer", &["customer_code", "institution_code", "vip_level", "first_visit_date", "last_visit_date"]),
        ],
        sql: "WITH paid AS (
  SELECT assumeNotNull(customer_code) AS customer, max(order_date) AS last_order_date
  FROM paid_order WHERE customer_code IS NOT NULL GROUP BY customer
), active AS (
  SELECT c.customer_code AS customer_code, c.institution_code AS institution_code, c.vip_level AS vip_level,
    c.last_visit_date AS last_visit_date, paid.last_order_date AS last_order_date,
    coalesce(greatest(coalesce(c.last_visit_date, paid.last_order_date), coalesce(paid.last_order_date, c.last_visit_date)),
      c.first_visit_date) AS last_active_date
  FROM customer AS c LEFT JOIN paid ON paid.customer = c.customer_code
)
SELECT customer_code, institution_code, vip_level, last_visit_date, last_order_date, last_active_date,
  dateDiff('day', last_active_date,
    coalesce((SELECT today FROM tidemark_parameter FINAL), toDate32(now('UTC') + toIntervalSecond({utc_offset})))) AS inactive_days
FROM active
WHERE inactive_days > (SELECT tidemark_parameter.inactive_days FROM tidemark_parameter FINAL)",
    },
    Template {
        name: "second_purchase_rate",
        needs: &[("consumption", PAID)],
        sql: "WITH customer_purchases AS (
  SELECT arraySort(groupArray((assumeNotNull(order_date), order_number, institution_code))) AS purchases,
    formatDateTime(purchases[1].1, '%Y-%m') AS month, purchases[1].3 AS first_institution_code,
    length(purchases) > 1 AND dateDiff('day', purchases[1].1, purchases[2].1)
      <= (SELECT second_purchase_days FROM tidemark_parameter FINAL) AS is_second
  FROM paid_order WHERE order_date IS NOT NULL AND customer_code IS NOT NULL GROUP BY customer_code
)
SELECT month, first_institution_code AS institution_code, count() AS new_customers, countIf(is_second) AS with_second,
  round(with_second / new_customers, 4) AS rate
FROM customer_purchases GROUP BY month, institution_code",
    },
];

/// Names of all views that a full catalog gets.
pub fn names() -> impl Iterator<Item = &'static str> {
    VIEWS.iter().map(|view| view.name)
}

/// The statement that makes a view, its days `utc_offset` seconds before those of UTC; nothing for an unknown name.
pub fn ddl(name: &str, utc_offset: i32) -> Option<String> {
    VIEWS.iter().find(|view| view.name == name).map(|view| view.expand(utc_offset).ddl())
}

/// The views that this catalog makes possible, in the order in which they are made.
pub(crate) fn possible(catalog: &Catalog, utc_offset: i32) -> Vec<View> {
    VIEWS.iter().filter(|view| view.is_possible(catalog)).map(|view| view.expand(utc_offset)).collect()
}

impl Template {
    /// Whether the catalog has what the view reads, and no entity takes its name.
    fn is_possible(&self, catalog: &Catalog) -> bool {
        let has_columns = self.needs.iter().all(|(entity, columns)| {
            let known = catalog.entity(entity);
            known.is_some_and(|known| columns.iter().all(|name| known.columns.iter().any(|column| column.name == *name)))
        });
        let reads_lines = self.sql.contains("lines_item");
        has_columns && (!reads_lines || has_lines(catalog)) && VIEWS.iter().all(|view| catalog.entity(view.name).is_none())
    }

    /// `{utc_offset}`: the zone's, in seconds. `{fen:X}`: a decimal of two places as whole fen. `{yuan:X}`: fen as a decimal.
    fn expand(&self, utc_offset: i32) -> View {
        let mut text = String::new();
        let mut rest = self.sql;
        while let Some((before, after)) = rest.split_once('{') {
            let (hole, after) = after.split_once('}').expect("holes of the views are closed");
            text.push_str(before);
            match hole.split_once(':') {
                Some(("fen", value)) => text.push_str(&format!("toInt64(toDecimal128({value}, 2) * 100)")),
                Some((_, value)) => text.push_str(&format!("divideDecimal(toDecimal128({value}, 0), toDecimal128(100, 0), 2)")),
                None => text.push_str(&utc_offset.to_string()),
            }
            rest = after;
        }
        text.push_str(rest);
        View { name: self.name.to_owned(), title: self.name.to_owned(), select: text }
    }
}

fn has_lines(catalog: &Catalog) -> bool {
    let Some(entity) = catalog.entity("consumption") else { return false };
    let wanted = ["item_type", "item_code", "item_name", "quantity", "net_amount"];
    entity.columns.iter().filter(|column| column.name == "lines").any(|column| match &entity.field(column.number).kind {
        FieldType::Array(items) => matches!(&**items, FieldType::Record(item)
            if wanted.iter().all(|name| item.fields.iter().any(|field| field.name == *name))),
        _ => false,
    })
}
