//! Records that must be refused, one of every kind that the documentation names, and nothing of them may be applied.

use serde_json::{Value, json};

use super::{Operation, Sample, consumption, customer};
use crate::random::Random;

/// A customer that must be refused.
pub fn customer(random: &mut Random, operation: Operation, institution: &str) -> Sample {
    let code = customer::code(institution, 5000 + random.below(1000));
    let person = json!({"name": "张三"});
    let arrival = match operation {
        Operation::Insert => match random.below(9) {
            0 => json!({"person": person}),
            1 => json!({"customer_code": "没有编号", "person": person}),
            2 => json!({"customer_code": "XX-YY-999-C0001", "person": person}),
            3 => json!({"customer_code": code, "person": {"name": "张三", "birthday": "1990-02-30"}}),
            4 => json!({"customer_code": code, "person": person, "first_visit_date": "昨天"}),
            5 => json!({"customer_code": code, "person": person, "notes": "x".repeat(65 * 1024)}),
            6 => json!({"customer_code": code, "person": person, "notes": "a\u{0}b"}),
            7 => json!({"customer_code": code, "person": {"phone": "13800000000"}}),
            _ => json!(42),
        },
        Operation::Update => match random.below(5) {
            0 => json!({"customer_code": code, "updates": {}}),
            1 => json!({"customer_code": code}),
            2 => json!({"customer_code": code, "updates": {"customer_code": customer::code(institution, 1)}}),
            3 => json!({"customer_code": code, "updates": {"person": {"name": null}}}),
            _ => json!({"customer_code": code, "updates": {"last_visit_date": "2026-13-01"}}),
        },
        Operation::Delete => json!({"customer": code}),
    };
    Sample::refused("customer", arrival, None)
}

/// An order that must be refused.
pub fn consumption(random: &mut Random, operation: Operation, institution: &str) -> Sample {
    let key = consumption::number(institution, 500 + random.below(100));
    let mut good = json!({
        "order_number": key, "customer_code": customer::code(institution, 1), "order_date": "2026-01-10", "project_code": "PRJ-1",
        "total_amount": 100.00, "discount_amount": 10.00, "actual_amount": 90.00,
    });
    let mut reason = None;
    let arrival = match operation {
        Operation::Insert => {
            match random.below(7) {
                0 => good["actual_amount"] = json!(95.00),
                1 => good["total_amount"] = json!(100.005),
                2 => good["total_amount"] = json!(1e17),
                3 => good["order_date"] = json!("2026-02-30"),
                4 => good["order_number"] = json!(format!("{institution}-ORD-20260230-0001")),
                5 => good["total_amount"] = json!("一百"),
                _ => {
                    good.as_object_mut().expect("an object").remove("order_number");
                }
            }
            good
        }
        Operation::Update => match random.below(3) {
            0 => {
                reason = Some("incomplete_line");
                json!({"order_number": key, "updates": {"quantity": 3}})
            }
            1 => {
                json!({"order_number": key, "updates": {"total_amount": 50, "discount_amount": 1, "actual_amount": 50, "project_code": "PRJ-1"}})
            }
            _ => json!({"order_number": key, "updates": {"order_date": null}}),
        },
        Operation::Delete => json!({"order_number": Value::Null}),
    };
    Sample::refused("consumption", arrival, reason)
}

/// A relation that must be refused.
pub fn relation(random: &mut Random) -> Sample {
    let mut arrival = json!({"source_type": "PROJECT", "source_code": "PRJ-1", "target_type": "PROJECT", "target_code": "PRJ-2",
        "relation_type": "SIMILAR", "relation_level": 3});
    match random.below(3) {
        0 => arrival["relation_type"] = json!("FRIENDSHIP"),
        1 => arrival["relation_level"] = json!(9),
        _ => arrival["target_code"] = Value::Null,
    }
    Sample::refused("catalog_relation", arrival, None)
}
