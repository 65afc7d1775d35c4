//! The views of the analytics stores: what people ask first, the same under the same names and columns in every store.
//!
//! Only live rows count. *Paid* is an order whose payment status is PAID or PARTIALLY_REFUNDED; *revenue* is its net amount less
//! its refund amount. Sums are made of whole fen, so they are exact; each comes as a decimal and, for sorting and arithmetic, in
//! fen. What a reader may choose stands in the one row of the store's `tidemark_parameter`: `today` (null = today in the configured
//! zone, by its offset when the process starts), `inactive_days`, `second_purchase_days`, and `vip_levels` (set from the
//! configuration at each open).
//!
//! Here stands what each view reads, so that all stores make the same ones; the SQL is the adapter's.

use tidemark_schemas::entity::FieldType;
use tidemark_schemas::{Catalog, Entity};

/// A view, in the order in which they are made: a later one may read an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnalyticsView {
    /// One row for each paid order, its amounts in fen; what the others read.
    PaidOrder,
    /// Orders and revenue by day and institution.
    RevenueDaily,
    /// Orders and revenue by department.
    RevenueByDepartment,
    /// Orders, quantity and revenue by item of the orders' lines; refunds are spread over the lines of their order.
    RevenueByProduct,
    /// Orders and revenue of each VIP customer.
    VipConsumption,
    /// Customers whose last visit and last paid order are longer ago than `inactive_days`.
    InactiveCustomers,
    /// By month of the first paid order: how many customers had a second one within `second_purchase_days`.
    SecondPurchaseRate,
}

impl AnalyticsView {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::PaidOrder,
        Self::RevenueDaily,
        Self::RevenueByDepartment,
        Self::RevenueByProduct,
        Self::VipConsumption,
        Self::InactiveCustomers,
        Self::SecondPurchaseRate,
    ];

    /// `revenue_daily` …
    pub fn name(self) -> &'static str {
        match self {
            Self::PaidOrder => "paid_order",
            Self::RevenueDaily => "revenue_daily",
            Self::RevenueByDepartment => "revenue_by_department",
            Self::RevenueByProduct => "revenue_by_product",
            Self::VipConsumption => "vip_consumption",
            Self::InactiveCustomers => "inactive_customers",
            Self::SecondPurchaseRate => "second_purchase_rate",
        }
    }

    /// Those that this catalog makes possible: it has what they read, and no entity takes a view's name. So a catalog of other
    /// entities still works.
    pub fn possible(catalog: &Catalog) -> Vec<Self> {
        if Self::ALL.iter().any(|view| catalog.entity(view.name()).is_some()) {
            return Vec::new();
        }
        Self::ALL.into_iter().filter(|view| view.has_what_it_reads(catalog)).collect()
    }

    fn has_what_it_reads(self, catalog: &Catalog) -> bool {
        let (Some(order), customer) = (catalog.entity("consumption"), catalog.entity("customer")) else { return false };
        let customer_has = |columns| customer.is_some_and(|customer| has_columns(customer, columns));
        has_columns(order, &ORDER_COLUMNS)
            && match self {
                Self::PaidOrder | Self::RevenueDaily | Self::RevenueByDepartment | Self::SecondPurchaseRate => true,
                Self::RevenueByProduct => has_lines(order),
                Self::VipConsumption => customer_has(&VIP_COLUMNS),
                Self::InactiveCustomers => customer_has(&VIP_COLUMNS) && customer_has(&VISIT_COLUMNS),
            }
    }
}

/// What every view reads of the orders.
const ORDER_COLUMNS: [&str; 8] = [
    "order_number",
    "customer_code",
    "institution_code",
    "order_date",
    "department",
    "payment_status",
    "net_amount",
    "refund_amount",
];

/// What views read of the customers.
const VIP_COLUMNS: [&str; 3] = ["customer_code", "institution_code", "vip_level"];

/// What a view reads of their visits.
const VISIT_COLUMNS: [&str; 2] = ["first_visit_date", "last_visit_date"];

/// What a view reads of the orders' lines.
const LINE_FIELDS: [&str; 5] = ["item_type", "item_code", "item_name", "quantity", "net_amount"];

fn has_columns(entity: &Entity, names: &[&str]) -> bool {
    names.iter().all(|name| entity.columns.iter().any(|column| column.name == *name))
}

fn has_lines(order: &Entity) -> bool {
    let lines = order.columns.iter().find(|column| column.name == "lines");
    lines.is_some_and(|column| match &order.field(column.number).kind {
        FieldType::Array(items) => matches!(&**items, FieldType::Record(item) if item.name == "consumption_line"
            && LINE_FIELDS.iter().all(|name| item.fields.iter().any(|field| field.name == *name))),
        _ => false,
    })
}

/// Something that a dialect writes in its own way, in the text of a view between braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hole<'t> {
    /// `{fen:X}`: the decimal X of two places as whole fen.
    Fen(&'t str),
    /// `{yuan:X}`: the whole fen X as a decimal of two places.
    Yuan(&'t str),
    /// `{utc_offset}`: the zone's, in seconds.
    UtcOffset,
}

/// The text with its holes filled.
pub fn filled(sql: &str, fill: impl Fn(Hole<'_>) -> String) -> String {
    let mut text = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').expect("holes of the views are closed");
        let hole = match inside.split_once(':') {
            Some(("fen", value)) => Hole::Fen(value),
            Some(("yuan", value)) => Hole::Yuan(value),
            None if inside == "utc_offset" => Hole::UtcOffset,
            _ => unreachable!("the views have no hole `{inside}`"),
        };
        text.push_str(before);
        text.push_str(&fill(hole));
        rest = after;
    }
    text.push_str(rest);
    text
}
