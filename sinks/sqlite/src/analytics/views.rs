//! The views of the analytics store: what people ask first.
//!
//! Only live rows count. *Paid* is an order whose payment status is PAID or PARTIALLY_REFUNDED; *revenue* is its net amount
//! less its refund amount. Sums are made of whole fen, so they are exact; each comes as a decimal text and, for sorting and
//! arithmetic, in fen.
//!
//! What a reader may choose stands in the one row of `tidemark_parameter`: `today` (null = today in the configured zone, by its
//! offset when the process starts), `inactive_days`, `second_purchase_days`, and `vip_levels` (a JSON list, set from the
//! configuration at each open). A view is made only where the catalog has what it reads, so that a catalog of other entities
//! still works.

use rusqlite::Connection;
use tidemark_schemas::Catalog;
use tidemark_schemas::entity::FieldType;

use crate::statement::quoted;

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

/// A view with the columns that it reads.
struct View {
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
const VIEWS: [View; 7] = [
    View {
        name: "paid_order",
        needs: &[("consumption", PAID)],
        sql: "SELECT key, order_number, customer_code, institution_code, order_date, department,
  {fen:net_amount} AS net_fen, coalesce({fen:refund_amount}, 0) AS refund_fen,
  {fen:net_amount} - coalesce({fen:refund_amount}, 0) AS revenue_fen
FROM consumption
WHERE deleted_at IS NULL AND payment_status IN ('PAID', 'PARTIALLY_REFUNDED')",
    },
    View {
        name: "revenue_daily",
        needs: &[("consumption", PAID)],
        sql: "SELECT order_date, institution_code, count(*) AS orders,
  {yuan:sum(revenue_fen)} AS revenue, sum(revenue_fen) AS revenue_fen
FROM paid_order GROUP BY order_date, institution_code",
    },
    View {
        name: "revenue_by_department",
        needs: &[("consumption", PAID)],
        sql: "SELECT department, count(*) AS orders,
  {yuan:sum(revenue_fen)} AS revenue, sum(revenue_fen) AS revenue_fen
FROM paid_order GROUP BY department",
    },
    View {
        name: "revenue_by_product",
        needs: &[("consumption", PAID)],
        // An order's refund is spread over its lines by their net amounts; each line takes what the lines up to it take less
        // what those before it took, so that the shares add up to the refund to the fen.
        sql: "WITH line AS (
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
FROM share GROUP BY item_type, item_code",
    },
    View {
        name: "vip_consumption",
        needs: &[("consumption", PAID), ("customer", &["customer_code", "institution_code", "vip_level"])],
        sql: "SELECT c.customer_code, c.institution_code, c.vip_level, count(o.key) AS orders,
  {yuan:coalesce(sum(o.revenue_fen), 0)} AS revenue, coalesce(sum(o.revenue_fen), 0) AS revenue_fen,
  max(o.order_date) AS last_order_date
FROM customer AS c LEFT JOIN paid_order AS o ON o.customer_code = c.customer_code
WHERE c.deleted_at IS NULL
  AND c.vip_level IN (SELECT value FROM tidemark_parameter, json_each(tidemark_parameter.vip_levels))
GROUP BY c.key",
    },
    View {
        name: "inactive_customers",
        needs: &[
            ("consumption", PAID),
            ("customer", &["customer_code", "institution_code", "vip_level", "first_visit_date", "last_visit_date"]),
        ],
        sql: "WITH today AS (
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
WHERE julianday(today.day) - julianday(last_active_date) > today.inactive_days",
    },
    View {
        name: "second_purchase_rate",
        needs: &[("consumption", PAID)],
        sql: "WITH numbered AS (
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
FROM customer_purchases, tidemark_parameter GROUP BY month, institution_code",
    },
];

/// Names of all views that a full catalog gets.
pub fn names() -> impl Iterator<Item = &'static str> {
    VIEWS.iter().map(|view| view.name)
}

/// The statement that makes a view, its days `utc_offset` seconds before those of UTC; nothing for an unknown name.
pub fn ddl(name: &str, utc_offset: i32) -> Option<String> {
    let view = VIEWS.iter().find(|view| view.name == name)?;
    Some(format!("CREATE VIEW {} AS\n{}", quoted(view.name), expanded(view.sql, utc_offset)))
}

/// Makes the parameters and all views anew.
pub(super) fn create(
    connection: &Connection,
    catalog: &Catalog,
    vip_levels: &[String],
    utc_offset: i32,
) -> Result<(), rusqlite::Error> {
    connection.execute_batch(PARAMETER)?;
    connection.execute("UPDATE tidemark_parameter SET vip_levels = ?", [serde_json::Value::from(vip_levels).to_string()])?;
    for view in VIEWS.iter().rev().filter(|view| catalog.entity(view.name).is_none()) {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS {}", quoted(view.name)))?;
    }
    for view in VIEWS.iter().filter(|view| is_possible(view, catalog)) {
        connection.execute_batch(&ddl(view.name, utc_offset).expect("the name is of this list"))?;
    }
    Ok(())
}

/// Whether the catalog has what the view reads, and no entity takes its name.
fn is_possible(view: &View, catalog: &Catalog) -> bool {
    let has_columns = view.needs.iter().all(|(entity, columns)| {
        let known = catalog.entity(entity);
        known.is_some_and(|known| columns.iter().all(|name| known.columns.iter().any(|column| column.name == *name)))
    });
    let reads_lines = view.sql.contains("consumption_line");
    has_columns && (!reads_lines || has_lines(catalog)) && VIEWS.iter().all(|view| catalog.entity(view.name).is_none())
}

fn has_lines(catalog: &Catalog) -> bool {
    let Some(entity) = catalog.entity("consumption") else { return false };
    let wanted = ["item_type", "item_code", "item_name", "quantity", "net_amount"];
    entity.columns.iter().any(|column| match &entity.field(column.number).kind {
        FieldType::Array(items) => matches!(&**items, FieldType::Record(item) if item.name == "consumption_line"
            && wanted.iter().all(|name| item.fields.iter().any(|field| field.name == *name))),
        _ => false,
    })
}

/// `{utc_offset}`: the zone's, in seconds, with its sign. `{fen:X}`: a decimal text with two places as whole fen. `{yuan:X}`: fen as such a text.
fn expanded(sql: &str, utc_offset: i32) -> String {
    let mut text = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        let (hole, after) = after.split_once('}').expect("holes of the views are closed");
        text.push_str(before);
        match hole.split_once(':') {
            Some(("fen", value)) => text.push_str(&format!("CAST(replace({value}, '.', '') AS INTEGER)")),
            Some((_, value)) => {
                text.push_str(&format!(
                    "CASE WHEN {value} < 0 THEN '-' ELSE '' END || printf('%d.%02d', abs({value}) / 100, abs({value}) % 100)"
                ));
            }
            None => text.push_str(&format!("{utc_offset:+}")),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}
