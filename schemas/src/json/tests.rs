use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Catalog;
use crate::samples::any_row;

#[test]
fn any_row_comes_back_from_its_json() {
    for entity in Catalog::built_in().entities() {
        proptest!(ProptestConfig::with_cases(64), |(row in any_row(&entity.record))| {
            let value = row_to_json(&entity.record, &row);
            prop_assert_eq!(row_from_json(&entity.record, &value).unwrap(), row.clone());
            let mut text = String::new();
            write_row(&entity.record, &row, &mut text);
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        });
    }
}

#[test]
fn text_has_the_fields_in_schema_order_and_nested() {
    let catalog = Catalog::built_in();
    let record = &catalog.entity("write_off").unwrap().record;
    let value = json!({"write_off_id": "1", "amount": "12.5", "write_off_date": "2026-01-10", "quantity": 2});
    let row = row_from_json(record, &value).unwrap();
    let mut text = String::new();
    write_row(record, &row, &mut text);
    assert!(
        text.starts_with(
            r#"{"write_off_id":"1","institution_code":null,"customer_code":null,"write_off_date":"2026-01-10","amount":"12.50","#
        ),
        "{text}"
    );
}

#[test]
fn dates_and_times_read_as_people_write_them() {
    for (days, text) in [(0, "1970-01-01"), (20_463, "2026-01-10"), (-719_162, "0001-01-01"), (2_932_896, "9999-12-31")] {
        assert_eq!(date_text(days), text);
        assert_eq!(read_date(text), Some(days));
    }
    for (micros, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (1_768_000_000_000_000, "2026-01-09T23:06:40Z"),
        (1_500_000, "1970-01-01T00:00:01.500000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(timestamp_text(micros), text);
        assert_eq!(read_timestamp(text), Some(micros));
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let catalog = Catalog::built_in();
    let record = &catalog.entity("customer").unwrap().record;
    let refused = |value: Value| row_from_json(record, &value).unwrap_err();
    assert_eq!(refused(json!({})), "`customer_code` must not be null");
    assert_eq!(refused(json!({"customer_code": "a", "vip": 1})), "customer has no field `vip`");
    assert_eq!(
        refused(json!({"customer_code": "a", "person": {"birthday": "1990-02-30"}})),
        "`person`: `birthday`: does not read as a date YYYY-MM-DD"
    );
    let project = &catalog.entity("project").unwrap().record;
    let price = json!({"project_code": "p", "standard_price": "1.234"});
    assert_eq!(row_from_json(project, &price).unwrap_err(), "`standard_price`: does not read as a decimal in a text");
}
