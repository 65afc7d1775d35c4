//! Customers: whole rows in the nested and in the table form, partial updates down to the nested person.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::words::{self, draw};
use super::{Sample, date};
use crate::oracle::Meaning;
use crate::oracle::values::without_nulls;
use crate::random::Random;

/// `BJ-HA-001-C0007`.
pub fn code(institution: &str, number: u64) -> String {
    format!("{institution}-C{number:04}")
}

/// A whole customer.
pub fn whole(random: &mut Random, institution: &str, number: u64) -> Sample {
    if random.chance(15) { table(random, institution, number) } else { nested(random, institution, number) }
}

fn person(random: &mut Random) -> (Map<String, Value>, Map<String, Value>) {
    let name = format!("{}{}", random.pick(&words::FAMILY), random.pick(&words::GIVEN));
    let mut arrival = Map::from_iter([("name".to_owned(), json!(name))]);
    let mut row = arrival.clone();
    let mut both = |field: &str, arrived: Value, canonical: Value| {
        arrival.insert(field.to_owned(), arrived);
        row.insert(field.to_owned(), canonical);
    };
    for field in ["phone", "birthday", "email", "address", "gender"] {
        if random.chance(60) {
            let (arrived, canonical) = person_field(random, field);
            both(field, arrived, canonical);
        } else if random.chance(30) {
            both(field, Value::Null, Value::Null);
        }
    }
    (arrival, row)
}

fn person_field(random: &mut Random, field: &str) -> (Value, Value) {
    let value = match field {
        "phone" => json!(format!("139{:08}", random.below(100_000_000))),
        "birthday" => json!(date(random)),
        "email" => json!(format!("c{}@example.com", random.below(1000))),
        "address" => json!(format!("北京市朝阳区 {} 号", random.below(1000))),
        "gender" => {
            let (code, word) = draw(random, words::GENDER);
            return (json!(word), json!(code));
        }
        other => unreachable!("person has no generated field {other}"),
    };
    (value.clone(), value)
}

/// (arriving name, arriving value, canonical name, canonical value) of one field outside the person.
fn field(random: &mut Random, institution: &str, name: &str) -> (&'static str, Value, &'static str, Value) {
    let same = |name: &'static str, value: Value| (name, value.clone(), name, value);
    match name {
        "vip_level" => {
            let (code, word) = draw(random, words::VIP_LEVEL);
            let arriving = if random.chance(20) { "membership_level" } else { "vip_level" };
            (arriving, json!(word), "vip_level", json!(code))
        }
        "source" => {
            let (code, word) = draw(random, words::CUSTOMER_SOURCE);
            ("source", json!(word), "source", json!(code))
        }
        "status" => {
            let (code, word) = draw(random, words::CUSTOMER_STATUS);
            ("status", json!(word), "status", json!(code))
        }
        "consultant_code" => {
            let id = random.between(1, 9);
            let text = format!("CONSULTANT-{id}");
            match random.below(3) {
                0 => ("consultant_id", Value::Null, "consultant_code", Value::Null),
                1 => ("consultant_id", json!(text), "consultant_code", json!(text)),
                _ => ("consultant_id", json!(id), "consultant_code", json!(text)),
            }
        }
        "first_visit_date" => {
            let arriving = if random.chance(30) { "register_date" } else { "first_visit_date" };
            let date = json!(date(random));
            (arriving, date.clone(), "first_visit_date", date)
        }
        "last_visit_date" => same("last_visit_date", json!(date(random))),
        "tags" => {
            let tags: Vec<&str> = (0..random.between(1, 3)).map(|_| *random.pick(&["敏感肌", "抗衰老", "油皮"])).collect();
            same("tags", json!(tags))
        }
        "referrer_code" => same("referrer_code", json!(code(institution, random.between(1, 40)))),
        "notes" => same("notes", json!(random.pick(&words::NOTES))),
        other => unreachable!("customer has no generated field {other}"),
    }
}

const FIELDS: [&str; 9] =
    ["vip_level", "source", "status", "consultant_code", "first_visit_date", "last_visit_date", "tags", "referrer_code", "notes"];

fn nested(random: &mut Random, institution: &str, number: u64) -> Sample {
    let key = code(institution, number);
    let (person_arrival, person_row) = person(random);
    let mut arrival = json!({"customer_code": key, "person": person_arrival});
    let mut row = json!({"customer_code": key, "institution_code": institution, "person": person_row});
    for name in FIELDS {
        if random.chance(50) {
            let (arriving, arrived, canonical, value) = field(random, institution, name);
            arrival[arriving] = arrived;
            row[canonical] = value;
        }
    }
    Sample::new("customer", key, arrival, Meaning::Row(without_nulls(&row)))
}

/// The table form: a number instead of a code, name and phone beside the rest.
fn table(random: &mut Random, institution: &str, number: u64) -> Sample {
    let key = code(institution, number);
    let name = format!("{}{}", random.pick(&words::FAMILY), random.pick(&words::GIVEN));
    let phone = format!("138{:08}", random.below(100_000_000));
    let (registered, visited) = (date(random), date(random));
    let (level, word) = draw(random, words::VIP_LEVEL);
    let arrival = json!({
        "customer_id": number, "name": name, "phone": phone, "register_date": registered, "last_visit_date": visited,
        "consultant_id": 3, "membership_level": word,
    });
    let row = json!({
        "customer_code": key, "institution_code": institution, "person": {"name": name, "phone": phone},
        "first_visit_date": registered, "last_visit_date": visited, "consultant_code": "CONSULTANT-3", "vip_level": level,
    });
    Sample::new("customer", key, arrival, Meaning::Row(row))
}

/// A partial customer: some fields, some of them cleared, some inside the person.
pub fn partial(random: &mut Random, institution: &str, number: u64) -> Sample {
    let key = code(institution, number);
    let mut updates = Map::new();
    let mut patch = BTreeMap::new();
    if random.chance(50) {
        let inner = *random.pick(&["phone", "birthday", "email", "address", "gender"]);
        let (arrived, canonical) = if random.chance(25) { (Value::Null, Value::Null) } else { person_field(random, inner) };
        updates.insert("person".to_owned(), json!({ inner: arrived }));
        patch.insert(format!("person.{inner}"), canonical);
    }
    let fields = if patch.is_empty() { random.between(1, 3) } else { random.below(3) };
    for _ in 0..fields {
        let name = *random.pick(&FIELDS);
        if patch.contains_key(name) {
            continue;
        }
        let (arriving, arrived, canonical, value) = field(random, institution, name);
        let clear = random.chance(20);
        updates.insert(arriving.to_owned(), if clear { Value::Null } else { arrived });
        patch.insert(canonical.to_owned(), if clear { Value::Null } else { value });
    }
    Sample::new("customer", key.clone(), json!({"customer_code": key, "updates": updates}), Meaning::Patch(patch))
}
