//! Orders: the three shapes, their identities, and updates.

use serde_json::json;
use tidemark_schemas::Operation;

use super::{HOME, insert, map, reason};

const FLAT: &str = r#"{"order_number": "BJ-HA-001-ORD-20260110-0001", "customer_code": "BJ-HA-001-C0001", "doctor_code": "DOC-BJ-001",
    "order_date": "2026-01-10", "order_type": "PROJECT", "project_code": "BOTOX-001", "product_code": "BOTOX-100U",
    "total_amount": 3980.00, "discount_amount": 398.00, "actual_amount": 3582.00, "payment_method": "WECHAT", "payment_status": "PAID"}"#;

const ITEMISED: &str = r#"{"order_number": "BJ-HA-001-ORD-20260115-0001", "customer_code": "BJ-HA-001-C0001", "order_date": "2026-01-15",
    "items": [{"item_type": "project", "item_code": "PRJ-001", "item_name": "水光针", "quantity": 1, "unit_price": 2800.00,
    "discount": 0.9, "actual_price": 2520.00}], "total_amount": 2520.00, "payment_method": "微信支付", "status": "completed"}"#;

const TABLE: &str = r#"{"record_id": 55, "customer_id": 17, "consume_date": "2025-04-01", "amount": 1960, "department": "皮肤科",
    "is_new_customer": true, "consultant_id": 3, "product_id": 12, "quantity": 2, "payment_method": "银行卡"}"#;

#[test]
fn the_flat_shape() {
    assert_eq!(
        insert("consumption_records.json", HOME, FLAT),
        json!({"order_number": "BJ-HA-001-ORD-20260110-0001", "institution_code": "BJ-HA-001", "customer_code": "BJ-HA-001-C0001",
            "doctor_code": "DOC-BJ-001", "order_date": "2026-01-10", "order_type": "PROJECT", "lines": [{"line_no": 1,
            "item_type": "PROJECT", "item_code": "BOTOX-001", "consumed_product_code": "BOTOX-100U", "quantity": 1,
            "discount_amount": "398.00", "net_amount": "3582.00"}], "gross_amount": "3980.00", "discount_amount": "398.00",
            "net_amount": "3582.00", "payment_method": "WECHAT", "payment_status": "PAID"})
    );
}

#[test]
fn the_itemised_shape() {
    assert_eq!(
        insert("consumption_records.json", HOME, ITEMISED),
        json!({"order_number": "BJ-HA-001-ORD-20260115-0001", "institution_code": "BJ-HA-001", "customer_code": "BJ-HA-001-C0001",
            "order_date": "2026-01-15", "lines": [{"line_no": 1, "item_type": "PROJECT", "item_code": "PRJ-001",
            "item_name": "水光针", "quantity": 1, "unit_price": "2800.00", "discount_rate": "0.9000", "discount_amount": "280.00",
            "net_amount": "2520.00"}], "gross_amount": "2800.00", "discount_amount": "280.00", "net_amount": "2520.00",
            "payment_method": "WECHAT", "payment_status": "PAID", "fulfilment_status": "COMPLETED"})
    );
}

#[test]
fn the_table_shape() {
    assert_eq!(
        insert("consumption_records.json", HOME, TABLE),
        json!({"order_number": "BJ-HA-001-R55", "institution_code": "BJ-HA-001", "customer_code": "BJ-HA-001-C0017",
            "consultant_code": "CONSULTANT-3", "order_date": "2025-04-01", "lines": [{"line_no": 1, "item_type": "PRODUCT",
            "item_code": "P12", "quantity": 2, "discount_amount": "0.00", "net_amount": "1960.00"}], "gross_amount": "1960.00",
            "discount_amount": "0.00", "net_amount": "1960.00", "payment_method": "CARD", "payment_status": "PAID",
            "department": "皮肤科", "source_is_new_customer": true})
    );
    assert_eq!(reason("consumption_records.json", Operation::Insert, None, TABLE), "no_institution");
}

#[test]
fn identities_hold_to_the_fen() {
    for (text, from, to, expected) in [
        (FLAT, "3582.00", "3582.01", None),
        (FLAT, "3582.00", "3582.02", Some("amount_mismatch")),
        (FLAT, "3582.00", "3582.001", Some("bad_amount")),
        (FLAT, "\"discount_amount\": 398.00,", "", Some("missing_field")),
        (ITEMISED, "\"total_amount\": 2520.00", "\"total_amount\": 2520.02", Some("amount_mismatch")),
        (ITEMISED, "\"discount\": 0.9", "\"discount\": 0.8", Some("amount_mismatch")),
        (ITEMISED, "\"unit_price\": 2800.00,", "", Some("missing_field")),
        (ITEMISED, "\"quantity\": 1", "\"quantity\": 1.5", Some("bad_number")),
        (ITEMISED, "\"unit_price\": 2800.00", "\"unit_price\": 9999999999999999.99, \"quantity\": 1", Some("duplicate_field")),
        (FLAT, "2026-01-10", "2026-13-10", Some("bad_date")),
        (FLAT, "ORD-20260110", "ORD-20261310", Some("malformed_key")),
    ] {
        let record = text.replace(from, to);
        let found = map("consumption_records.json", Operation::Insert, HOME, &record).err();
        assert_eq!(found.as_deref().and_then(|problem| problem.split(':').next()), expected, "{from} -> {to}");
    }
}

#[test]
fn states_of_the_itemised_shape() {
    for (status, payment, fulfilment) in [
        ("completed", "PAID", Some("COMPLETED")),
        ("Cancelled", "CLOSED", Some("CANCELLED")),
        ("refunded", "REFUNDED", None),
        ("pending", "PENDING", None),
    ] {
        let row = insert("consumption_records.json", HOME, &ITEMISED.replace("\"completed\"", &format!("\"{status}\"")));
        assert_eq!((row["payment_status"].as_str(), row["fulfilment_status"].as_str()), (Some(payment), fulfilment));
    }
}

#[test]
fn a_refund_without_amount_is_whole() {
    let row = insert("consumption_records.json", HOME, &FLAT.replace("\"order_type\"", "\"is_refund\": true, \"order_type\""));
    assert_eq!(row["refund_amount"], "3582.00");
    let named = FLAT.replace("\"order_type\"", "\"is_refund\": true, \"refund_amount\": 5, \"order_type\"");
    assert_eq!(insert("consumption_records.json", HOME, &named)["refund_amount"], "5.00");
}

#[test]
fn a_line_without_project_is_a_product() {
    let row = insert("consumption_records.json", HOME, &FLAT.replace("\"project_code\": \"BOTOX-001\",", "\"quantity\": 3,"));
    assert_eq!(row["lines"][0]["item_type"], "PRODUCT");
    assert_eq!(row["lines"][0]["item_code"], "BOTOX-100U");
    assert_eq!(row["lines"][0]["quantity"], 3);
}

#[test]
fn updates_keep_an_order_whole() {
    let update = |updates: &str| {
        let record = format!(r#"{{"order_number": "BJ-HA-001-ORD-20260110-0001", "updates": {updates}}}"#);
        map("consumption_records_update.json", Operation::Update, HOME, &record)
            .map(|(_, row, mask)| (row, mask))
            .map_err(|problem| problem.split(':').next().unwrap().to_owned())
    };
    assert_eq!(update(r#"{"payment_status": "已退款"}"#).unwrap().1, ["payment_status"]);
    for touched in [
        r#"{"actual_amount": 1}"#,
        r#"{"quantity": 2}"#,
        r#"{"project_code": "X"}"#,
        r#"{"total_amount": 10, "discount_amount": 0, "actual_amount": 10}"#,
        r#"{"items": []}"#,
        r#"{"amount": 10}"#,
        r#"{"is_refund": true}"#,
    ] {
        assert_eq!(update(touched), Err("incomplete_line".to_owned()), "{touched}");
    }
    let whole = r#"{"total_amount": 10, "discount_amount": 1, "actual_amount": 9, "project_code": "X", "product_code": null}"#;
    let (row, mask) = update(whole).unwrap();
    assert_eq!(mask, ["lines", "gross_amount", "discount_amount", "net_amount"]);
    assert_eq!(row["lines"][0]["item_code"], "X");
    let (row, _) =
        update(r#"{"items": [{"item_type": "产品", "unit_price": 5, "quantity": 2, "actual_price": 10}], "total_amount": 10}"#)
            .unwrap();
    assert_eq!((row["gross_amount"].as_str(), row["lines"][0]["item_type"].as_str()), (Some("10.00"), Some("PRODUCT")));
    assert_eq!(update(r#"{"order_date": null}"#), Err("required_null".to_owned()));
    assert_eq!(update(r#"{"status": "cancelled"}"#).unwrap().1, ["payment_status", "fulfilment_status"]);
    assert_eq!(
        update(r#"{"total_amount": 10, "discount_amount": 1, "actual_amount": 8, "project_code": "X"}"#),
        Err("amount_mismatch".to_owned())
    );
}

#[test]
fn amounts_that_are_worked_out_have_no_more_digits_than_given_ones() {
    const LARGEST: &str = "9999999999999999.00";
    let order = |items: &[(&str, &str)], total: &str| {
        let item = |(price, paid): &(&str, &str)| {
            format!(r#"{{"item_type": "project", "item_code": "PRJ-001", "unit_price": {price}, "actual_price": {paid}}}"#)
        };
        let items: Vec<_> = items.iter().map(item).collect();
        let head =
            r#"{"order_number": "BJ-HA-001-ORD-20260115-0001", "customer_code": "BJ-HA-001-C0001", "order_date": "2026-01-15""#;
        format!(r#"{head}, "items": [{}], "total_amount": {total}}}"#, items.join(", "))
    };
    let judged = |text: &str| reason("consumption_records.json", Operation::Insert, HOME, text);
    // the order's gross amount
    assert_eq!(judged(&order(&[(LARGEST, "0.00"), (LARGEST, "0.00")], "0.00")), "bad_amount");
    // a product that decimals can hold, and its difference to what was paid not
    let item = r#"{"item_type": "project", "item_code": "PRJ-001", "quantity": 7922816251426, "discount": 1,
        "unit_price": 9999999999999999.99, "actual_price": -9999999999999999.99}"#;
    let head = r#""order_number": "BJ-HA-001-ORD-20260115-0001", "customer_code": "BJ-HA-001-C0001", "order_date": "2026-01-15""#;
    assert_eq!(judged(&format!(r#"{{{head}, "items": [{item}], "total_amount": 0}}"#)), "bad_amount");
    // the line's discount
    assert_eq!(judged(&order(&[(LARGEST, "-9999999999999999.00")], "-9999999999999999.00")), "bad_amount");
}
