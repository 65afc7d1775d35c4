//! Orders in their three shapes, and updates of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::words::{self, draw, word_for};
use super::{Sample, customer, date, yuan, yuan_text};
use crate::oracle::Meaning;
use crate::oracle::values::without_nulls;
use crate::random::Random;

/// Numbers of orders that are of the table shape: the rest have a number of the long form.
const TABLE_FROM: u64 = 900;

/// The order number: the same number always means the same order.
pub fn number(institution: &str, number: u64) -> String {
    if number >= TABLE_FROM {
        return format!("{institution}-R{number}");
    }
    format!("{institution}-ORD-202601{:02}-{number:04}", number % 28 + 1)
}

/// A number of an order, of the table shape in some cases.
pub fn draw_number(random: &mut Random, many: u64) -> u64 {
    if random.chance(15) { TABLE_FROM + random.below(many / 4 + 1) } else { random.between(1, many) }
}

/// A whole order.
pub fn whole(random: &mut Random, institution: &str, order: u64) -> Sample {
    if order >= TABLE_FROM {
        table(random, institution, order)
    } else if random.chance(50) {
        flat(random, institution, order)
    } else {
        itemised(random, institution, order)
    }
}

struct Amounts {
    gross: u64,
    discount: u64,
    net: u64,
}

fn amounts(random: &mut Random) -> Amounts {
    let gross = random.between(100, 2_000_000);
    let discount = if random.chance(40) { 0 } else { random.below(gross / 2) };
    Amounts { gross, discount, net: gross - discount }
}

/// The one line of a flat order: what arrives beside the amounts, and the canonical line.
fn flat_line(random: &mut Random, amounts: &Amounts, arrival: &mut Value) -> Value {
    let quantity = if random.chance(70) { 1 } else { random.between(2, 5) };
    let product = format!("PROD-{}", random.between(1, 9));
    let mut line = json!({
        "line_no": 1, "quantity": quantity, "discount_amount": yuan_text(amounts.discount), "net_amount": yuan_text(amounts.net),
    });
    if random.chance(70) {
        let project = format!("PRJ-{}", random.between(1, 9));
        arrival["project_code"] = json!(project);
        line["item_type"] = json!("PROJECT");
        line["item_code"] = json!(project);
        if random.chance(60) {
            arrival["product_code"] = json!(product);
            line["consumed_product_code"] = json!(product);
        }
    } else {
        arrival["product_code"] = json!(product);
        line["item_type"] = json!("PRODUCT");
        line["item_code"] = json!(product);
    }
    if quantity != 1 {
        arrival["quantity"] = json!(quantity);
    }
    arrival["total_amount"] = yuan(amounts.gross);
    arrival["discount_amount"] = yuan(amounts.discount);
    arrival["actual_amount"] = yuan(amounts.net);
    line
}

fn put_amounts(amounts: &Amounts, row: &mut Value) {
    row["gross_amount"] = json!(yuan_text(amounts.gross));
    row["discount_amount"] = json!(yuan_text(amounts.discount));
    row["net_amount"] = json!(yuan_text(amounts.net));
}

fn flat(random: &mut Random, institution: &str, order: u64) -> Sample {
    let key = number(institution, order);
    let buyer = customer::code(institution, random.between(1, 40));
    let day = date(random);
    let (status, status_word) = draw(random, words::PAYMENT_STATUS);
    let (method, method_word) = draw(random, words::PAYMENT_METHOD);
    let mut arrival = json!({
        "order_number": key, "customer_code": buyer, "order_date": day, "payment_method": method_word, "payment_status": status_word,
    });
    let mut row = json!({
        "order_number": key, "institution_code": institution, "customer_code": buyer, "order_date": day,
        "payment_method": method, "payment_status": status,
    });
    let amounts = amounts(random);
    put_amounts(&amounts, &mut row);
    row["lines"] = json!([flat_line(random, &amounts, &mut arrival)]);
    let (kind, word) = draw(random, words::ITEM_TYPE);
    arrival["order_type"] = json!(word);
    row["order_type"] = json!(kind);
    if random.chance(60) {
        let doctor = format!("DOC-{}", random.between(1, 9));
        arrival["doctor_code"] = json!(doctor);
        row["doctor_code"] = json!(doctor);
    }
    if random.chance(30) {
        arrival["department"] = json!("皮肤科");
        row["department"] = json!("皮肤科");
    }
    if random.chance(30) {
        let id = random.between(1, 9);
        arrival["consultant_id"] = json!(id);
        row["consultant_code"] = json!(format!("CONSULTANT-{id}"));
    }
    if random.chance(20) {
        arrival["is_refund"] = json!(true);
        arrival["refund_reason"] = json!("客户取消");
        row["refund_reason"] = json!("客户取消");
        let refund = if random.chance(50) { amounts.net } else { random.below(amounts.net + 1) };
        if refund != amounts.net {
            arrival["refund_amount"] = yuan(refund);
        }
        row["refund_amount"] = json!(yuan_text(refund));
    }
    Sample::new("consumption", key, arrival, Meaning::Row(without_nulls(&row)))
}

/// Items whose identities hold to the fen: rate in tenths, prices in whole tens of fen.
fn items(random: &mut Random) -> (Vec<Value>, Vec<Value>, Amounts) {
    let mut arriving = Vec::new();
    let mut lines = Vec::new();
    let mut sum = Amounts { gross: 0, discount: 0, net: 0 };
    for line_no in 1..=random.between(1, 3) {
        let (quantity, price, tenths) = (random.between(1, 4), random.between(10, 50_000) * 10, random.between(5, 10));
        let gross = quantity * price;
        let net = gross / 10 * tenths;
        let (kind, _) = *random.pick(&words::ITEM_TYPE[..2]);
        let code = format!("{}-{}", if kind == "PROJECT" { "PRJ" } else { "PROD" }, random.between(1, 9));
        arriving.push(json!({
            "item_type": word_for(random, words::ITEM_TYPE, kind), "item_code": code, "item_name": "水光针", "quantity": quantity,
            "unit_price": yuan(price), "discount": tenths as f64 / 10.0, "actual_price": yuan(net),
        }));
        lines.push(json!({
            "line_no": line_no, "item_type": kind, "item_code": code, "item_name": "水光针", "quantity": quantity,
            "unit_price": yuan_text(price), "discount_rate": format!("{}.{}000", tenths / 10, tenths % 10),
            "discount_amount": yuan_text(gross - net), "net_amount": yuan_text(net),
        }));
        sum = Amounts { gross: sum.gross + gross, discount: sum.discount + gross - net, net: sum.net + net };
    }
    (arriving, lines, sum)
}

fn itemised(random: &mut Random, institution: &str, order: u64) -> Sample {
    let key = number(institution, order);
    let buyer = customer::code(institution, random.between(1, 40));
    let day = date(random);
    let (method, method_word) = draw(random, words::PAYMENT_METHOD);
    let (status, payment, fulfilment) = *random.pick(&[
        ("completed", "PAID", Some("COMPLETED")),
        ("cancelled", "CLOSED", Some("CANCELLED")),
        ("refunded", "REFUNDED", None),
        ("pending", "PENDING", None),
    ]);
    let (arriving, lines, sum) = items(random);
    let arrival = json!({
        "order_number": key, "customer_code": buyer, "order_date": day, "items": arriving, "total_amount": yuan(sum.net),
        "payment_method": method_word, "status": status,
    });
    let mut row = json!({
        "order_number": key, "institution_code": institution, "customer_code": buyer, "order_date": day, "lines": lines,
        "payment_method": method, "payment_status": payment, "fulfilment_status": fulfilment,
    });
    put_amounts(&sum, &mut row);
    Sample::new("consumption", key, arrival, Meaning::Row(without_nulls(&row)))
}

fn table(random: &mut Random, institution: &str, order: u64) -> Sample {
    let key = number(institution, order);
    let buyer = random.between(1, 40);
    let day = date(random);
    let (method, method_word) = draw(random, words::PAYMENT_METHOD);
    let fen = random.between(100, 900_000);
    let (product, consultant, quantity) = (random.between(1, 9), random.between(1, 9), random.between(1, 3));
    let fresh = random.chance(50);
    let arrival = json!({
        "record_id": order, "customer_id": buyer, "consume_date": day, "amount": yuan(fen), "department": "无创科",
        "is_new_customer": fresh, "consultant_id": consultant, "product_id": product, "quantity": quantity,
        "payment_method": method_word,
    });
    let amounts = Amounts { gross: fen, discount: 0, net: fen };
    let mut row = json!({
        "order_number": key, "institution_code": institution, "customer_code": customer::code(institution, buyer), "order_date": day,
        "department": "无创科", "source_is_new_customer": fresh, "consultant_code": format!("CONSULTANT-{consultant}"),
        "payment_method": method, "payment_status": "PAID",
        "lines": [{"line_no": 1, "item_type": "PRODUCT", "item_code": format!("P{product}"), "quantity": quantity,
                   "discount_amount": "0.00", "net_amount": yuan_text(fen)}],
    });
    put_amounts(&amounts, &mut row);
    Sample::new("consumption", key, arrival, Meaning::Row(without_nulls(&row)))
}

/// A partial order: plain fields, all amounts of a flat one, or all items.
pub fn partial(random: &mut Random, institution: &str, order: u64) -> Sample {
    let key = number(institution, order);
    let mut patch = BTreeMap::new();
    let mut updates = json!({});
    match random.below(4) {
        0 => {
            let (code, word) = draw(random, words::PAYMENT_STATUS);
            updates["payment_status"] = json!(word);
            patch.insert("payment_status".to_owned(), json!(code));
        }
        1 => {
            updates["department"] = Value::Null;
            patch.insert("department".to_owned(), Value::Null);
        }
        2 => {
            let amounts = amounts(random);
            let line = flat_line(random, &amounts, &mut updates);
            let mut row = json!({ "lines": [line] });
            put_amounts(&amounts, &mut row);
            patch.extend(row.as_object().expect("an object").clone());
        }
        _ => {
            let (arriving, lines, sum) = items(random);
            updates["items"] = json!(arriving);
            updates["total_amount"] = yuan(sum.net);
            let mut row = json!({ "lines": lines });
            put_amounts(&sum, &mut row);
            patch.extend(row.as_object().expect("an object").clone());
        }
    }
    Sample::new("consumption", key.clone(), json!({"order_number": key, "updates": updates}), Meaning::Patch(patch))
}
