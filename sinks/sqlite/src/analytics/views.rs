//! The views of the analytics store, in SQLite's words; what they say is told in [`tidemark_sink_core::views`].
//!
//! Decimals are text here. `tidemark_parameter.vip_levels` is a JSON list.

use rusqlite::Connection;
use tidemark_schemas::Catalog;
use tidemark_sink_core::sql::quoted;
use tidemark_sink_core::views::{AnalyticsView, Hole, filled};

const PARAMETER: &str = "
CREATE TABLE IF NOT EXISTS tidemark_parameter(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  today TEXT,
  vip_levels TEXT NOT NULL DEFAULT '[]',
  inactive_days INTEGER NOT NULL DEFAULT 180,
  second_purchase_days INTEGER NOT NULL DEFAULT 90
);
INSERT OR IGNORE INTO tidemark_parameter(id) VALUES (1);
";

/// Makes the parameters and all views anew.
pub(super) fn create(
    connection: &Connection,
    catalog: &Catalog,
    vip_levels: &[String],
    utc_offset: i32,
) -> Result<(), rusqlite::Error> {
    connection.execute_batch(PARAMETER)?;
    connection.execute("UPDATE tidemark_parameter SET vip_levels = ?", [serde_json::Value::from(vip_levels).to_string()])?;
    for view in AnalyticsView::ALL.iter().rev().filter(|view| catalog.entity(view.name()).is_none()) {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS {}", quoted(view.name())))?;
    }
    for view in AnalyticsView::possible(catalog) {
        connection.execute_batch(&ddl(view, utc_offset))?;
    }
    Ok(())
}

/// The statement that makes a view, its days `utc_offset` seconds before those of UTC.
pub(crate) fn ddl(view: AnalyticsView, utc_offset: i32) -> String {
    let select = filled(select(view), |hole| match hole {
        Hole::Fen(decimal) => format!("CAST(replace({decimal}, '.', '') AS INTEGER)"),
        Hole::Yuan(fen) => {
            format!("CASE WHEN {fen} < 0 THEN '-' ELSE '' END || printf('%d.%02d', abs({fen}) / 100, abs({fen}) % 100)")
        }
        Hole::UtcOffset => format!("{utc_offset:+}"),
    });
    format!("CREATE VIEW {} AS\n{select}", quoted(view.name()))
}

fn select(view: AnalyticsView) -> &'static str {
    match view {
        AnalyticsView::PaidOrder => {
            "SELECT key, order_number, customer_code, institution_code, order_date, department,
  {fen:net_amount} AS net_fen, coalesce({fen:refund_amount}, 0) AS refund_fen,
  {fen:net_amount} - coalesce({fen:refund_amount}, 0) AS revenue_fen
FROM consumption
WHERE deleted_at IS NULL AND payment_status IN ('PAID', 'PARTIALLY_REFUNDED')"
        }
        AnalyticsView::RevenueDaily => {
            "SELECT order_date, institution_code, count(*) AS orders,
  {yuan:sum(revenue_fen)} AS revenue, sum(revenue_fen) AS revenue_fen
FROM paid_order GROUP BY order_date, institution_code"
        }
        AnalyticsView::RevenueByDepartment => {
            "SELECT department, count(*) AS orders,
  {yuan:sum(revenue_fen)} AS revenue, sum(revenue_fen) AS revenue_fen
FROM paid_order GROUP BY department"
        }
        AnalyticsView::RevenueByProduct => {
            // An order's refund is spread over its lines by their net amounts; each line takes what the lines up to it take less
            // what those before it took, so that the shares add up to the refund to the fen.
            "WITH line AS (
  SELECT l.key, l.item_type, l.item_code, l.item_name, l.quantity, coalesce({fen:l.net_amount}, 0) AS net_fen, o.refund_fen,
    sum(coalesce({fen:l.net_amount}, 0)) OVER (PARTITION BY l.key ORDER BY l.position) AS until_fen,
    sum(coalesce({fen:l.net_amount}, 0)) OVER (PARTITION BY l.key) AS order_fen
  FROM consumption_line AS l JOIN paid_order AS o ON o.key = l.key
), share AS (
  SELECT *, net_fen - coalesce(refund_fen * until_fen / nullif(order_fen, 0)
    - refund_fen * (until_fen - net_fen) / nullif(order_fen, 0), 0) AS revenue_fen
  FROM line
)
SELECT item_type, item_code, max(item_name) AS item_name, count(DISTINCT key) AS orders, sum(quantity) AS quantity,
  {yuan:sum(revenue_fen)} AS revenue, sum(revenue_fen) AS revenue_fen
FROM share GROUP BY item_type, item_code"
        }
        AnalyticsView::VipConsumption => {
            "SELECT c.customer_code, c.institution_code, c.vip_level, count(o.key) AS orders,
  {yuan:coalesce(sum(o.revenue_fen), 0)} AS revenue, coalesce(sum(o.revenue_fen), 0) AS revenue_fen,
  max(o.order_date) AS last_order_date
FROM customer AS c LEFT JOIN paid_order AS o ON o.customer_code = c.customer_code
WHERE c.deleted_at IS NULL
  AND c.vip_level IN (SELECT value FROM tidemark_parameter, json_each(tidemark_parameter.vip_levels))
GROUP BY c.key"
        }
        AnalyticsView::InactiveCustomers => {
            "WITH today AS (
  SELECT coalesce(today, date('now', '{utc_offset} seconds')) AS day, inactive_days FROM tidemark_parameter
), paid AS (
  SELECT customer_code, max(order_date) AS last_order_date FROM paid_order GROUP BY customer_code
), active AS (
  SELECT c.customer_code, c.institution_code, c.vip_level, c.last_visit_date, paid.last_order_date,
    coalesce(max(coalesce(c.last_visit_date, paid.last_order_date), coalesce(paid.last_order_date, c.last_visit_date)),
      c.first_visit_date) AS last_active_date
  FROM customer AS c LEFT JOIN paid ON paid.customer_code = c.customer_code
  WHERE c.deleted_at IS NULL
)
SELECT active.*, CAST(julianday(today.day) - julianday(last_active_date) AS INTEGER) AS inactive_days
FROM active, today
WHERE julianday(today.day) - julianday(last_active_date) > today.inactive_days"
        }
        AnalyticsView::SecondPurchaseRate => {
            "WITH numbered AS (
  SELECT customer_code, institution_code, order_date,
    row_number() OVER (PARTITION BY customer_code ORDER BY order_date, order_number) AS number
  FROM paid_order WHERE order_date IS NOT NULL AND customer_code IS NOT NULL
), customer_purchases AS (
  SELECT one.customer_code, one.institution_code, one.order_date AS first_date, two.order_date AS second_date
  FROM numbered AS one LEFT JOIN numbered AS two ON two.customer_code = one.customer_code AND two.number = 2
  WHERE one.number = 1
)
SELECT substr(first_date, 1, 7) AS month, institution_code, count(*) AS new_customers,
  count(CASE WHEN julianday(second_date) - julianday(first_date) <= second_purchase_days THEN 1 END) AS with_second,
  round(1.0 * count(CASE WHEN julianday(second_date) - julianday(first_date) <= second_purchase_days THEN 1 END) / count(*), 4)
    AS rate
FROM customer_purchases, tidemark_parameter GROUP BY month, institution_code"
        }
    }
}
