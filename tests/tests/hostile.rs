//! Hostile files: each ends as designed, and everything else is applied.
//!
//! Every test drops the hostile file beside a good one, and looks that the good one is in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::fs;
use std::process::Command;

use serde_json::json;
use tidemark_tests::files::{code, customer, envelope, order, order_number, pending};
use tidemark_tests::generator::Operation::Insert;
use tidemark_tests::place::Place;
use tidemark_tests::results::{self, ResultFile};

/// Drops a hostile `customers_add.json` and a good `institutions_add.json`, runs once, and gives the result of the hostile one.
fn drop_beside_a_good_one(place: &Place, bytes: impl AsRef<[u8]>) -> ResultFile {
    put_good_one(place);
    place.put(&pending("customers_add.json"), bytes);
    place.once();
    expect_good_one(place);
    results::newest(&place.import(), "customers_add.json")
}

fn put_good_one(place: &Place) {
    place.put(&pending("institutions_add.json"), envelope(Insert, &[json!({"institution_code": "BJ-HA-001", "name": "华美"})]));
}

fn expect_good_one(place: &Place) {
    assert_eq!(place.state("institution")["BJ-HA-001"].row["name"], "华美");
    assert_eq!(results::newest(&place.import(), "institutions_add.json").counts.inserted, 1);
}

fn expect_failed_whole(place: &Place, result: &ResultFile, words: &[&str]) {
    let failed = result.text("failed").unwrap_or_else(|| panic!("it must fail whole: {:#}", result.document)).to_lowercase();
    assert!(words.iter().any(|word| failed.contains(word)), "names the cause: {failed}");
    assert_eq!(result.counts.read, 0);
    assert!(result.path.starts_with(place.import().join("incremental/failed")), "{}", result.path.display());
    assert!(place.state("customer").is_empty(), "a file that failed whole publishes nothing");
}

#[test]
fn truncated_json_fails_whole() {
    let place = Place::new();
    let whole = envelope(Insert, &[customer(1, "张"), customer(2, "王")]);
    let result = drop_beside_a_good_one(&place, &whole[..whole.len() - 30]);
    expect_failed_whole(&place, &result, &["end", "eof", "incomplete"]);
}

#[test]
fn gbk_bytes_fail_whole() {
    let place = Place::new();
    // 张 in GBK.
    let bytes = envelope(Insert, &[customer(1, "ZHANG")]).into_bytes();
    let at = bytes.windows(5).position(|five| five == b"ZHANG").unwrap();
    let bytes = [&bytes[..at], &[0xD5, 0xC5], &bytes[at + 5..]].concat();
    let result = drop_beside_a_good_one(&place, bytes);
    expect_failed_whole(&place, &result, &["utf-8"]);
}

#[test]
fn a_byte_order_mark_is_accepted() {
    let place = Place::new();
    let result = drop_beside_a_good_one(&place, format!("\u{feff}{}", envelope(Insert, &[customer(1, "张")])));
    assert_eq!(result.counts.inserted, 1, "{:#}", result.document);
}

#[test]
fn ten_thousand_levels_do_not_break_the_stack() {
    let place = Place::new();
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let text =
        envelope(Insert, &[customer(1, "张"), json!({"customer_code": code(2), "person": {"name": "王"}, "deep": "HOLE"})]);
    let result = drop_beside_a_good_one(&place, text.replace("\"HOLE\"", &deep));
    // A record that cannot be read is refused, or the file is; nothing of the two may vanish without a word.
    assert!(result.text("failed").is_some() || result.counts.read == 2, "{:#}", result.document);
    assert!(!place.state("customer").contains_key(&code(2)) || result.counts.inserted == 2, "{:#}", result.document);
}

#[test]
fn a_string_of_a_hundred_megabytes_is_refused_alone() {
    let place = Place::new();
    let text = envelope(Insert, &[customer(1, "张"), json!({"customer_code": code(2), "notes": "HOLE"}), customer(3, "李")]);
    let result = drop_beside_a_good_one(&place, text.replace("HOLE", &"长".repeat(33_333_333)));
    assert_eq!((result.counts.inserted, result.counts.rejected), (2, 1), "{:#}", result.document);
    assert_eq!(result.rejections()[0].0, 1);
}

#[test]
fn strange_numbers_are_judged_as_written() {
    let place = Place::new();
    let amounts = ["1e400", "-0", "12.345", "1e2", "0.1e1", "99999999999999999.00", "12.340"];
    let orders: Vec<String> = amounts
        .iter()
        .zip(1..)
        .map(|(amount, number)| {
            let mut order = order(number, 1, 100);
            order["total_amount"] = json!("HOLE");
            order["actual_amount"] = json!("HOLE");
            order.to_string().replace("\"HOLE\"", amount)
        })
        .collect();
    let text = envelope(Insert, &[]).replace("\"data\":[]", &format!("\"data\":[{}]", orders.join(",")));
    put_good_one(&place);
    place.put(&pending("consumption_records.json"), text);
    place.once();
    expect_good_one(&place);
    let result = results::newest(&place.import(), "consumption_records.json");
    let refused: Vec<u64> = result.rejections().into_iter().map(|(index, _)| index).collect();
    assert_eq!(refused, [0, 2, 5], "{:#}", result.document);
    let state = place.state("consumption");
    let net = |number: u64| state[&order_number(number)].row["net_amount"].clone();
    assert_eq!([net(2), net(4), net(5), net(7)], ["0.00", "100.00", "1.00", "12.34"].map(|text| json!(text)));
}

#[test]
fn duplicate_keys_do_not_pass_silently() {
    let place = Place::new();
    let text = envelope(Insert, &[customer(1, "张"), json!({"customer_code": code(2), "person": {"name": "HOLE"}})]);
    let result = drop_beside_a_good_one(&place, text.replace("\"HOLE\"", "\"王\", \"name\": \"李\""));
    assert_eq!(
        (result.counts.inserted, result.counts.rejected),
        (1, 1),
        "two values for one name are no answer: {:#}",
        result.document
    );
}

#[test]
fn escaped_control_characters_and_emoji_are_kept() {
    let place = Place::new();
    let name = "\u{7}铃\u{1b}[31m 😀👩‍⚕️ 𠮷野家 \u{202e}";
    let result = drop_beside_a_good_one(&place, envelope(Insert, &[customer(1, name)]));
    assert_eq!(result.counts.inserted, 1, "{:#}", result.document);
    assert_eq!(place.state("customer")[&code(1)].row["person"]["name"], name);
}

#[test]
fn raw_control_characters_are_not_json() {
    let place = Place::new();
    let text = envelope(Insert, &[customer(1, "HOLE")]).replace("HOLE", "a\u{1}b");
    let result = drop_beside_a_good_one(&place, text);
    assert!(result.text("failed").is_some() || result.counts.rejected == 1, "{:#}", result.document);
    assert!(place.state("customer").is_empty());
}

#[test]
fn sql_in_a_text_is_a_text() {
    let place = Place::new();
    let result = drop_beside_a_good_one(&place, envelope(Insert, &[customer(1, "'; DROP TABLE customer; --")]));
    assert_eq!(result.counts.inserted, 1);
    assert_eq!(place.state("customer")[&code(1)].row["person"]["name"], "'; DROP TABLE customer; --");
}

#[test]
fn what_is_no_file_fails_by_name_and_blocks_nobody() {
    let place = Place::new();
    let folder = place.import().join("incremental/pending/2026-01-15");
    fs::create_dir_all(folder.join("customers_update.json")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all.json", folder.join("customers_delete.json")).unwrap();
    let made = Command::new("mkfifo").arg(folder.join("products_add.json")).status().unwrap();
    assert!(made.success());
    let result = drop_beside_a_good_one(&place, envelope(Insert, &[customer(1, "张")]));
    assert_eq!(result.counts.inserted, 1);
    for name in ["customers_update.json", "customers_delete.json", "products_add.json"] {
        let result = results::newest(&place.import(), name);
        assert!(result.text("failed").is_some(), "{name}: {:#}", result.document);
        assert!(!folder.join(name).exists(), "{name} is out of the way");
    }
}

#[test]
fn nothing_outside_the_import_root_is_read_or_written() {
    let place = Place::new();
    let outside = place.data().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("customers.json"), json!([customer(7, "外人")]).to_string()).unwrap();
    let institutions = place.import().join("initial/institutions");
    std::os::unix::fs::symlink(&outside, institutions.join("BJ-HA-001")).unwrap();
    let link = place.import().join("incremental/pending/2026-01-15");
    fs::create_dir_all(&link).unwrap();
    std::os::unix::fs::symlink(outside.join("customers.json"), link.join("customers.json")).unwrap();
    let result = drop_beside_a_good_one(&place, envelope(Insert, &[customer(1, "张")]));
    assert_eq!(result.counts.inserted, 1);
    assert_eq!(place.state("customer").keys().collect::<Vec<_>>(), [&code(1)]);
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["customers.json"], "nothing was written there or taken away");
}

#[test]
fn ten_thousand_small_files_at_once() {
    let place = Place::new();
    put_good_one(&place);
    for number in 1..=10_000 {
        let day = number % 28 + 1;
        let name = format!("incremental/pending/2026-{:02}-{day:02}/customers_add_{number}.json", number / 28 % 12 + 1);
        place.put(&name, envelope(Insert, &[customer(number, "张")]));
    }
    place.once();
    expect_good_one(&place);
    let results = results::all(&place.import());
    assert_eq!(results.len(), 10_001);
    assert_eq!(results.iter().map(|result| result.counts.inserted).sum::<u64>(), 10_001);
    assert_eq!(place.state("customer").len(), 10_000);
}
