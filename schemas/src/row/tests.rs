use proptest::prelude::*;

use super::*;
use crate::Catalog;
use crate::samples::{any_row, last_number};

/// customer_code 0, institution_code 1, person 2 {name 3, phone 4, gender 5, …}, vip_level 10, …
fn customer() -> std::sync::Arc<crate::Entity> {
    Catalog::built_in().entity("customer").unwrap().clone()
}

const PERSON: usize = 2;

fn blank() -> Row<'static> {
    let mut row = vec![Cell::Null; customer().record.fields.len()];
    row[0] = Cell::text("BJ-C1");
    row
}

fn person(name: Option<&'static str>, phone: Option<&'static str>) -> Cell<'static> {
    let mut cells = vec![Cell::Null; 7];
    cells[0] = name.map_or(Cell::Null, Cell::text);
    cells[1] = phone.map_or(Cell::Null, Cell::text);
    Cell::Record(cells)
}

fn with_person(cell: Cell<'static>) -> Row<'static> {
    let mut row = blank();
    row[PERSON] = cell;
    row
}

fn merged(row: Row<'static>, patch: &Row<'static>, mask: &[u32]) -> Result<Row<'static>, MergeError> {
    merge(&customer().record, row, patch, mask)
}

#[test]
fn a_nested_update_keeps_what_it_does_not_name() {
    let row = with_person(person(Some("张小红"), Some("1")));
    let patch = with_person(person(None, Some("2")));
    assert_eq!(merged(row, &patch, &[4]).unwrap(), with_person(person(Some("张小红"), Some("2"))));
}

#[test]
fn a_named_null_clears() {
    let row = with_person(person(Some("张小红"), Some("1")));
    assert_eq!(merged(row.clone(), &blank(), &[4]).unwrap(), with_person(person(Some("张小红"), None)));
    assert_eq!(merged(row.clone(), &blank(), &[2]).unwrap(), blank(), "the whole person is cleared");
    assert_eq!(merged(row.clone(), &blank(), &[]).unwrap(), row, "nothing is named");
}

#[test]
fn a_required_field_is_not_cleared() {
    let row = with_person(person(Some("张小红"), None));
    let error = merged(row.clone(), &blank(), &[3]).unwrap_err();
    assert_eq!(error, MergeError::RequiredNull("person.name".to_owned()));
    let error = merged(row.clone(), &with_person(person(None, Some("2"))), &[2]).unwrap_err();
    assert_eq!(error, MergeError::RequiredNull("person.name".to_owned()));
    let error = merged(row, &vec![Cell::Null; blank().len()], &[0]).unwrap_err();
    assert_eq!(error, MergeError::RequiredNull("customer_code".to_owned()));
}

#[test]
fn a_child_of_a_null_person_makes_it_only_with_a_name() {
    let patch = with_person(person(Some("张小红"), Some("2")));
    let error = merged(blank(), &patch, &[4]).unwrap_err();
    assert_eq!(error, MergeError::RequiredNull("person.name".to_owned()));
    assert_eq!(merged(blank(), &patch, &[3, 4]).unwrap(), patch);
}

#[test]
fn what_an_update_does_not_speak_of_is_not_judged() {
    let row = with_person(person(None, Some("1")));
    assert_eq!(merged(row, &with_person(person(None, Some("2"))), &[4]).unwrap(), with_person(person(None, Some("2"))));
}

#[test]
fn a_difference_is_by_child_where_both_records_are_there() {
    let record = &customer().record;
    let (one, other) = (with_person(person(Some("a"), Some("1"))), with_person(person(Some("a"), Some("2"))));
    assert_eq!(difference(record, &one, &other), [4]);
    assert_eq!(difference(record, &one, &blank()), [2]);
    assert_eq!(difference(record, &one, &one), [] as [u32; 0]);
}

#[test]
fn a_decimal_is_one_value_however_it_is_written() {
    let catalog = Catalog::built_in();
    let record = &catalog.entity("project").unwrap().record;
    let price = |text: &str| {
        let mut row = vec![Cell::Null; record.fields.len()];
        row[0] = Cell::text("P");
        row[7] = Cell::Decimal(text.parse().unwrap());
        row
    };
    assert_eq!(hash(record, &price("1.5")), hash(record, &price("1.50")));
    assert_ne!(hash(record, &price("1.5")), hash(record, &price("1.51")));
    assert_eq!(check(record, &price("9999999999999999.99")), Ok(()));
    assert_eq!(check(record, &price("10000000000000000")), Err("`standard_price` has more than 18 digits".to_owned()));
}

#[test]
fn values_of_neighbouring_fields_do_not_run_together() {
    let record = &customer().record;
    let tags = |tags: &[&'static str], notes: Option<&'static str>| {
        let mut row = blank();
        row[6] = Cell::Array(tags.iter().map(|tag| Cell::text(tag)).collect());
        row[12] = notes.map_or(Cell::Null, Cell::text);
        hash(record, &row)
    };
    let all = [tags(&["ab"], None), tags(&["a", "b"], None), tags(&[], Some("ab")), tags(&["ab"], Some("")), tags(&[], None)];
    let distinct: std::collections::HashSet<u64> = all.into_iter().collect();
    assert_eq!(distinct.len(), all.len());
    let names = |name, phone| hash(record, &with_person(person(name, phone)));
    assert_ne!(names(Some("a"), None), names(None, Some("a")));
}

/// A hash that changes makes every re-listed row look new: it is fixed for ever.
#[test]
fn the_hash_of_a_known_row_is_fixed() {
    assert_eq!(hash(&customer().record, &with_person(person(Some("张小红"), Some("13811110001")))), 7_312_406_929_761_068_249);
}

#[test]
fn misfits_are_named() {
    let record = &customer().record;
    assert_eq!(check(record, &blank()), Ok(()));
    assert_eq!(check(record, &blank()[1..]), Err("customer has 13 fields, the row has 12".to_owned()));
    let mut row = blank();
    row[0] = Cell::Null;
    assert_eq!(check(record, &row), Err("`customer_code` must not be null".to_owned()));
    let mut row = with_person(person(None, None));
    if let Cell::Record(cells) = &mut row[PERSON] {
        cells[3] = Cell::text("1990-01-16");
    }
    assert_eq!(check(record, &row), Err("`person` does not fit: `birthday` is of another type".to_owned()));
    assert_eq!(missing_required(record, &blank()), None, "a null person asks for no name");
    assert_eq!(missing_required(record, &row).as_deref(), Some("person.name"));
}

#[test]
fn putting_the_difference_into_the_old_row_gives_the_new_one() {
    for entity in Catalog::built_in().entities() {
        let record = &entity.record;
        let rows = (any_row(record), any_row(record), prop::collection::vec(any::<bool>(), record.fields.len()));
        proptest!(ProptestConfig::with_cases(64), |((old, other, changed) in rows)| {
            // Mostly equal rows, as in life.
            let new: Row<'_> = (0..old.len()).map(|at| if changed[at] { other[at].clone() } else { old[at].clone() }).collect();
            let mask = difference(record, &old, &new);
            prop_assert_eq!(mask.is_empty(), old == new);
            prop_assert!(mask.is_sorted() && mask.iter().all(|number| *number <= last_number(record)));
            match merge(record, old.clone(), &new, &mask) {
                Ok(merged) => prop_assert_eq!(&merged, &new),
                Err(MergeError::RequiredNull(_)) => prop_assert!(missing_required(record, &new).is_some()),
            }
            prop_assert_eq!(check(record, &new), Ok(()));
        });
    }
}
