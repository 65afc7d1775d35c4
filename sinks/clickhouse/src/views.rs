//! The views of the analytics store, in ClickHouse's words; what they say is told in [`tidemark_sink_core::views`].
//!
//! A reader chooses by `ALTER TABLE tidemark_parameter UPDATE today = '2026-08-01' WHERE id = 1`.

use tidemark_schemas::Catalog;
use tidemark_sink_core::views::{AnalyticsView, Hole, filled};

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

/// The views that this catalog makes possible, in the order in which they are made.
pub(crate) fn possible(catalog: &Catalog, utc_offset: i32) -> Vec<View> {
    AnalyticsView::possible(catalog).into_iter().map(|view| made(view, utc_offset)).collect()
}

/// The view, its days `utc_offset` seconds before those of UTC.
pub(crate) fn made(view: AnalyticsView, utc_offset: i32) -> View {
    let select = filled(select(view), |hole| match hole {
        Hole::Fen(decimal) => format!("toInt64(toDecimal128({decimal}, 2) * 100)"),
        Hole::Yuan(fen) => format!("divideDecimal(toDecimal128({fen}, 0), toDecimal128(100, 0), 2)"),
        Hole::UtcOffset => utc_offset.to_string(),
    });
    View { name: view.name().to_owned(), title: view.name().to_owned(), select }
}

fn select(view: AnalyticsView) -> &'static str {
    match view {
        AnalyticsView::PaidOrder => {
            "SELECT key, order_number, customer_code, institution_code, order_date, department,
  {fen:net_amount} AS net_fen, coalesce({fen:refund_amount}, 0) AS refund_fen,
  {fen:net_amount} - coalesce({fen:refund_amount}, 0) AS revenue_fen
FROM consumption
WHERE payment_status IN ('PAID', 'PARTIALLY_REFUNDED')"
        }
        AnalyticsView::RevenueDaily => {
            "SELECT order_date, institution_code, count() AS orders,
  {yuan:sum(paid_order.revenue_fen)} AS revenue, sum(paid_order.revenue_fen) AS revenue_fen
FROM paid_order GROUP BY order_date, institution_code"
        }
        AnalyticsView::RevenueByDepartment => {
            "SELECT department, count() AS orders,
  {yuan:sum(paid_order.revenue_fen)} AS revenue, sum(paid_order.revenue_fen) AS revenue_fen
FROM paid_order GROUP BY department"
        }
        AnalyticsView::RevenueByProduct => {
            // An order's refund is spread over its lines by their net amounts; each line takes what the lines up to it take less
            // what those before it took, so that the shares add up to the refund to the fen. An order is one row here, its lines are
            // arrays: no join, and no window.
            "WITH owner AS (
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
FROM share GROUP BY item_type, item_code"
        }
        AnalyticsView::VipConsumption => {
            "WITH paid AS (
  SELECT assumeNotNull(customer_code) AS customer, count() AS orders, sum(paid_order.revenue_fen) AS revenue_fen,
    max(order_date) AS last_order_date
  FROM paid_order WHERE customer_code IS NOT NULL GROUP BY customer
)
SELECT c.customer_code AS customer_code, c.institution_code AS institution_code, c.vip_level AS vip_level,
  ifNull(paid.orders, 0) AS orders, {yuan:ifNull(paid.revenue_fen, 0)} AS revenue,
  ifNull(paid.revenue_fen, 0) AS revenue_fen, paid.last_order_date AS last_order_date
FROM customer AS c LEFT JOIN paid ON paid.customer = c.customer_code
WHERE has((SELECT vip_levels FROM tidemark_parameter FINAL), coalesce(c.vip_level, ''))"
        }
        AnalyticsView::InactiveCustomers => {
            "WITH paid AS (
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
WHERE inactive_days > (SELECT tidemark_parameter.inactive_days FROM tidemark_parameter FINAL)"
        }
        AnalyticsView::SecondPurchaseRate => {
            "WITH customer_purchases AS (
  SELECT arraySort(groupArray((assumeNotNull(order_date), order_number, institution_code))) AS purchases,
    formatDateTime(purchases[1].1, '%Y-%m') AS month, purchases[1].3 AS first_institution_code,
    length(purchases) > 1 AND dateDiff('day', purchases[1].1, purchases[2].1)
      <= (SELECT second_purchase_days FROM tidemark_parameter FINAL) AS is_second
  FROM paid_order WHERE order_date IS NOT NULL AND customer_code IS NOT NULL GROUP BY customer_code
)
SELECT month, first_institution_code AS institution_code, count() AS new_customers, countIf(is_second) AS with_second,
  round(with_second / new_customers, 4) AS rate
FROM customer_purchases GROUP BY month, institution_code"
        }
    }
}
