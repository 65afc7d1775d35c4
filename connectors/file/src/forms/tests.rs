use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tidemark_schemas::{Catalog, Operation, json as rows};

use super::mapper::{Mapped, Mapper};
use super::{Forms, hint};
use crate::problem::Rejected;

fn with<T>(
    file: &str,
    operation: Operation,
    institution: Option<&str>,
    record: &str,
    use_it: impl FnOnce(&Mapper, Result<Mapped<'_>, Rejected>) -> T,
) -> T {
    let forms = Forms::new(&Catalog::built_in());
    let form = forms.of_file(file).unwrap().clone();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let mut mapper = Mapper::new(form, operation, institution.map(str::to_owned), zone);
    let mapped = mapper.map(record);
    use_it(&mapper, mapped)
}

/// Key, row as JSON with nulls left out, and the names that the mask speaks of.
fn map(
    file: &str,
    operation: Operation,
    institution: Option<&str>,
    record: &str,
) -> Result<(String, Value, Vec<String>), String> {
    with(file, operation, institution, record, |mapper, mapped| {
        let entity = &mapper.form().entity;
        let mapped = mapped.map_err(|rejected| format!("{}: {}", rejected.problem.reason, rejected.problem.detail))?;
        let row = mapped.row.as_ref().map_or(Value::Null, |row| without_nulls(rows::row_to_json(&entity.record, row)));
        let mask = mapped.mask.iter().map(|number| entity.field(*number).name.clone()).collect();
        Ok((mapped.key, row, mask))
    })
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(n, v)| (n, without_nulls(v))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn insert(file: &str, institution: Option<&str>, record: &str) -> Value {
    map(file, Operation::Insert, institution, record).unwrap().1
}

fn reason(file: &str, operation: Operation, institution: Option<&str>, record: &str) -> String {
    let problem = map(file, operation, institution, record).unwrap_err();
    problem.split(':').next().unwrap().to_owned()
}

const HOME: Option<&str> = Some("BJ-HA-001");

#[test]
fn files_are_known_by_the_longest_stem() {
    let forms = Forms::new(&Catalog::built_in());
    let stem = |file: &str| forms.of_file(file).map(|form| form.stem.clone());
    for (file, expected) in [
        ("customers_add.json", "customers"),
        ("consumption_records.json", "consumption_records"),
        ("medical_products.json", "medical_products"),
        ("products_update-2.json", "products"),
        ("Customers.JSON", "customers"),
        ("customers_BJ-HA-001_add.json", "customers"),
    ] {
        assert_eq!(stem(file).as_deref(), Some(expected), "{file}");
    }
    for file in ["customersx.json", "orders.json", ".json", "客户.json", "custom.json"] {
        assert_eq!(stem(file), None, "{file}");
    }
    assert_eq!(hint("customers_update.json"), Some(Operation::Update));
    assert_eq!(hint("customers_delete-3.json"), Some(Operation::Delete));
    assert_eq!(hint("xxx_ADD.json"), Some(Operation::Insert));
    assert_eq!(hint("consumption_records.json"), None);
}

#[test]
fn institutions_of_both_vocabularies() {
    let guide = r#"{"institution_code": "BJ-HA-001", "name": "北京华美医疗美容医院", "alias": "华美北京", "type": "HOSPITAL", "status": "ACTIVE"}"#;
    let row = insert("institutions.json", None, guide);
    assert_eq!(row, serde_json::from_str::<Value>(guide).unwrap());
    let run = r#"{"institution_code": "BJ-HA-001", "name": "北京XX医美诊所", "type": "诊所", "address": "北京市朝阳区...",
        "phone": "010-12345678", "email": "contact@example.com", "status": "active"}"#;
    let row = insert("institutions.json", None, run);
    assert_eq!((&row["type"], &row["status"]), (&json!("CLINIC"), &json!("ACTIVE")));
}

#[test]
fn customers_of_both_vocabularies() {
    let guide = r#"{"customer_code": "BJ-HA-001-C0001", "person": {"name": "张小红", "phone": "13811110001", "gender": "FEMALE",
        "birthday": "1990-01-16"}, "vip_level": "GOLD", "source": "REFERRAL", "consultant_id": null, "notes": "VIP客户，注意服务质量"}"#;
    assert_eq!(
        insert("customers.json", HOME, guide),
        json!({"customer_code": "BJ-HA-001-C0001", "institution_code": "BJ-HA-001", "person": {"name": "张小红",
            "phone": "13811110001", "gender": "FEMALE", "birthday": "1990-01-16"}, "vip_level": "GOLD", "source": "REFERRAL",
            "notes": "VIP客户，注意服务质量"})
    );
    let run = r#"{"customer_code": "BJ-HA-001-C0001", "person": {"name": "张三", "gender": "女", "birthday": "1990-05-15",
        "phone": "13800138000"}, "vip_level": "金卡", "source": "朋友推荐", "tags": ["敏感肌", "抗衰老"], "notes": "皮肤敏感，注意产品选择"}"#;
    assert_eq!(
        insert("customers.json", None, run),
        json!({"customer_code": "BJ-HA-001-C0001", "institution_code": "BJ-HA-001", "person": {"name": "张三", "gender": "FEMALE",
            "birthday": "1990-05-15", "phone": "13800138000"}, "vip_level": "GOLD", "source": "REFERRAL",
            "tags": ["敏感肌", "抗衰老"], "notes": "皮肤敏感，注意产品选择"})
    );
}

#[test]
fn customers_in_the_table_form() {
    let record = r#"{"customer_id": 17, "name": "李四", "phone": 13900000000, "register_date": "2025-03-01", "consultant_id": 4,
        "health_tags": {"allergies": ["青霉素"]}, "membership_level": "白银"}"#;
    assert_eq!(
        insert("customers.json", HOME, record),
        json!({"customer_code": "BJ-HA-001-C0017", "institution_code": "BJ-HA-001", "person": {"name": "李四", "phone": "13900000000"},
            "first_visit_date": "2025-03-01", "consultant_code": "CONSULTANT-4", "health_tags": "{\"allergies\": [\"青霉素\"]}",
            "vip_level": "SILVER"})
    );
    assert_eq!(reason("customers.json", Operation::Insert, None, record), "no_institution");
}

#[test]
fn nested_updates_speak_only_of_what_they_name() {
    let update = |record: &str| map("customers_update.json", Operation::Update, HOME, record);
    let (key, row, mask) =
        update(r#"{"customer_code": "BJ-HA-001-C0001", "updates": {"vip_level": "PLATINUM", "notes": "升级为铂金会员"}}"#)
            .unwrap();
    assert_eq!((key.as_str(), mask), ("BJ-HA-001-C0001", vec!["vip_level".to_owned(), "notes".to_owned()]));
    assert_eq!(row, json!({"customer_code": "BJ-HA-001-C0001", "vip_level": "PLATINUM", "notes": "升级为铂金会员"}));
    let (_, row, mask) =
        update(r#"{"customer_code": "BJ-HA-001-C0002", "updates": {"person": {"phone": "13899998888"}}}"#).unwrap();
    assert_eq!(mask, ["phone"]);
    assert_eq!(row, json!({"customer_code": "BJ-HA-001-C0002", "person": {"phone": "13899998888"}}));
    let (_, row, mask) =
        update(r#"{"customer_code": "BJ-HA-001-C0002", "updates": {"person": null, "vip_level": null, "x": 1, "_y": 2}}"#)
            .unwrap();
    assert_eq!((row, mask.len()), (json!({"customer_code": "BJ-HA-001-C0002"}), 2));
    for (updates, expected) in [
        ("{}", "no_field"),
        (r#"{"unknown": 1}"#, "no_field"),
        (r#"{"person": {}}"#, "no_field"),
        (r#"{"person": {"name": null}}"#, "required_null"),
        (r#"{"customer_code": "BJ-HA-001-C0003"}"#, "key_change"),
        (r#"{"customer_code": "BJ-HA-001-C0002"}"#, "no_field"),
        (r#"{"institution_code": "SH-ML-002"}"#, "institution_mismatch"),
        ("[]", "bad_object"),
        (r#"{"notes": "a", "notes": "b"}"#, "duplicate_field"),
    ] {
        let record = format!(r#"{{"customer_code": "BJ-HA-001-C0002", "updates": {updates}}}"#);
        assert_eq!(reason("customers_update.json", Operation::Update, HOME, &record), expected, "{updates}");
    }
    assert_eq!(
        reason("customers.json", Operation::Update, HOME, r#"{"customer_code": "BJ-HA-001-C0002", "notes": "x"}"#),
        "no_field"
    );
}

#[test]
fn a_delete_is_its_key() {
    let (key, row, mask) =
        map("customers_delete.json", Operation::Delete, HOME, r#"{ "customer_code": "BJ-HA-001-C0099" }"#).unwrap();
    assert_eq!((key.as_str(), row, mask.len()), ("BJ-HA-001-C0099", Value::Null, 0));
    assert_eq!(reason("customers.json", Operation::Delete, HOME, r#"{"customer_code": "SH-ML-002-C1"}"#), "institution_mismatch");
}

#[test]
fn keys_and_institutions_are_judged() {
    for (record, expected) in [
        (r#"{"person": {"name": "a"}}"#, "missing_key"),
        (r#"{"customer_code": null}"#, "missing_key"),
        (r#"{"customer_code": "C0001"}"#, "malformed_key"),
        (r#"{"customer_code": "BJ-HA-001-C"}"#, "malformed_key"),
        (r#"{"customer_code": "SH-ML-002-C0001", "person": {"name": "a"}}"#, "institution_mismatch"),
        (r#"{"customer_code": "BJ-HA-001-C0001", "institution_code": "SH-ML-002"}"#, "institution_mismatch"),
        ("[]", "not_an_object"),
        ("7", "not_an_object"),
    ] {
        assert_eq!(reason("customers.json", Operation::Insert, HOME, record), expected, "{record}");
    }
    let hinted = with(
        "customers.json",
        Operation::Insert,
        HOME,
        r#"{"vip_level": 7, "customer_code": "BJ-HA-001-C0001"}"#,
        |_, mapped| mapped.unwrap_err().key,
    );
    assert_eq!(hinted.as_deref(), Some("BJ-HA-001-C0001"));
}

#[test]
fn hostile_values_end_as_rejections() {
    let customer = |fields: &str| format!(r#"{{"customer_code": "BJ-HA-001-C0001", "person": {{"name": "a"}}, {fields}}}"#);
    for (fields, expected) in [
        (r#""notes": "a\u0000b""#.to_owned(), "nul_character"),
        (format!(r#""notes": "{}""#, "x".repeat(65_537)), "text_too_long"),
        (r#""notes": "\ud800""#.to_owned(), "bad_text"),
        (r#""first_visit_date": "2026-02-30""#.to_owned(), "bad_date"),
        (r#""tags": "x""#.to_owned(), "bad_list"),
        (r#""tags": [null]"#.to_owned(), "bad_list"),
        (r#""notes": {}"#.to_owned(), "bad_text"),
        (r#""name": "b""#.to_owned(), "contradiction"),
    ] {
        assert_eq!(reason("customers.json", Operation::Insert, HOME, &customer(&fields)), expected, "{fields:.80}");
    }
    for text in ["'; DROP TABLE customer; --", "😀𠮷", "a\\u0007b", &"x".repeat(65_536)] {
        insert("customers.json", HOME, &customer(&format!(r#""notes": "{text}""#)));
    }
}

#[test]
fn personal_values_are_not_quoted() {
    let record = r#"{"customer_code": "BJ-HA-001-C0001", "person": {"name": "a", "birthday": "1990/01/16"}}"#;
    let problem = map("customers.json", Operation::Insert, HOME, record).unwrap_err();
    assert_eq!(problem, "bad_date: `person.birthday` must be a date YYYY-MM-DD");
    let record = r#"{"customer_code": "BJ-HA-001-C0001", "person": {"name": "a"}, "last_visit_date": "1990/01/16"}"#;
    let problem = map("customers.json", Operation::Insert, HOME, record).unwrap_err();
    assert_eq!(problem, "bad_date: `last_visit_date` must be a date YYYY-MM-DD, not \"1990/01/16\"");
}

#[test]
fn unknown_codes_and_keys_are_remarked() {
    let record = r#"{"customer_code": "BJ-HA-001-C0001", "person": {"name": "a", "height": 1}, "vip_level": "BLACK", "colour": 1, "_note": 2}"#;
    let notes = with("customers.json", Operation::Insert, HOME, record, |mapper, mapped| {
        mapped.unwrap();
        mapper.notes.clone()
    });
    assert_eq!(json!(notes.warnings), json!({"unknown_code": 1}));
    assert_eq!(json!(notes.unknown_keys), json!({"colour": 1, "person.height": 1}));
}

#[test]
fn staff_of_both_roles() {
    let doctor = r#"{"doctor_code": "DOC-BJ-001", "institution_code": "BJ-HA-001", "name": "王医生", "title": "主任医师", "specialty": ["注射"]}"#;
    assert_eq!(
        insert("doctors.json", None, doctor),
        json!({"staff_code": "DOC-BJ-001", "role": "DOCTOR", "institution_code": "BJ-HA-001", "name": "王医生", "title": "主任医师",
            "specialty": ["注射"]})
    );
    let consultant = r#"{"consultant_id": 3, "name": "赵顾问", "department": "皮肤科"}"#;
    assert_eq!(
        insert("consultants.json", None, consultant),
        json!({"staff_code": "CONSULTANT-3", "role": "CONSULTANT", "name": "赵顾问", "department": "皮肤科"})
    );
    let (_, _, mask) =
        map("doctors_update.json", Operation::Update, None, r#"{"doctor_code": "D1", "updates": {"title": "x"}}"#).unwrap();
    assert_eq!(mask, ["title"]);
    assert_eq!(
        reason("doctors.json", Operation::Insert, None, r#"{"doctor_code": "D1", "name": "a", "role": "CONSULTANT"}"#),
        "contradiction"
    );
}

#[test]
fn products_projects_and_relations() {
    let medical = r#"{"product_id": 12, "product_name": "水光针", "department": "皮肤科", "product_type": "流量品", "standard_price": 980.5}"#;
    assert_eq!(
        insert("medical_products.json", None, medical),
        json!({"product_code": "P12", "name": "水光针", "department": "皮肤科", "product_type": "流量品", "standard_price": "980.50"})
    );
    let kept = insert("medical_products.json", None, r#"{"product_id": "BOTOX-100U", "product_name": "肉毒素"}"#);
    assert_eq!(kept["product_code"], "BOTOX-100U");
    let project = insert("projects.json", None, r#"{"project_code": "P1", "name": "a", "price": 1e2, "risk_level": 5}"#);
    assert_eq!(project["standard_price"], "100.00");
    for (fields, expected) in [
        ("\"risk_level\": 6", "out_of_range"),
        ("\"price\": 12.345", "bad_amount"),
        ("\"price\": 1e400", "bad_amount"),
        ("\"risk_level\": 1.5", "bad_number"),
    ] {
        let record = format!(r#"{{"project_code": "P1", "name": "a", {fields}}}"#);
        assert_eq!(reason("projects.json", Operation::Insert, None, &record), expected, "{fields}");
    }
    let relation = r#"{"source_type": "project", "source_code": "A|B", "target_type": "PRODUCT", "target_code": "C", "relation_type": "Upgrade", "relation_level": 2, "is_bidirectional": false}"#;
    let (key, row, _) = map("medical_relations.json", Operation::Insert, None, relation).unwrap();
    assert_eq!(key, "PROJECT|A\\|B|PRODUCT|C|UPGRADE");
    assert_eq!(row["is_bidirectional"], false);
    let wrong = relation.replace("Upgrade", "FRIEND");
    assert_eq!(reason("medical_relations.json", Operation::Insert, None, &wrong), "bad_code");
}

#[test]
fn write_offs_of_the_table_form() {
    let record = r#"{"write_off_id": 9, "customer_id": 17, "write_off_date": "2025-05-01", "amount": 200, "department": "皮肤科",
        "product_id": 12, "quantity": 1, "consultant_id": 3, "consume_record_id": 55, "write_off_type": "正常划扣"}"#;
    assert_eq!(
        insert("write_off_records.json", HOME, record),
        json!({"write_off_id": "BJ-HA-001-W9", "institution_code": "BJ-HA-001", "customer_code": "BJ-HA-001-C0017", "write_off_date": "2025-05-01",
            "amount": "200.00", "department": "皮肤科", "product_code": "P12", "quantity": 1, "consultant_code": "CONSULTANT-3",
            "order_number": "BJ-HA-001-R55", "write_off_type": "正常划扣"})
    );
}

mod orders;

#[test]
fn null_against_a_value_contradicts_in_an_update() {
    let reason_of = |updates: &str| {
        let record = format!(r#"{{"customer_code": "BJ-HA-001-C0001", "updates": {{{updates}}}}}"#);
        map("customers.json", Operation::Update, HOME, &record).map_err(|problem| problem.split(':').next().unwrap().to_owned())
    };
    for updates in [
        r#""consultant_id": null, "consultant_code": "CONSULTANT-7""#,
        r#""consultant_code": "CONSULTANT-7", "consultant_id": null"#,
        r#""phone": null, "person": {"phone": "1"}"#,
        r#""person": {"phone": null}, "phone": "1""#,
        r#""person": null, "phone": "1""#,
        r#""phone": "1", "person": null"#,
    ] {
        assert_eq!(reason_of(updates).unwrap_err(), "contradiction", "{updates}");
    }
    for updates in [
        r#""consultant_id": null, "consultant_code": null"#,
        r#""consultant_id": 7, "consultant_code": "CONSULTANT-7""#,
        r#""phone": null, "person": {"email": "1"}"#,
    ] {
        assert!(reason_of(updates).is_ok(), "{updates}");
    }
    // An insert gives the whole row, where null says nothing.
    let record = r#"{"customer_code": "BJ-HA-001-C0001", "name": null, "person": {"name": "a"}, "consultant_id": null, "consultant_code": "X"}"#;
    assert_eq!(insert("customers.json", HOME, record)["consultant_code"], "X");
}

#[test]
fn a_number_below_zero_keeps_its_prefix() {
    let row = insert("consultants.json", HOME, r#"{"consultant_id": -7, "name": "a"}"#);
    assert_eq!(row["staff_code"], "CONSULTANT--7");
    let record = r#"{"customer_code": "BJ-HA-001-C0001", "person": {"name": "a"}, "consultant_id": -7}"#;
    assert_eq!(insert("customers.json", HOME, record)["consultant_code"], "CONSULTANT--7");
}
