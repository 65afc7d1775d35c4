//! The Qdrant sink on servers of the tests' own, which are killed, are of another release, want a key, or go wrong when they are told
//! to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qdrant_client::Qdrant;
use qdrant_client::qdrant::ScrollPoints;
use serde_json::Value;
use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_core::contract::{Fixture, LOG};
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_sink_core::report::told;
use tidemark_sink_core::{Sink, SinkBatch, SinkError};
use tidemark_sink_qdrant::QdrantOptions;
use tidemark_test_support::Kind;
use tidemark_tests::place::Place;
use tidemark_tests::random::Random;
use tidemark_tests::servers::Own;
use tidemark_tests::wait::PATIENCE;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

fn options(server: &Own, prefix: &str) -> QdrantOptions {
    QdrantOptions::new(server.address().to_owned(), prefix.to_owned())
}

fn sink(options: QdrantOptions, fixture: &Fixture) -> Box<dyn Sink> {
    tidemark_sink_qdrant::vector(options, Arc::clone(fixture.catalog()), Arc::new(NgramEmbedder))
}

/// Key → payload, without what says which request wrote it.
async fn customers(server: &Own, prefix: &str) -> BTreeMap<String, Value> {
    let client = Qdrant::from_url(server.address()).skip_compatibility_check().build().unwrap();
    let request = ScrollPoints {
        collection_name: format!("{prefix}customer_profiles"),
        limit: Some(100_000),
        with_payload: Some(true.into()),
        ..ScrollPoints::default()
    };
    let shown = |point: qdrant_client::qdrant::RetrievedPoint| {
        let payload = point.payload.into_iter().map(|(name, value)| (name, value.into_json()));
        let mut payload: serde_json::Map<String, Value> = payload.collect();
        payload.remove("tidemark_turn");
        (payload["key"].as_str().unwrap().to_owned(), Value::Object(payload))
    };
    client.scroll(request).await.unwrap().result.into_iter().map(shown).collect()
}

/// Brings a batch in as the engine does: opens the store anew after each failure that may pass, and goes on where it stands.
async fn deliver(sink: &mut Box<dyn Sink>, batch: &SinkBatch) {
    let start = Instant::now();
    while let Err(error) = sink.apply(batch).await {
        assert!(matches!(error, SinkError::Unavailable { .. }), "{}", told(&error));
        let positions = loop {
            match sink.open(LOG, &Share::All).await {
                Ok(positions) => break positions,
                Err(error @ SinkError::Unavailable { .. }) => assert!(start.elapsed() < PATIENCE, "{}", told(&error)),
                Err(error) => panic!("{}", told(&error)),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        if positions.iter().any(|position| position.next == batch.parts[0].next) {
            // It was there, only its answer was not.
            return;
        }
    }
}

/// A history of some customers in batches: changed, deleted, brought back.
fn batches(fixture: &Fixture, random: &mut Random, count: u64) -> Vec<SinkBatch> {
    let mut batches = Vec::new();
    let (mut from, mut version) = (0, 0);
    for _ in 0..count {
        let mut states: Vec<State<'static>> = Vec::new();
        for _ in 0..300 {
            version += 1;
            let live = fixture.customer(&format!("C{:03}", random.below(400)), &format!("张{}", random.below(5)), version);
            states.push(if random.below(6) == 0 { fixture.deleted(&live, version) } else { live });
        }
        let batch = fixture.batch("customer", from, &states);
        from = batch.parts[0].next;
        batches.push(batch);
    }
    batches
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_the_server_lacks_nothing_afterwards() {
    let Some(server) = Own::start(Kind::Qdrant, "killed_in_the_middle_the_server_lacks_nothing_afterwards") else { return };
    let server = Arc::new(server);
    let fixture = fixture();
    let mut random = Random::new(7);
    let batches = batches(&fixture, &mut random, 24);
    let mut straight = sink(options(&server, "straight_"), &fixture);
    straight.open(LOG, &Share::All).await.unwrap();
    for batch in &batches {
        straight.apply(batch).await.unwrap();
    }
    let mut cut = sink(options(&server, "cut_"), &fixture);
    cut.open(LOG, &Share::All).await.unwrap();
    for (number, batch) in batches.iter().enumerate() {
        let kill = (number % 4 == 1).then(|| {
            let (server, delay) = (Arc::clone(&server), Duration::from_millis(random.below(40)));
            tokio::task::spawn_blocking(move || {
                tidemark_tests::wait::pass(delay);
                server.kill();
                server.start_again();
            })
        });
        deliver(&mut cut, batch).await;
        if let Some(kill) = kill {
            kill.await.unwrap();
        }
    }
    let expected = customers(&server, "straight_").await;
    assert!(expected.len() > 300, "{} customers say too little", expected.len());
    assert_eq!(customers(&server, "cut_").await, expected);
    assert_eq!(cut.positions().await.unwrap(), straight.positions().await.unwrap());
}

#[tokio::test]
async fn answers_that_are_lost_do_no_harm() {
    let Some(server) = Own::start(Kind::Qdrant, "answers_that_are_lost_do_no_harm") else { return };
    let fixture = fixture();
    let batches = batches(&fixture, &mut Random::new(11), 2);
    let mut straight = sink(options(&server, "straight_"), &fixture);
    straight.open(LOG, &Share::All).await.unwrap();
    for batch in &batches {
        straight.apply(batch).await.unwrap();
    }
    let expected = customers(&server, "straight_").await;
    // What was applied, or not, and the client is told nothing, or told to try again: it does so by itself on 14, not on 4.
    let faults = ["after 4 Timeout expired", "before 4 Timeout expired", "after 14 gone", "after 8 Rate limiting exceeded"];
    for (kind, fault) in faults.iter().enumerate() {
        // Each round another of the calls that write goes wrong, until there is none left. Each is on a store of its own: one that
        // was emptied has its partitions already and writes less.
        for number in 0.. {
            let prefix = format!("cut_{kind}_{number}_");
            let mut cut = sink(options(&server, &prefix), &fixture);
            cut.open(LOG, &Share::All).await.unwrap();
            let faults = server.folder().join("faults");
            fs::write(&faults, format!("{}{fault}\n", "pass\n".repeat(number))).unwrap();
            for batch in &batches {
                deliver(&mut cut, batch).await;
            }
            let is_over = faults.exists();
            if is_over {
                fs::remove_file(&faults).unwrap();
            }
            assert_eq!(customers(&server, &prefix).await, expected, "{fault}, call {number}");
            assert_eq!(cut.positions().await.unwrap(), straight.positions().await.unwrap(), "{fault}, call {number}");
            cut.reset().await.unwrap();
            if is_over {
                assert!(number >= 6, "a round has only {number} writing calls");
                break;
            }
        }
    }
}

#[tokio::test]
async fn poison_is_found_among_its_neighbours() {
    let Some(server) = Own::start(Kind::Qdrant, "poison_is_found_among_its_neighbours") else { return };
    let fixture = fixture();
    let mut sink = sink(options(&server, ""), &fixture);
    sink.open(LOG, &Share::All).await.unwrap();
    let is_poison = |number: u64| [3, 4, 299, 511].contains(&number);
    let name = |number| if is_poison(number) { "毒" } else { "张三" };
    let states: Vec<State<'static>> =
        (0..700).map(|number| fixture.customer(&format!("C{number:03}"), name(number), number + 1)).collect();
    let mut batch = fixture.batch("customer", 0, &states);
    fs::write(server.folder().join("poison"), "毒").unwrap();
    let Err(SinkError::Rejected(refused)) = sink.apply(&batch).await else { panic!("the server refuses some") };
    let mut found: Vec<(&str, u64)> = refused.iter().map(|row| (row.key.as_str(), row.position.1)).collect();
    found.sort_unstable();
    assert_eq!(found, [("C003", 3), ("C004", 4), ("C299", 299), ("C511", 511)]);
    assert_eq!(refused[0].reason, "refused_by_store");
    assert!(refused[0].detail.contains("what a test calls poison") && refused[0].detail.contains("redrive"), "{:?}", refused[0]);
    assert!(sink.positions().await.unwrap().is_empty(), "no position speaks of a refused batch");
    batch.exclude(&refused);
    let applied = sink.apply(&batch).await.unwrap();
    assert_eq!(applied.written + applied.skipped, 696);
    assert_eq!(customers(&server, "").await.len(), 696);
    assert_eq!(sink.positions().await.unwrap()[0].next, 700);
    // The cause is removed, and the rows come again.
    fs::remove_file(server.folder().join("poison")).unwrap();
    let again: Vec<State<'static>> =
        (0..700).filter(|number| is_poison(*number)).map(|number| states[number as usize].clone()).collect();
    assert_eq!(sink.apply(&fixture.batch("customer", 700, &again)).await.unwrap().written, 4);
    assert_eq!(customers(&server, "").await.len(), 700);
}

#[tokio::test]
async fn a_server_that_knows_no_conditions_is_found_out() {
    let Some(server) = Own::start(Kind::Qdrant, "a_server_that_knows_no_conditions_is_found_out") else { return };
    let fixture = fixture();
    fs::write(server.folder().join("version"), "1.15.5").unwrap();
    let mut sink = sink(options(&server, ""), &fixture);
    sink.open(LOG, &Share::All).await.unwrap();
    let old = fixture.customer("C1", "旧", 1);
    for (from, state, written) in [
        (0, old.clone(), 1),
        (1, fixture.customer("C1", "新", 3), 1),
        (2, fixture.customer("C1", "晚", 2), 0),
        (3, fixture.deleted(&old, 4), 1),
        (4, fixture.customer("C1", "晚", 3), 0),
    ] {
        assert_eq!(sink.apply(&fixture.batch("customer", from, &[state])).await.unwrap().written, written, "at {from}");
    }
    let found = customers(&server, "").await;
    assert_eq!((&found["C1"]["version"], &found["C1"]["deleted"]), (&Value::from(4), &Value::from(true)));
    let report = sink.check(LOG).await;
    assert_eq!(report.problems, Vec::<String>::new());
    let expected = format!("Qdrant 1.15.5 at {}, 1 rows, written in order: conditions of upserts need 1.16", server.address());
    assert_eq!(report.summary, expected);
    // What a server says of itself is not what counts: this one was updated.
    fs::write(server.folder().join("version"), "1.16.0").unwrap();
    assert_eq!(sink.check(LOG).await.summary, format!("Qdrant 1.16.0 at {}, 1 rows", server.address()));
    sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(sink.apply(&fixture.batch("customer", 5, &[fixture.customer("C1", "再", 9)])).await.unwrap().written, 1);
    fs::write(server.folder().join("version"), "1.9.7").unwrap();
    let problems = sink.check(LOG).await.problems;
    assert_eq!(problems, ["Qdrant 1.9.7 is older than tidemark needs; update it to 1.10 or newer"]);
}

#[tokio::test]
async fn a_wrong_key_is_told_with_the_remedy_and_never_shown() {
    let Some(server) = Own::start(Kind::Qdrant, "a_wrong_key_is_told_with_the_remedy_and_never_shown") else { return };
    let fixture = fixture();
    fs::write(server.folder().join("key"), "right-key").unwrap();
    for key in [None, Some("wrong-key")] {
        let options = QdrantOptions { api_key: key.map(str::to_owned), ..options(&server, "") };
        let mut sink = sink(options, &fixture);
        let error = sink.open(LOG, &Share::All).await.unwrap_err();
        assert!(matches!(error, SinkError::Fatal { .. }), "waiting does not mend it: {error:?}");
        let report = sink.check(LOG).await;
        for said in [told(&error), report.problems.join("\n")] {
            assert!(said.contains("correct `api_key`") && !said.contains("-key"), "{said}");
        }
    }
    let right = QdrantOptions { api_key: Some("right-key".to_owned()), ..options(&server, "") };
    let mut sink = sink(right, &fixture);
    sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(sink.check(LOG).await.problems, Vec::<String>::new());
}

/// The server behind TLS, with a certificate of its own making; its port, and that certificate in PEM.
fn behind_tls(runtime: &Runtime, address: &str) -> (u16, String) {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols.push(b"h2".to_vec());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port(), address.trim_start_matches("http://").to_owned());
    runtime.spawn(async move {
        loop {
            let (plain, _) = listener.accept().await.unwrap();
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                // A client that does not trust the certificate goes away.
                let Ok(mut tls) = acceptor.accept(plain).await else { return };
                let mut server = TcpStream::connect(&behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut tls, &mut server).await;
            });
        }
    });
    (port, cert.pem())
}

#[test]
fn https_is_spoken_with_those_whom_the_system_trusts() {
    let Some(address) = Kind::Qdrant.address("https_is_spoken_with_those_whom_the_system_trusts") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (port, certificate) = behind_tls(&runtime, &address);
    let (_, another) = behind_tls(&runtime, &address);
    let mut place = Place::new();
    let authorities = place.data().join("authorities.pem");
    for (name, value) in [
        ("TIDEMARK__SINKS__VECTOR__KIND", "qdrant"),
        ("TIDEMARK__SINKS__VECTOR__URL", &format!("https://127.0.0.1:{port}")),
        ("TIDEMARK__SINKS__VECTOR__PREFIX", &format!("tls_{}_{}_", std::process::id(), place.port())),
        // Where the system's authorities are, for whoever asks for them.
        ("SSL_CERT_FILE", authorities.to_str().unwrap()),
    ] {
        place.set(name, value);
    }
    fs::write(&authorities, certificate).unwrap();
    place.succeed(&["up", "--once", "--sample"]);
    let hits = place.succeed(&["search", "customer_profiles", "敏感肌", "--limit", "2"]);
    assert_eq!(hits.lines().count(), 2, "{hits}");
    fs::write(&authorities, another).unwrap();
    let outcome = place.run(&["check"]);
    assert_eq!(outcome.code, Some(4), "{outcome:#?}");
    assert!(outcome.stdout.contains(&format!("reaching Qdrant at https://127.0.0.1:{port}")), "{outcome:#?}");
    assert!(outcome.stdout.to_lowercase().contains("certificate"), "the reason is told: {outcome:#?}");
}
