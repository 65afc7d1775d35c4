//! A world that grows by rounds: initial files, then dated envelopes, changed initial files, files dropped again, and changes of a
//! second source.

use serde_json::{Value, json};

use super::{INSTITUTIONS, Operation, Sample, bad, catalog, consumption, customer, decorate, deletion};
use crate::oracle::{Event, Oracle};
use crate::random::Random;

/// A file to be dropped.
#[derive(Debug, Clone)]
pub struct Drop {
    /// Path below the import root.
    pub path: String,
    /// Its text.
    pub bytes: Vec<u8>,
    /// `None` for an initial file.
    pub operation: Option<Operation>,
    /// Its records.
    pub samples: Vec<Sample>,
    /// Where it stands in the order of reading.
    order: (bool, String, u32, String, Option<Operation>, String),
}

/// Name stem → place in the reading order.
const ORDER: [(&str, u32); 10] = [
    ("institutions", 10),
    ("doctors", 20),
    ("consultants", 20),
    ("projects", 30),
    ("products", 40),
    ("medical_products", 40),
    ("customers", 50),
    ("consumption_records", 60),
    ("write_off_records", 70),
    ("medical_relations", 80),
];

fn place_of(stem: &str) -> u32 {
    ORDER.iter().find(|(known, _)| *known == stem).expect("a stem of ours").1
}

impl Drop {
    /// An initial file of all institutions.
    pub fn common(stem: &str, samples: Vec<Sample>) -> Self {
        Self::initial(format!("initial/common/{stem}.json"), stem, samples)
    }

    /// An initial file of one institution.
    pub fn of_institution(institution: &str, stem: &str, samples: Vec<Sample>) -> Self {
        Self::initial(format!("initial/institutions/{institution}/{stem}.json"), stem, samples)
    }

    fn initial(path: String, stem: &str, samples: Vec<Sample>) -> Self {
        let records: Vec<&Value> = samples.iter().map(|sample| &sample.arrival).collect();
        let bytes = serde_json::to_vec_pretty(&records).expect("values are JSON");
        let order = (false, String::new(), place_of(stem), String::new(), None, path.clone());
        Self { path, bytes, operation: None, samples, order }
    }

    /// An envelope in a dated folder.
    pub fn dated(date: &str, name: &str, operation: Operation, institution: &str, samples: Vec<Sample>) -> Self {
        let stem = name.trim_end_matches("_add").trim_end_matches("_update").trim_end_matches("_delete");
        let timestamp = format!("{date}T10:30:00");
        let records: Vec<&Value> = samples.iter().map(|sample| &sample.arrival).collect();
        let envelope =
            json!({"operation": operation.name(), "timestamp": timestamp, "institution_code": institution, "data": records});
        let bytes = serde_json::to_vec(&envelope).expect("values are JSON");
        let path = format!("incremental/pending/{date}/{name}.json");
        let order = (true, date.to_owned(), place_of(stem), timestamp, Some(operation), path.clone());
        Self { path, bytes, operation: Some(operation), samples, order }
    }

    /// The same bytes under another date.
    pub fn again(&self, date: &str) -> Self {
        let name = self.path.rsplit('/').next().expect("a path has a name");
        let path = format!("incremental/pending/{date}/{name}");
        let mut order = self.order.clone();
        order.1 = date.to_owned();
        order.5.clone_from(&path);
        Self { path, order, ..self.clone() }
    }
}

/// Makes the drops of one round after the other.
#[derive(Debug)]
pub struct World {
    random: Random,
    customers: u64,
    orders: u64,
    /// Records of a dated envelope, at most.
    records_max: u64,
    initial: Vec<Drop>,
    dated: Vec<Drop>,
}

impl World {
    /// A small world from a seed.
    pub fn new(seed: u64) -> Self {
        Self::sized(seed, 1)
    }

    /// One with so many times as many records.
    pub fn sized(seed: u64, times: u64) -> Self {
        let (initial, dated) = (Vec::new(), Vec::new());
        Self { random: Random::new(seed), customers: 30 * times, orders: 50 * times, records_max: 15 * times, initial, dated }
    }

    /// The files of this round, in the order in which they are to be read.
    pub fn round(&mut self, round: u64, oracle: &Oracle) -> Vec<Drop> {
        let mut drops = if round == 0 { self.first() } else { self.later(round, oracle) };
        if round >= 2 {
            drops.extend(self.changed_initial());
        }
        drops.sort_by(|one, other| one.order.cmp(&other.order));
        drops
    }

    /// The same without initial files, which stand where they are and so must have been read before they change: for a round that
    /// comes while the one before is not done.
    pub fn dated_round(&mut self, round: u64, oracle: &Oracle) -> Vec<Drop> {
        let mut drops = self.later(round, oracle);
        drops.sort_by(|one, other| one.order.cmp(&other.order));
        drops
    }

    /// Changes of a second source, published past the files: (event, whether it re-lists).
    pub fn second_source(&mut self) -> Vec<(Event, bool)> {
        let random = &mut self.random;
        let many = random.below(20);
        (0..many)
            .map(|_| {
                let institution = *random.pick(&INSTITUTIONS);
                let number = random.between(1, self.customers + 5);
                let sample = match random.below(10) {
                    0..6 => customer::whole(random, institution, number),
                    6..8 => customer::partial(random, institution, number),
                    _ => deletion("customer", "customer_code", &customer::code(institution, number)),
                };
                let whole = matches!(sample.event.meaning, crate::oracle::Meaning::Row(_));
                (sample.event, whole && random.chance(60))
            })
            .collect()
    }

    fn first(&mut self) -> Vec<Drop> {
        let random = &mut self.random;
        let numbers = |many: u64| 1..=many;
        let mut drops = vec![
            Drop::common("institutions", INSTITUTIONS.map(|code| catalog::institution(random, code)).into()),
            Drop::common("doctors", numbers(6).map(|number| catalog::doctor(random, number)).collect()),
            Drop::common("consultants", numbers(5).map(|number| catalog::consultant(random, number)).collect()),
            Drop::common("projects", numbers(8).map(|number| catalog::project(random, number)).collect()),
            Drop::common("products", numbers(8).map(|number| catalog::product(random, number)).collect()),
            Drop::common("medical_products", numbers(4).map(|number| catalog::medical_product(random, number)).collect()),
            Drop::common("medical_relations", relations(random, 12)),
        ];
        for institution in INSTITUTIONS {
            let customers = numbers(self.customers).map(|number| customer::whole(random, institution, number)).collect();
            let orders = (0..self.orders)
                .map(|_| {
                    let number = consumption::draw_number(random, self.orders);
                    consumption::whole(random, institution, number)
                })
                .collect();
            let write_offs = (0..10).map(|_| catalog::write_off(random, institution, 1)).collect();
            for (stem, samples) in [("customers", customers), ("consumption_records", orders), ("write_off_records", write_offs)]
            {
                let samples = spoil(random, stem, Operation::Insert, institution, samples);
                drops.push(Drop::of_institution(institution, stem, samples));
            }
        }
        self.initial.clone_from(&drops);
        drops
    }

    fn later(&mut self, round: u64, oracle: &Oracle) -> Vec<Drop> {
        let mut drops = Vec::new();
        for (day, institution) in INSTITUTIONS.iter().enumerate() {
            let date = format!("{}-1{day}", month(round));
            for name in ["customers_add", "customers_update", "customers_delete", "consumption_records"] {
                if self.random.chance(70) {
                    drops.push(self.envelope(&date, name, institution, oracle));
                }
            }
            for name in ["consumption_records_update", "consumption_records_delete", "medical_relations_add", "projects_update"] {
                if self.random.chance(35) {
                    drops.push(self.envelope(&date, name, institution, oracle));
                }
            }
        }
        if round > 1 && !self.dated.is_empty() {
            let old = self.random.pick(&self.dated).clone();
            drops.push(old.again(&format!("{}-20", month(round))));
        }
        self.dated.extend(drops.iter().filter(|drop| !drop.path.contains("-20/")).cloned());
        drops
    }

    fn envelope(&mut self, date: &str, name: &str, institution: &str, oracle: &Oracle) -> Drop {
        let (customers, orders, records_max) = (self.customers + 10, self.orders + 10, self.records_max);
        let random = &mut self.random;
        let operation = match name {
            name if name.ends_with("_update") => Operation::Update,
            name if name.ends_with("_delete") => Operation::Delete,
            _ => Operation::Insert,
        };
        let stem = name.trim_end_matches("_add").trim_end_matches("_update").trim_end_matches("_delete");
        let many = random.between(1, records_max);
        let samples = (0..many)
            .map(|_| {
                let buyer = random.between(1, customers);
                let order = consumption::draw_number(random, orders);
                match name {
                    "customers_add" => customer::whole(random, institution, buyer),
                    "customers_update" => customer::partial(random, institution, buyer),
                    "customers_delete" => deletion("customer", "customer_code", &customer::code(institution, buyer)),
                    "consumption_records" => consumption::whole(random, institution, order),
                    "consumption_records_update" => consumption::partial(random, institution, order),
                    "consumption_records_delete" => {
                        deletion("consumption", "order_number", &consumption::number(institution, order))
                    }
                    "projects_update" => {
                        let number = random.between(1, 10);
                        catalog::partial(random, "project", number)
                    }
                    _ => catalog::relation(random),
                }
            })
            .filter(|sample| operation != Operation::Update || has_its_parts(sample, oracle))
            .collect();
        let samples = spoil(random, stem, operation, institution, samples);
        Drop::dated(date, name, operation, institution, samples)
    }

    /// Some initial files come back with rows changed and left out.
    fn changed_initial(&mut self) -> Vec<Drop> {
        let random = &mut self.random;
        let mut changed = Vec::new();
        for drop in &mut self.initial {
            let Some(institution) = INSTITUTIONS.iter().find(|code| drop.path.contains(*code)) else { continue };
            if !drop.path.ends_with("customers.json") || random.chance(30) {
                continue;
            }
            let mut samples: Vec<Sample> = Vec::new();
            for sample in &drop.samples {
                match random.below(10) {
                    0 => {}
                    1..3 if sample.event.key.contains("-C") => {
                        let number = sample.event.key.rsplit("-C").next().and_then(|digits| digits.parse().ok());
                        samples.push(customer::whole(random, institution, number.expect("a code of ours ends in digits")));
                    }
                    _ => samples.push(sample.clone()),
                }
            }
            let again = Drop::of_institution(institution, "customers", samples);
            // A file that says the same, which chance makes of one in some ten thousand, is not read again.
            if again.bytes != drop.bytes {
                *drop = again;
                changed.push(drop.clone());
            }
        }
        changed
    }
}

/// Each round after the first has a month of its own.
fn month(round: u64) -> String {
    format!("{}-{:02}", 2026 + (round - 1) / 12, (round - 1) % 12 + 1)
}

/// Whether a patch of the person meets one: clearing or setting a child of a person that is not there is another rule.
fn has_its_parts(sample: &Sample, oracle: &Oracle) -> bool {
    let crate::oracle::Meaning::Patch(patch) = &sample.event.meaning else { return true };
    let of_person = patch.keys().any(|path| path.starts_with("person."));
    !of_person || oracle.row(sample.event.entity, &sample.event.key).is_none_or(|row| row["person"]["name"].is_string())
}

fn relations(random: &mut Random, many: u64) -> Vec<Sample> {
    let mut samples: Vec<Sample> = (0..many).map(|_| catalog::relation(random)).collect();
    samples.push(bad::relation(random));
    samples
}

/// Mixes in what must be refused and what must be ignored.
fn spoil(random: &mut Random, stem: &str, operation: Operation, institution: &str, mut samples: Vec<Sample>) -> Vec<Sample> {
    for sample in &mut samples {
        decorate(random, sample);
    }
    let many = if random.chance(50) { random.below(4) } else { 0 };
    for _ in 0..many {
        let refused = match stem {
            "customers" => bad::customer(random, operation, institution),
            "consumption_records" => bad::consumption(random, operation, institution),
            _ => continue,
        };
        let place = random.below(samples.len() as u64 + 1) as usize;
        samples.insert(place, refused);
    }
    samples
}
