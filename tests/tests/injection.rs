//! Keys, names and texts that look like a language of one of the stores, on the whole way from a file: they arrive unchanged in
//! all four, embedded and on servers.
//!
//! A few fixed seeds always run; `TIDEMARK_SOAK=1` runs more, starting at `TIDEMARK_SEED`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use serde_json::{Value, json};
use tidemark_tests::judge::{FILES, Judge};
use tidemark_tests::on_servers::OnServers;
use tidemark_tests::oracle::values::join_key;
use tidemark_tests::oracle::{Event, Meaning};
use tidemark_tests::place::Place;
use tidemark_tests::random::Random;
use tidemark_tests::readers::Readers;

const FIXED_SEEDS: u64 = 3;
const SOAK_SEEDS: u64 = 20;
/// Records of each entity.
const MANY: u64 = 40;

/// What SQL, nGQL, JSON, TSV, shells, formats and comments are made of, and what programs take for the end of something.
const PIECES: [&str; 44] = [
    "'",
    "''",
    "\"",
    "\\",
    "\\\\",
    "`",
    "``",
    "$",
    "$1",
    "${x}",
    "$$",
    "\n",
    "\r\n",
    "\t",
    "--",
    "/*",
    "*/",
    "//",
    "#",
    ";",
    "{",
    "}",
    "{{",
    "[",
    "]",
    "(",
    ")",
    "%s",
    "%",
    "?",
    ":a",
    "@",
    "|",
    "->",
    "NULL",
    "\\N",
    "\\0",
    "\\u0041",
    "; DROP TABLE customer",
    "\u{1}",
    "𠮷",
    "😀",
    "👩‍⚕️",
    "\u{200b}",
];

/// Pieces between two letters, so that nothing is at an end where it may be trimmed.
fn text(random: &mut Random) -> String {
    let pieces: String = (0..random.between(1, 6)).map(|_| *random.pick(&PIECES)).collect();
    format!("a{pieces}z")
}

/// A file of a form, and what its records mean.
struct File {
    name: &'static str,
    entity: &'static str,
    /// Key and row.
    rows: Vec<(String, Value)>,
}

fn files(random: &mut Random) -> [File; 4] {
    let codes =
        |random: &mut Random, kind: &str| (0..MANY).map(|number| format!("{kind}{number}{}", text(random))).collect::<Vec<_>>();
    let (projects, products) = (codes(random, "P"), codes(random, "Q"));
    let project = |random: &mut Random, code: &String| {
        let row = json!({"project_code": code, "name": text(random), "category": text(random), "description": text(random)});
        (join_key(&[code]), row)
    };
    let product = |random: &mut Random, code: &String| {
        let row = json!({"product_code": code, "name": text(random), "brand": text(random), "department": text(random)});
        (join_key(&[code]), row)
    };
    let customer = |random: &mut Random, number: u64| {
        let code = format!("BJ-HA-001-C{number:04}");
        let row = json!({"customer_code": code, "institution_code": "BJ-HA-001", "person": {"name": text(random)},
            "tags": [text(random), text(random)], "notes": text(random), "health_tags": text(random)});
        (code, row)
    };
    let relation = |random: &mut Random| {
        let (from, to) = (random.pick(&projects).clone(), random.pick(&products).clone());
        let key = join_key(&["PROJECT", &from, "PRODUCT", &to, "COMBINATION"]);
        let row = json!({"source_type": "PROJECT", "source_code": from, "target_type": "PRODUCT", "target_code": to,
            "relation_type": "COMBINATION", "description": text(random)});
        (key, row)
    };
    let mut relations: Vec<(String, Value)> = (0..MANY).map(|_| relation(random)).collect();
    relations.sort_by(|one, other| one.0.cmp(&other.0));
    relations.dedup_by(|one, other| one.0 == other.0);
    [
        File { name: "projects", entity: "project", rows: projects.iter().map(|code| project(random, code)).collect() },
        File { name: "products", entity: "product", rows: products.iter().map(|code| product(random, code)).collect() },
        File { name: "customers", entity: "customer", rows: (1..=MANY).map(|number| customer(random, number)).collect() },
        File { name: "medical_relations", entity: "catalog_relation", rows: relations },
    ]
}

fn run(seed: u64, place: &Place, stores: &Readers) {
    let mut judge = Judge::default();
    let random = &mut Random::new(seed);
    // The second time with the same codes' rows replaced: as updates they take other statements.
    for round in 0..2 {
        let files = files(&mut if round == 0 { Random::new(seed) } else { Random::new(seed ^ random.bits()) });
        for file in files {
            let rows: Vec<&Value> = file.rows.iter().map(|(_, row)| row).collect();
            let envelope = json!({"operation": "INSERT", "institution_code": "BJ-HA-001", "data": rows});
            place.put(&format!("incremental/pending/2026-01-1{round}/{}-{seed}_add.json", file.name), envelope.to_string());
            for (key, row) in file.rows {
                judge.oracle.take(FILES, false, &Event { entity: file.entity, key, meaning: Meaning::Row(row) });
            }
        }
        let outcome = place.run(&["up", "--once"]);
        assert_eq!(outcome.code, Some(0), "seed {seed}: {}{}", outcome.stdout, outcome.stderr);
        assert_eq!(place.succeed(&["dead-letters", "list", "--json"]), "", "seed {seed}: nothing is refused");
        judge.check_stores(place, stores);
    }
}

fn seeds() -> impl Iterator<Item = u64> {
    let soak = std::env::var_os("TIDEMARK_SOAK").is_some();
    let first = std::env::var("TIDEMARK_SEED").map_or(0, |text| text.parse().expect("TIDEMARK_SEED must be a number"));
    if soak { first..first + SOAK_SEEDS } else { 0..FIXED_SEEDS }
}

#[test]
fn no_text_is_taken_for_language_in_files() {
    for seed in seeds() {
        let place = Place::new();
        run(seed, &place, &Readers::embedded(place.data()));
    }
}

#[test]
fn no_text_is_taken_for_language_on_servers() {
    const NAME: &str = "no_text_is_taken_for_language_on_servers";
    for seed in seeds() {
        let Some(servers) = OnServers::shared(NAME) else { return };
        run(seed, &servers.worker(), &servers.readers());
        servers.remove();
    }
}
