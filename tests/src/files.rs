//! Small builders of input texts, for tests that say in place what they drop.

use serde_json::{Value, json};

use crate::generator::Operation;

/// An envelope of institution `BJ-HA-001`.
pub fn envelope(operation: Operation, data: &[Value]) -> String {
    let timestamp = "2026-01-15T10:30:00";
    json!({"operation": operation.name(), "timestamp": timestamp, "institution_code": "BJ-HA-001", "data": data}).to_string()
}

/// The code of a customer of `BJ-HA-001`.
pub fn code(number: u64) -> String {
    format!("BJ-HA-001-C{number:04}")
}

/// A plain customer of `BJ-HA-001`.
pub fn customer(number: u64, name: &str) -> Value {
    json!({"customer_code": code(number), "person": {"name": name, "phone": format!("138{number:08}")}, "vip_level": "GOLD"})
}

/// The number of an order of `BJ-HA-001`.
pub fn order_number(number: u64) -> String {
    format!("BJ-HA-001-ORD-20260110-{number:04}")
}

/// A plain order of a customer of `BJ-HA-001`, in yuan without discount.
pub fn order(number: u64, buyer: u64, amount: u64) -> Value {
    json!({"order_number": order_number(number), "customer_code": code(buyer), "order_date": "2026-01-10", "order_type": "PROJECT",
        "project_code": "BOTOX-001", "total_amount": amount, "discount_amount": 0, "actual_amount": amount,
        "payment_method": "WECHAT", "payment_status": "PAID"})
}

/// Where an envelope of the usual day is dropped.
pub fn pending(name: &str) -> String {
    format!("incremental/pending/2026-01-15/{name}")
}
