//! Every example of the import guide and of the run guide, dropped as it stands there, gives the rows that a reader expects, in
//! `state` and in all four stores.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidemark_tests::oracle::compare;
use tidemark_tests::oracle::values::without_nulls;
use tidemark_tests::place::Place;
use tidemark_tests::results::{self, Counts};
use tidemark_tests::stores::{self, Edge};

const INSTITUTION: &str = "BJ-HA-001";
const DAY: &str = "2026-01-15";

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn edge(source: &str, target: &str, kind: &str, rank: i64) -> Edge {
    Edge { source: source.into(), target: target.into(), kind: kind.into(), rank }
}

/// One live row, as `state` and as both tables have it.
fn expect_row(place: &Place, entity: &str, key_column: &str, key: &str, expected: &Value) {
    let state = place.state(entity);
    let line = state.get(key).unwrap_or_else(|| panic!("no {entity} {key}"));
    assert!(!line.deleted, "{entity} {key}");
    assert_eq!(&without_nulls(&line.row), expected, "state {entity} {key}");
    for file in ["relational.db", "analytics.db"] {
        let rows = stores::rows(place.data(), file, entity, &[key_column]);
        compare::same_row(&format!("{file} {key}"), expected, &rows[&vec![key.to_owned()]]);
    }
    assert_eq!(stores::vertices(place.data())[&format!("{entity}:{key}")].0, entity);
}

fn counts_of(place: &Place, file: &str) -> Counts {
    results::newest(&place.import(), file).counts
}

fn import_guide() -> Place {
    let place = Place::new();
    place.put("initial/common/institutions.json", fixture("import_guide/institutions.json"));
    let folder = format!("initial/institutions/{INSTITUTION}");
    place.put(&format!("{folder}/customers.json"), fixture("import_guide/customers.json"));
    place.put(&format!("{folder}/consumption_records.json"), fixture("import_guide/consumption_records.json"));
    place
}

fn first_customer() -> Value {
    json!({
        "customer_code": "BJ-HA-001-C0001", "institution_code": INSTITUTION,
        "person": {"name": "张小红", "phone": "13811110001", "gender": "FEMALE", "birthday": "1990-01-16"},
        "vip_level": "GOLD", "source": "REFERRAL", "notes": "VIP客户，注意服务质量",
    })
}

#[test]
fn initial_files_of_the_import_guide() {
    let place = import_guide();
    let statistics = place.succeed(&["import", "initial"]);
    for line in ["institutions: 1", "customers: 1", "consumption_records: 1", "errors: 0"] {
        assert!(statistics.contains(line), "no `{line}` in:\n{statistics}");
    }
    let institution = json!({
        "institution_code": INSTITUTION, "name": "北京华美医疗美容医院", "alias": "华美北京", "type": "HOSPITAL", "status": "ACTIVE",
    });
    expect_row(&place, "institution", "institution_code", INSTITUTION, &institution);
    expect_row(&place, "customer", "customer_code", "BJ-HA-001-C0001", &first_customer());
    let order = json!({
        "order_number": "BJ-HA-001-ORD-20260110-0001", "institution_code": INSTITUTION, "customer_code": "BJ-HA-001-C0001",
        "doctor_code": "DOC-BJ-001", "order_date": "2026-01-10", "order_type": "PROJECT",
        "lines": [{"line_no": 1, "item_type": "PROJECT", "item_code": "BOTOX-001", "consumed_product_code": "BOTOX-100U", "quantity": 1,
                   "discount_amount": "398.00", "net_amount": "3582.00"}],
        "gross_amount": "3980.00", "discount_amount": "398.00", "net_amount": "3582.00", "payment_method": "WECHAT",
        "payment_status": "PAID",
    });
    expect_row(&place, "consumption", "order_number", "BJ-HA-001-ORD-20260110-0001", &order);
    let sold = "consumption:BJ-HA-001-ORD-20260110-0001";
    let expected = [
        edge("customer:BJ-HA-001-C0001", "institution:BJ-HA-001", "belongs_to_institution", 0),
        edge(sold, "institution:BJ-HA-001", "took_place_at_institution", 0),
        edge(sold, "customer:BJ-HA-001-C0001", "bought_by_customer", 0),
        edge(sold, "staff:DOC-BJ-001", "treated_by_doctor", 0),
        edge(sold, "project:BOTOX-001", "includes_item", 1),
        edge(sold, "product:BOTOX-100U", "consumes_product", 1),
    ];
    assert_eq!(stores::edges(place.data()), expected.into());
    let points = stores::points(place.data());
    let point = &points[&("customer_profiles".to_owned(), "BJ-HA-001-C0001".to_owned())];
    assert_eq!(points.len(), 1);
    assert_eq!(point.payload["person_name"], "张小红");
    assert!(point.vector.iter().any(|number| *number != 0.0), "a placeholder vector");
}

/// The guide's update names C0002 and its deletion C0099, which it never inserts: they come first, by a file of another day.
fn with_the_missing_keys(place: &Place) {
    let customer =
        |code: &str, name: &str| json!({"customer_code": code, "person": {"name": name, "phone": "13800000000", "gender": "女"}});
    let envelope = json!({
        "operation": "INSERT", "timestamp": "2026-01-14T09:00:00", "institution_code": INSTITUTION,
        "data": [customer("BJ-HA-001-C0002", "李二"), customer("BJ-HA-001-C0099", "赵九九")],
    });
    place.put("incremental/pending/2026-01-14/customers_add.json", envelope.to_string());
}

#[test]
fn incremental_files_of_the_import_guide() {
    let place = import_guide();
    with_the_missing_keys(&place);
    for name in ["customers_add", "customers_update", "customers_delete"] {
        place.put(&format!("incremental/pending/{DAY}/{name}.json"), fixture(&format!("import_guide/{name}.json")));
    }
    let orders = fixture("import_guide/consumption_records_new.json");
    place.put(&format!("incremental/pending/{DAY}/consumption_records.json"), orders);
    place.succeed(&["import", "initial"]);
    place.succeed(&["import", "incremental"]);

    let mut upgraded = first_customer();
    upgraded["vip_level"] = json!("PLATINUM");
    upgraded["notes"] = json!("升级为铂金会员");
    expect_row(&place, "customer", "customer_code", "BJ-HA-001-C0001", &upgraded);
    let second = json!({"customer_code": "BJ-HA-001-C0002", "institution_code": INSTITUTION,
        "person": {"name": "李二", "phone": "13899998888", "gender": "FEMALE"}});
    expect_row(&place, "customer", "customer_code", "BJ-HA-001-C0002", &second);
    let added = json!({"customer_code": "BJ-HA-001-C0006", "institution_code": INSTITUTION,
        "person": {"name": "新客户", "phone": "13900001111", "gender": "FEMALE", "birthday": "1995-05-20"},
        "vip_level": "NORMAL", "source": "ONLINE"});
    expect_row(&place, "customer", "customer_code", "BJ-HA-001-C0006", &added);

    let deleted = &place.state("customer")["BJ-HA-001-C0099"];
    assert!(deleted.deleted);
    for file in ["relational.db", "analytics.db"] {
        assert!(
            !stores::rows(place.data(), file, "customer", &["customer_code"]).contains_key(&vec!["BJ-HA-001-C0099".to_owned()])
        );
    }
    assert!(!stores::vertices(place.data()).contains_key("customer:BJ-HA-001-C0099"));
    assert!(stores::edges(place.data()).iter().all(|edge| edge.source != "customer:BJ-HA-001-C0099"));
    assert_eq!(stores::points(place.data()).len(), 3);

    let order = json!({
        "order_number": "BJ-HA-001-ORD-20260115-0001", "institution_code": INSTITUTION, "customer_code": "BJ-HA-001-C0001",
        "doctor_code": "DOC-BJ-001", "order_date": "2026-01-15", "order_type": "PROJECT",
        "lines": [{"line_no": 1, "item_type": "PROJECT", "item_code": "FILLER-001", "consumed_product_code": "JUVEDERM-VOLUMA",
                   "quantity": 1, "discount_amount": "880.00", "net_amount": "7920.00"}],
        "gross_amount": "8800.00", "discount_amount": "880.00", "net_amount": "7920.00", "payment_method": "ALIPAY",
        "payment_status": "PAID",
    });
    expect_row(&place, "consumption", "order_number", "BJ-HA-001-ORD-20260115-0001", &order);

    let one = |inserted, updated, deleted| Counts {
        read: inserted + updated + deleted,
        inserted,
        updated,
        deleted,
        ..Counts::default()
    };
    let per_file = BTreeMap::from([
        ("customers_update.json", one(0, 2, 0)),
        ("customers_delete.json", one(0, 0, 1)),
        ("consumption_records.json", one(1, 0, 0)),
    ]);
    for (file, expected) in per_file {
        assert_eq!(counts_of(&place, file), expected, "{file}");
    }
    let archived = place.import().join(format!("incremental/processed/{DAY}/customers_add.json"));
    assert_eq!(std::fs::read(archived).unwrap(), fixture("import_guide/customers_add.json"), "archived as it came");
    assert!(!place.import().join(format!("incremental/pending/{DAY}/customers_add.json")).exists());
}

#[test]
fn files_of_the_run_guide() {
    let place = Place::new();
    place.put("initial/common/institutions.json", fixture("run_guide/institutions.json"));
    let folder = format!("initial/institutions/{INSTITUTION}");
    place.put(&format!("{folder}/customers.json"), fixture("run_guide/customers.json"));
    place.put(&format!("{folder}/consumption_records.json"), fixture("run_guide/consumption_records.json"));
    place.once();

    let institution = json!({
        "institution_code": INSTITUTION, "name": "北京XX医美诊所", "type": "CLINIC", "address": "北京市朝阳区...",
        "phone": "010-12345678", "email": "contact@example.com", "status": "ACTIVE",
    });
    expect_row(&place, "institution", "institution_code", INSTITUTION, &institution);
    let customer = json!({
        "customer_code": "BJ-HA-001-C0001", "institution_code": INSTITUTION,
        "person": {"name": "张三", "gender": "FEMALE", "birthday": "1990-05-15", "phone": "13800138000"},
        "vip_level": "GOLD", "source": "REFERRAL", "tags": ["敏感肌", "抗衰老"], "notes": "皮肤敏感，注意产品选择",
    });
    expect_row(&place, "customer", "customer_code", "BJ-HA-001-C0001", &customer);
    let state = place.state("consumption");
    let order = without_nulls(&state["BJ-HA-001-ORD-20260115-0001"].row);
    let line = json!({"line_no": 1, "item_type": "PROJECT", "item_code": "PRJ-001", "item_name": "水光针", "quantity": 1,
        "unit_price": "2800.00", "discount_rate": "0.9000", "discount_amount": "280.00", "net_amount": "2520.00"});
    assert_eq!(order["lines"], json!([line]));
    assert_eq!(
        (&order["gross_amount"], &order["discount_amount"], &order["net_amount"]),
        (&json!("2800.00"), &json!("280.00"), &json!("2520.00"))
    );
    assert_eq!((&order["payment_method"], &order["payment_status"]), (&json!("WECHAT"), &json!("PAID")));
    assert_eq!(order["fulfilment_status"], "COMPLETED");
    expect_row(&place, "consumption", "order_number", "BJ-HA-001-ORD-20260115-0001", &order);
    let item = edge("consumption:BJ-HA-001-ORD-20260115-0001", "project:PRJ-001", "includes_item", 1);
    assert!(stores::edges(place.data()).contains(&item));
}

#[test]
fn both_guides_together_take_the_later_word() {
    let place = import_guide();
    place.once();
    let folder = format!("initial/institutions/{INSTITUTION}");
    place.put(&format!("{folder}/customers.json"), fixture("run_guide/customers.json"));
    place.once();
    let row = without_nulls(&place.state("customer")["BJ-HA-001-C0001"].row);
    // The changed file speaks of the same source: what it no longer names is taken back, what it names anew is taken over.
    assert_eq!(row["person"]["name"], "张三");
    assert_eq!(row["tags"], json!(["敏感肌", "抗衰老"]));
    assert_eq!(row["notes"], "皮肤敏感，注意产品选择");
    assert_eq!(counts_of(&place, "customers.json").updated, 1);
}
