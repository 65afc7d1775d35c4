//! Everything small: institutions, staff, projects, products, relations between them, write-offs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::words::{self, draw};
use super::{Sample, customer, date, yuan, yuan_text};
use crate::oracle::Meaning;
use crate::oracle::values::{join_key, without_nulls};
use crate::random::Random;

/// An institution.
pub fn institution(random: &mut Random, code: &str) -> Sample {
    let (kind, kind_word) = draw(random, words::INSTITUTION_TYPE);
    let (status, status_word) = draw(random, words::STATUS);
    let name = format!("华美医疗 {}", random.below(5));
    let address = random.chance(50).then(|| format!("北京市朝阳区 {}", random.below(9)));
    let arrival = json!({"institution_code": code, "name": name, "type": kind_word, "status": status_word, "address": address});
    let row = json!({"institution_code": code, "name": name, "type": kind, "status": status, "address": address});
    Sample::new("institution", code, arrival, Meaning::Row(without_nulls(&row)))
}

/// A doctor.
pub fn doctor(random: &mut Random, number: u64) -> Sample {
    let code = format!("DOC-{number}");
    let (gender, word) = draw(random, words::GENDER);
    let home = *random.pick(&super::INSTITUTIONS);
    let specialty = random.chance(60).then_some(["注射", "激光"]);
    let title = *random.pick(&["主任", "副主任", "主治"]);
    let arrival = json!({"doctor_code": code, "institution_code": home, "name": "林医生", "gender": word, "title": title,
        "specialty": specialty, "department": "皮肤科"});
    let row = json!({"staff_code": code, "role": "DOCTOR", "institution_code": home, "name": "林医生", "gender": gender, "title": title,
        "specialty": specialty, "department": "皮肤科"});
    Sample::new("staff", code, arrival, Meaning::Row(without_nulls(&row)))
}

/// A consultant.
pub fn consultant(random: &mut Random, number: u64) -> Sample {
    let code = format!("CONSULTANT-{number}");
    let home = *random.pick(&super::INSTITUTIONS);
    let name = format!("顾问{}", random.below(9));
    let arrival = json!({"consultant_id": number, "name": name, "department": "咨询部", "institution_code": home});
    let row = json!({"staff_code": code, "role": "CONSULTANT", "institution_code": home, "name": name, "department": "咨询部"});
    Sample::new("staff", code, arrival, Meaning::Row(row))
}

/// A project.
pub fn project(random: &mut Random, number: u64) -> Sample {
    let code = format!("PRJ-{number}");
    let fen = random.between(1, 999_999);
    let (status, word) = draw(random, words::STATUS);
    let level = random.between(1, 5);
    let arrival = json!({"project_code": code, "name": "水光针", "category": "INJECTION", "risk_level": level, "price": yuan(fen),
        "duration_minutes": 30, "status": word, "body_part": "面部"});
    let row = json!({"project_code": code, "name": "水光针", "category": "INJECTION", "risk_level": level,
        "standard_price": yuan_text(fen), "duration_minutes": 30, "status": status, "body_part": "面部"});
    Sample::new("project", code, arrival, Meaning::Row(row))
}

/// A product, in the catalogue's form.
pub fn product(random: &mut Random, number: u64) -> Sample {
    let code = format!("PROD-{number}");
    let fen = random.between(1, 999_999);
    let price = *random.pick(&["price", "standard_price"]);
    let level = random.between(1, 5);
    let mut arrival =
        json!({"product_code": code, "name": "保妥适 100U", "brand": "Allergan", "unit": "瓶", "effect_level": level});
    arrival[price] = yuan(fen);
    let row = json!({"product_code": code, "name": "保妥适 100U", "brand": "Allergan", "unit": "瓶", "effect_level": level,
        "standard_price": yuan_text(fen)});
    Sample::new("product", code, arrival, Meaning::Row(row))
}

/// A product of the other system: a number instead of a code.
pub fn medical_product(random: &mut Random, number: u64) -> Sample {
    let fen = random.between(1, 999_999);
    let code = format!("P{number}");
    let kind = *random.pick(&["流量品", "利润品", "高价款"]);
    let arrival = json!({"product_id": number, "product_name": "热玛吉", "department": "无创科", "product_type": kind, "standard_price": yuan(fen)});
    let row = json!({"product_code": code, "name": "热玛吉", "department": "无创科", "product_type": kind,
        "standard_price": yuan_text(fen)});
    Sample::new("product", code, arrival, Meaning::Row(row))
}

/// A relation between two catalogue entries.
pub fn relation(random: &mut Random) -> Sample {
    let end = |random: &mut Random| {
        if random.chance(50) {
            ("PROJECT", format!("PRJ-{}", random.between(1, 9)))
        } else {
            ("PRODUCT", format!("PROD-{}", random.between(1, 9)))
        }
    };
    let (from, to) = (end(random), end(random));
    let kind = *random.pick(&["UPGRADE", "SIMILAR", "COMBINATION", "PREREQUISITE", "ALTERNATIVE"]);
    let row = json!({"source_type": from.0, "source_code": from.1, "target_type": to.0, "target_code": to.1, "relation_type": kind,
        "relation_level": random.between(1, 5), "is_bidirectional": random.chance(50)});
    let key = join_key(&[from.0, &from.1, to.0, &to.1, kind]);
    Sample::new("catalog_relation", key, row.clone(), Meaning::Row(row))
}

/// A write-off.
pub fn write_off(random: &mut Random, institution: &str, number: u64) -> Sample {
    let key = format!("WO-{institution}-{number}");
    let fen = random.between(1, 999_999);
    let (buyer, product, day) = (random.between(1, 40), random.between(1, 9), date(random));
    let order = super::consumption::number(institution, random.between(1, 60));
    let arrival = json!({"write_off_id": key, "customer_id": buyer, "write_off_date": day, "amount": yuan(fen), "department": "皮肤科",
        "product_id": product, "quantity": 1, "order_number": order, "write_off_type": "正常划扣"});
    let row = json!({"write_off_id": key, "institution_code": institution, "customer_code": customer::code(institution, buyer),
        "write_off_date": day, "amount": yuan_text(fen), "department": "皮肤科", "product_code": format!("P{product}"), "quantity": 1,
        "order_number": order, "write_off_type": "正常划扣"});
    Sample::new("write_off", key, arrival, Meaning::Row(row))
}

/// A partial project or product.
pub fn partial(random: &mut Random, entity: &'static str, number: u64) -> Sample {
    let (field, prefix) = if entity == "project" { ("project_code", "PRJ") } else { ("product_code", "PROD") };
    let key = format!("{prefix}-{number}");
    let fen = random.between(1, 999_999);
    let description = if random.chance(30) { Value::Null } else { json!("新说明") };
    let updates = json!({"price": yuan(fen), "description": description});
    let patch = BTreeMap::from([("standard_price".to_owned(), json!(yuan_text(fen))), ("description".to_owned(), description)]);
    Sample::new(entity, key.clone(), json!({field: key, "updates": updates}), Meaning::Patch(patch))
}
