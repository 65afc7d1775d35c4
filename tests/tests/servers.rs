//! The servers that stand behind the other tests: each stand-in against the official client, and each server through `kill -9`.
//!
//! A silent loss in a stand-in would look like a bug of the pipeline, or worse like a success.

use tidemark_test_support::Kind;
use tidemark_tests::servers::{Own, run_script};

/// Runs the folder's own tests on a fresh server.
fn stands_the_official_client(kind: Kind, test: &str) {
    let Some(server) = Own::start(kind, test) else { return };
    let output = run_script(kind, "test_server.py", &[server.address()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}:\n{said}{}", log_of(&server));
    assert!(said.contains("OK") && !said.contains("Ran 0 tests"), "{test} ran nothing:\n{said}");
}

/// What was acknowledged is there after `kill -9`, and after an orderly stop, at the same address.
fn survives(kind: Kind, test: &str) {
    let Some(server) = Own::start(kind, test) else { return };
    let run = |what: &str| {
        let output = run_script(kind, "survives.py", &[what, server.address()]);
        assert!(output.status.success(), "{test}, {what}:\n{}{}", String::from_utf8_lossy(&output.stderr), log_of(&server));
    };
    run("write");
    let first = server.process();
    server.kill();
    server.start_again();
    assert_ne!(server.process(), first, "{test}: it was not killed");
    run("read");
    server.stop();
    server.start_again();
    run("read");
}

fn log_of(server: &Own) -> String {
    let log = std::fs::read(server.folder().join("log")).unwrap_or_default();
    let end = log.len().saturating_sub(4000);
    format!("\n--- end of the server's log ---\n{}", String::from_utf8_lossy(&log[end..]))
}

#[test]
fn the_clickhouse_front_stands_the_official_client() {
    stands_the_official_client(Kind::ClickHouse, "the_clickhouse_front_stands_the_official_client");
}

#[test]
fn the_nebula_stand_in_stands_the_official_client() {
    stands_the_official_client(Kind::Nebula, "the_nebula_stand_in_stands_the_official_client");
}

/// Runs the folder's tests of what a test may ask of the server.
fn obeys(kind: Kind, script: &str, test: &str) {
    let Some(server) = Own::start(kind, test) else { return };
    let output = run_script(kind, script, &[server.address(), &server.folder().to_string_lossy()]);
    assert!(output.status.success(), "{test}:\n{}{}", String::from_utf8_lossy(&output.stderr), log_of(&server));
}

#[test]
fn the_nebula_stand_in_fails_when_it_is_told_to() {
    obeys(Kind::Nebula, "test_faults.py", "the_nebula_stand_in_fails_when_it_is_told_to");
}

#[test]
fn the_qdrant_services_stand_the_official_client() {
    stands_the_official_client(Kind::Qdrant, "the_qdrant_services_stand_the_official_client");
}

#[test]
fn the_qdrant_services_are_what_they_are_told_to_be() {
    obeys(Kind::Qdrant, "test_wishes.py", "the_qdrant_services_are_what_they_are_told_to_be");
}

#[test]
fn the_schema_registry_stands_the_official_client() {
    stands_the_official_client(Kind::SchemaRegistry, "the_schema_registry_stands_the_official_client");
}

#[test]
fn clickhouse_survives_a_kill() {
    survives(Kind::ClickHouse, "clickhouse_survives_a_kill");
}

#[test]
fn nebula_survives_a_kill() {
    survives(Kind::Nebula, "nebula_survives_a_kill");
}

#[test]
fn qdrant_survives_a_kill() {
    survives(Kind::Qdrant, "qdrant_survives_a_kill");
}

#[test]
fn the_schema_registry_survives_a_kill() {
    survives(Kind::SchemaRegistry, "the_schema_registry_survives_a_kill");
}

#[test]
fn kafka_survives_a_kill() {
    survives(Kind::Kafka, "kafka_survives_a_kill");
}

#[test]
fn postgres_survives_a_kill() {
    survives(Kind::Postgres, "postgres_survives_a_kill");
}

#[test]
fn a_server_of_a_tests_own_leaves_nothing_behind() {
    let Some(server) = Own::start(Kind::SchemaRegistry, "a_server_of_a_tests_own_leaves_nothing_behind") else { return };
    let (folder, process) = (server.folder(), server.process());
    assert!(folder.join("log").exists());
    drop(server);
    assert!(!folder.exists(), "{} is still there", folder.display());
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "process {process} still runs: {state}");
}
