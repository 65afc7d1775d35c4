//! Inputs that nobody means well with, and random ones: each ends as designed and the rest is applied.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::shop::Shop;
use super::{FAILED, PENDING, PROCESSED, customer, envelope};

#[tokio::test]
async fn hostile_records_harm_only_themselves() {
    let mut shop = Shop::new().await;
    let record = |number: u32, fields: &str| {
        format!("{{\"customer_code\": \"BJ-HA-001-C{number:04}\", \"person\": {{\"name\": \"a\"}}, {fields}}}")
    };
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let table = [
        (record(0, &format!("\"notes\": \"{}\"", "x".repeat(2_000_000))), Some("record_too_large")),
        (record(1, &format!("\"notes\": {deep}")), Some("bad_text")),
        (record(2, &format!("\"unknown\": {deep}")), None),
        (record(3, "\"notes\": \"a\", \"notes\": \"b\""), Some("duplicate_field")),
        (record(4, "\"notes\": \"\\u0000\""), Some("nul_character")),
        (record(5, "\"notes\": \"'; DROP TABLE customer; --\""), None),
        (record(6, "\"notes\": \"😀𠮷\\ud83d\\ude00\""), None),
        (record(7, "\"notes\": \"\\ud83d\""), Some("bad_text")),
        (record(8, "\"notes\": \"\\u0007\\t\""), None),
        (deep.clone(), Some("not_an_object")),
        ("1e400".to_owned(), Some("not_an_object")),
    ];
    let records: Vec<&str> = table.iter().map(|(record, _)| record.as_str()).collect();
    let text = format!(
        "\u{feff}{{\"operation\": \"INSERT\", \"institution_code\": \"BJ-HA-001\", \"data\": [{}]}}",
        records.join(",\n")
    );
    shop.drop_file(&format!("{PENDING}/customers_add.json"), &text);
    shop.run().await;
    let result = shop.result(&format!("{PROCESSED}/customers_add.json"));
    let rejected: Vec<(u64, &str)> = result["rejections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), one["reason"].as_str().unwrap()))
        .collect();
    let expected: Vec<(u64, &str)> =
        table.iter().enumerate().filter_map(|(index, (_, reason))| Some((index as u64, (*reason)?))).collect();
    assert_eq!(rejected, expected);
    // The copy holds the bytes as they were, also of what is too large.
    let copy = fs::read_to_string(shop.path(&format!("{FAILED}/customers_add.json"))).unwrap();
    let wanted: Vec<&str> = table.iter().filter(|(_, reason)| reason.is_some()).map(|(record, _)| record.as_str()).collect();
    assert!(copy.contains(&wanted.join(",\n")));
    assert_eq!(shop.row("customer", "BJ-HA-001-C0006").unwrap()["notes"], "😀𠮷😀");
    assert_eq!(result["unknown_keys"], json!({"unknown": 1}));
}

#[tokio::test]
async fn names_never_lead_outside() {
    let mut shop = Shop::new().await;
    let outside = shop.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("customers.json"), json!([customer(1)]).to_string()).unwrap();
    std::os::unix::fs::symlink(&outside, shop.path("initial/institutions/BJ-HA-001")).unwrap();
    std::os::unix::fs::symlink(&outside, shop.path(PENDING.rsplit_once('/').unwrap().0).join("2026-01-16")).unwrap();
    shop.drop_file("initial/institutions/A..%2f..%2f/customers.json", json!([{"customer_code": "BJ-HA-001-C0002"}]).to_string());
    shop.run().await;
    assert_eq!(shop.fold.numbers.len(), 0);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    let result = shop.result("initial/institutions/A..%2f..%2f/customers.json");
    assert_eq!(result["rejections"][0]["reason"], "institution_mismatch");
}

/// A small generator, seeded: the same seed gives the same files.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test]
async fn random_days_add_up() {
    for seed in 0..40 {
        let mut shop = Shop::new().await;
        let mut dice = Dice(seed);
        let mut alive = BTreeSet::new();
        for day in 1..=3 {
            for file in 0..3 {
                let (mut data, mut expected) = (Vec::new(), (0, 0));
                let operation = dice.roll(3);
                let count = dice.roll(30);
                for _ in 0..count {
                    let number = dice.roll(12) as u32;
                    let (record, good) = one_record(&mut dice, operation, number, &mut alive);
                    data.push(record);
                    if good { expected.0 += 1 } else { expected.1 += 1 }
                }
                let (name, operation) = [("add", "INSERT"), ("update", "UPDATE"), ("delete", "DELETE")][operation as usize];
                let path = format!("2026-01-0{day}/customers-{seed}-{file}_{name}.json");
                shop.drop_file(&format!("incremental/pending/{path}"), envelope(operation, &data));
                shop.run().await;
                let result = shop.result(&format!("incremental/processed/{path}"));
                // An empty file may be the repeat of another one.
                let well = count - result["rejected"].as_u64().unwrap();
                if result["repeats_of"].is_null() && result["read"].as_u64() == Some(count) {
                    assert_eq!((well, result["rejected"].as_u64().unwrap()), expected, "seed {seed}: {result}");
                } else {
                    assert!(count == 0, "seed {seed}: {result}");
                }
            }
        }
        let found: BTreeSet<u32> =
            (0..12).filter(|number| shop.row("customer", &format!("BJ-HA-001-C{number:04}")).is_some()).collect();
        assert_eq!(found, alive, "seed {seed}");
    }
}

/// A record of an operation, and whether it must end well.
fn one_record(dice: &mut Dice, operation: u64, number: u32, alive: &mut BTreeSet<u32>) -> (Value, bool) {
    if dice.roll(6) == 0 {
        return (json!({"customer_code": "nobody", "nonce": dice.roll(1 << 30)}), false);
    }
    let code = format!("BJ-HA-001-C{number:04}");
    match operation {
        0 => {
            alive.insert(number);
            (json!({"customer_code": code, "person": {"name": format!("{}", dice.roll(3))}}), true)
        }
        1 => (json!({"customer_code": code, "updates": {"notes": dice.roll(1 << 30).to_string()}}), alive.contains(&number)),
        _ => {
            let good = alive.remove(&number);
            (json!({"customer_code": code, "_nonce": dice.roll(1 << 30)}), good)
        }
    }
}
