//! The program on real servers, chosen by configuration: the log on Kafka, all four stores on theirs. It ends as the embedded default
//! ends on the same files, also when it is killed on the way, and a search finds the same.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tidemark_tests::bulk::{self, Size};
use tidemark_tests::on_servers::{OnServers, run_with};
use tidemark_tests::oracle::graph::ENTITIES;
use tidemark_tests::place::Place;
use tidemark_tests::running::http_get;
use tidemark_tests::wait;

/// Key → tenant, whether it is deleted, row.
type State = BTreeMap<String, (Option<String>, bool, Value)>;

fn states(place: &Place) -> BTreeMap<&'static str, State> {
    let of = |(entity, _)| {
        let lines = place.state(entity).into_iter();
        (entity, lines.map(|(key, line)| (key, (line.tenant, line.deleted, line.row))).collect())
    };
    ENTITIES.into_iter().map(of).collect()
}

/// What `check` says of each part; everything must be well.
fn summaries(place: &Place) -> BTreeMap<String, String> {
    let text = place.succeed(&["check", "--json"]);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["part"].as_str().unwrap().to_owned(), line["summary"].as_str().unwrap().to_owned())).collect()
}

/// What searches find, as a program reads it: by likeness and under conditions of every type.
fn found(place: &Place) -> Vec<String> {
    let searches: [&[&str]; 11] = [
        &["customer_profiles", "敏感肌"],
        &["customer_profiles", "张小丽", "--limit", "3"],
        &["customer_profiles", "会员", "--where", "vip_level=金卡"],
        &["customer_profiles", "会员", "--where", "first_visit_date=2026-01-15"],
        &["customer_profiles", "会员", "--where", "first_visit_date="],
        &["customer_profiles", "会员", "--where", "tags="],
        &["medical_knowledge", "玻尿酸"],
        &["medical_knowledge", "注射", "--where", "standard_price_fen=19800"],
        &["medical_knowledge", "注射", "--where", "entity=project", "--limit", "2"],
        &["medical_knowledge", "注射", "--where", "effect_level=4"],
        &["medical_knowledge", "注射", "--where", "standard_price=168"],
    ];
    searches.iter().map(|search| place.succeed(&[&["search", "--json"], *search].concat())).collect()
}

/// The number before ` rows` in a store's summary.
fn rows(summaries: &BTreeMap<String, String>, part: &str) -> String {
    let summary = &summaries[part];
    let count = summary.split(" rows").next().unwrap().rsplit(' ').next().unwrap();
    assert!(count.replace(',', "").parse::<u64>().is_ok(), "{part}: {summary}");
    count.to_owned()
}

#[test]
fn the_sample_ends_on_servers_as_in_files() {
    let Some(servers) = OnServers::shared("the_sample_ends_on_servers_as_in_files") else { return };
    let (place, embedded) = (servers.worker(), Place::new());
    for place in [&place, &embedded] {
        place.succeed(&["up", "--once", "--sample"]);
    }
    assert_eq!(states(&place), states(&embedded));
    let (on_servers, in_files) = (summaries(&place), summaries(&embedded));
    for part in ["sink.relational", "sink.vector"] {
        assert_eq!(rows(&on_servers, part), rows(&in_files, part), "{part}");
    }
    let hits = found(&place);
    assert!(hits.iter().filter(|lines| !lines.is_empty()).count() > 5, "the searches say too little: {hits:#?}");
    assert_eq!(hits, found(&embedded));
    let again = place.once();
    assert!(again.contains("customers: 0"), "nothing is taken in twice: {again}");
    assert_eq!(states(&place), states(&embedded));
    servers.remove();
}

#[test]
fn killed_on_servers_it_goes_on_where_it_stood() {
    let Some(servers) = OnServers::shared("killed_on_servers_it_goes_on_where_it_stood") else { return };
    let size = Size { customers: 2_000, orders: 6_000 };
    let (place, embedded) = (servers.worker(), Place::new());
    for place in [&place, &embedded] {
        bulk::write(&place.import(), &bulk::customers(size)).unwrap();
        bulk::write(&place.import(), &bulk::orders(size, |_| 0)).unwrap();
    }
    embedded.once();
    let mut running = place.start(&["up"]);
    wait::until("some of it to be there", wait::PATIENCE * 2, || (place.state_count("customer") > 0).then_some(()));
    running.kill();
    let mut running = place.start(&["up", "--once", "--timeout", "120"]);
    assert_eq!(running.wait(Duration::from_secs(300)).code(), Some(0), "{}", running.output());
    assert_eq!(states(&place), states(&embedded));
    for part in ["sink.relational", "sink.vector"] {
        assert_eq!(rows(&summaries(&place), part), rows(&summaries(&embedded), part), "{part}");
    }
    servers.remove();
}

#[test]
fn once_gives_up_on_a_worker_that_does_not_answer() {
    let Some(servers) = OnServers::shared("once_gives_up_on_a_worker_that_does_not_answer") else { return };
    let place = servers.worker();
    let mut worker = place.start(&run_with(&["connector.file"]));
    wait::until("the worker to answer", wait::PATIENCE, || http_get(place.port(), "/health"));
    place.once();
    worker.signal(Signal::STOP);
    let started = Instant::now();
    let outcome = place.run(&["up", "--once", "--timeout", "2"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(started.elapsed() < Duration::from_secs(30), "it took {:?}", started.elapsed());
    let said = format!("`connector.file`, run by process {}", worker.id());
    assert!(outcome.stderr.contains(&said) && outcome.stderr.contains("does not answer"), "{outcome:#?}");
    worker.signal(Signal::CONT);
    place.once();
    worker.interrupt();
    assert_eq!(worker.wait(wait::PATIENCE).code(), Some(0), "{}", worker.output());
    servers.remove();
}
