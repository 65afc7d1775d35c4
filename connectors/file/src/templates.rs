//! Example files and JSON Schemas of every form, made from the forms themselves, so that they cannot disagree with them.

use serde_json::{Map, Value, json};
use tidemark_schemas::Catalog;

use crate::forms::{Form, Forms};

/// File name and contents: `<stem>.template.json` (an array as in `initial/`), `<stem>_update.template.json` (an envelope) and
/// `<stem>.schema.json` for each form.
pub fn forms(catalog: &Catalog) -> Vec<(String, String)> {
    let forms = Forms::new(catalog);
    let mut files = Vec::new();
    for form in forms.all() {
        let example = example(form);
        files.push((format!("{}.template.json", form.stem), pretty(&json!([example]))));
        files.push((format!("{}_update.template.json", form.stem), pretty(&update(form, &example))));
        files.push((format!("{}.schema.json", form.stem), pretty(&schema(form))));
    }
    files
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// A believable record; of an entity that was added, one made from its fields.
fn example(form: &Form) -> Value {
    match form.stem.as_str() {
        "institutions" => {
            json!({"institution_code": "BJ-HA-001", "name": "北京华美医疗美容医院", "alias": "华美北京", "type": "HOSPITAL", "status": "ACTIVE"})
        }
        "doctors" => json!({"doctor_code": "DOC-BJ-001", "institution_code": "BJ-HA-001", "name": "王医生", "title": "主任医师",
            "specialty": ["注射"], "department": "皮肤科", "status": "ACTIVE"}),
        "consultants" => json!({"consultant_id": 3, "institution_code": "BJ-HA-001", "name": "赵顾问", "department": "皮肤科"}),
        "projects" => {
            json!({"project_code": "BOTOX-001", "name": "肉毒素瘦脸", "category": "INJECTION", "body_part": "面部", "risk_level": 2,
            "price": 3980.00, "duration_minutes": 30, "status": "ACTIVE"})
        }
        "products" => {
            json!({"product_code": "BOTOX-100U", "name": "肉毒素 100U", "category": "INJECTION", "brand": "保妥适", "unit": "支",
            "price": 2800.00, "effect_level": 4, "status": "ACTIVE"})
        }
        "medical_products" => {
            json!({"product_id": 12, "product_name": "水光针", "department": "皮肤科", "product_type": "流量品", "standard_price": 980.00})
        }
        "medical_relations" => {
            json!({"source_type": "PROJECT", "source_code": "BOTOX-001", "target_type": "PRODUCT", "target_code": "BOTOX-100U",
            "relation_type": "COMBINATION", "relation_level": 5, "is_bidirectional": false, "description": "常用组合"})
        }
        "customers" => {
            json!({"customer_code": "BJ-HA-001-C0001", "person": {"name": "张小红", "phone": "13811110001", "gender": "FEMALE",
            "birthday": "1990-01-16"}, "vip_level": "GOLD", "source": "REFERRAL", "consultant_id": null, "tags": ["敏感肌"], "notes": "VIP客户，注意服务质量"})
        }
        "consumption_records" => json!({"order_number": "BJ-HA-001-ORD-20260110-0001", "customer_code": "BJ-HA-001-C0001",
            "doctor_code": "DOC-BJ-001", "order_date": "2026-01-10", "order_type": "PROJECT", "project_code": "BOTOX-001",
            "product_code": "BOTOX-100U", "total_amount": 3980.00, "discount_amount": 398.00, "actual_amount": 3582.00,
            "payment_method": "WECHAT", "payment_status": "PAID"}),
        "write_off_records" => {
            json!({"write_off_id": "W-1", "customer_code": "BJ-HA-001-C0001", "write_off_date": "2026-01-20", "amount": 980.00,
            "department": "皮肤科", "product_id": 12, "quantity": 1, "consultant_id": 3, "write_off_type": "正常划扣"})
        }
        _ => form
            .properties()
            .into_iter()
            .filter(|property| property.own)
            .map(|property| (property.name, property.example))
            .collect::<Map<_, _>>()
            .into(),
    }
}

fn update(form: &Form, example: &Value) -> Value {
    let mut record = Map::new();
    let mut updates = Map::new();
    for property in form.properties() {
        let Some(value) = example.get(&property.name) else { continue };
        if property.identity {
            record.insert(property.name, value.clone());
        } else if updates.is_empty() && property.alone && !value.is_null() {
            updates.insert(property.name, value.clone());
        }
    }
    record.insert("updates".to_owned(), updates.into());
    json!({"operation": "UPDATE", "timestamp": "2026-01-15T10:30:00", "institution_code": "BJ-HA-001", "data": [record]})
}

fn schema(form: &Form) -> Value {
    let properties: Map<String, Value> = form.properties().into_iter().map(|property| (property.name, property.schema)).collect();
    let record = json!({"type": "object", "properties": properties, "additionalProperties": true});
    let envelope = json!({"type": "object", "required": ["operation", "data"], "properties": {
        "operation": {"enum": ["INSERT", "UPDATE", "DELETE"]}, "timestamp": {"type": ["string", "null"]},
        "institution_code": {"type": ["string", "null"]},
        "data": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/record"}, {"type": "object", "required": ["updates"],
            "properties": {"updates": {"$ref": "#/$defs/record"}}}]}}}});
    json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": format!("{} ({})", form.entity.title, form.stem),
        "$defs": {"record": record}, "oneOf": [{"type": "array", "items": {"$ref": "#/$defs/record"}}, envelope]})
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::Value;
    use tidemark_schemas::{Catalog, Operation};

    use super::forms;
    use crate::forms::Forms;
    use crate::forms::mapper::Mapper;

    #[test]
    fn every_template_is_taken_by_its_form() {
        let catalog = Catalog::built_in();
        let known = Forms::new(&catalog);
        let files = forms(&catalog);
        assert_eq!(files.len(), 3 * known.all().len());
        for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".template.json")) {
            let value: Value = serde_json::from_str(text).unwrap();
            let (operation, records) = match &value {
                Value::Array(records) => (Operation::Insert, records),
                envelope => (Operation::Update, envelope["data"].as_array().unwrap()),
            };
            let form = known.of_file(name).unwrap().clone();
            let mut mapper = Mapper::new(form, operation, Some("BJ-HA-001".to_owned()), TimeZone::UTC);
            for record in records {
                let record = record.to_string();
                let mapped = mapper.map(&record);
                assert!(mapped.is_ok(), "{name}: {mapped:?}");
            }
            assert!(mapper.notes.unknown_keys.is_empty(), "{name}: {:?}", mapper.notes);
        }
    }
}
