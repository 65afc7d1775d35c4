//! The commands as a newcomer meets them: the sample, dropping again, Ctrl-C, exit statuses, looks beside a running `up`, backup.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tidemark_tests::files::{code, customer, envelope, pending};
use tidemark_tests::generator::Operation::Insert;
use tidemark_tests::oracle::graph::ENTITIES;
use tidemark_tests::place::Place;
use tidemark_tests::results::{self, files_below};
use tidemark_tests::running::{http_get, metric};
use tidemark_tests::second;
use tidemark_tests::stores;
use tidemark_tests::wait;

/// The sample is there when every entity of it has rows in all four stores.
fn sample_is_everywhere(place: &Place) -> bool {
    ENTITIES.iter().all(|(entity, key)| {
        ["relational.db", "analytics.db"]
            .iter()
            .all(|file| place.has_table(file, entity) && !stores::rows(place.data(), file, entity, key).is_empty())
    }) && place.has_table("graph.db", "vertex")
        && place.has_table("vector.db", "point")
        && !stores::edges(place.data()).is_empty()
        && stores::points(place.data()).keys().any(|(collection, _)| collection == "medical_knowledge")
}

#[test]
fn the_sample_is_in_all_four_stores_within_a_second() {
    let place = Place::new();
    let mut running = place.start(&["up", "--sample"]);
    wait::until("the start line", wait::PATIENCE, || (!running.output().trim().is_empty()).then_some(()));
    let started = Instant::now();
    wait::until("the sample to be everywhere", wait::PATIENCE, || sample_is_everywhere(&place).then_some(()));
    let took = started.elapsed();
    // On a loaded test machine a second is not a second; the point is that nothing waits for a timer.
    assert!(took < Duration::from_secs(3), "the sample took {took:?}");
    let rejected = || results::all(&place.import()).iter().map(|result| result.counts.rejected).sum::<u64>();
    wait::until("the deliberately bad record to be reported", wait::PATIENCE, || (rejected() == 1).then_some(()));

    running.interrupt();
    let stopped = Instant::now();
    assert_eq!(running.wait(Duration::from_secs(10)).code(), Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(5), "draining took {:?}", stopped.elapsed());
}

#[test]
fn the_sample_dropped_again_changes_nothing_and_says_so() {
    let place = Place::new();
    place.succeed(&["up", "--once", "--sample"]);
    let before: Vec<_> = stores::FILES.iter().map(|file| stores::dump(place.data(), file, &[])).collect();
    let results_before = results::all(&place.import()).len();
    for path in files_below(&place.import().join("incremental/processed")) {
        if !path.to_string_lossy().ends_with(".result.json") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            place.put(&format!("incremental/pending/2026-02-01/{name}"), fs::read(&path).unwrap());
        }
    }
    for path in files_below(&place.import().join("initial")) {
        if !path.to_string_lossy().ends_with(".result.json") {
            fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        }
    }
    place.succeed(&["up", "--once"]);
    let after: Vec<_> = stores::FILES.iter().map(|file| stores::dump(place.data(), file, &[])).collect();
    assert_eq!(before, after);
    for result in results::all(&place.import()).iter().skip(results_before) {
        let repeats = !result.document["repeats_of"].is_null();
        assert!(repeats || result.counts.unchanged + result.counts.rejected == result.counts.read, "{:#}", result.document);
    }
}

#[test]
fn exit_statuses_say_what_happened() {
    let place = Place::new();
    assert_eq!(place.run(&["import", "initial"]).code, Some(0), "nothing to do is no fault");
    assert_eq!(place.run(&["import", "everything"]).code, Some(2));
    assert_eq!(place.run(&["state", "no_such_entity"]).code, Some(2));
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(1, "张"), json!({"customer_code": "x"})]));
    let dry = place.run(&["import", "incremental", "--dry-run"]);
    assert_eq!(dry.code, Some(4), "{dry:#?}");
    assert_eq!(place.state_count("customer"), 0, "a dry run publishes nothing");
    assert!(place.import().join(pending("customers_add.json")).exists(), "and moves nothing");
    assert_eq!(place.run(&["import", "incremental"]).code, Some(4));
    assert_eq!(place.state_count("customer"), 1);
    assert_eq!(place.run(&["up", "--once"]).code, Some(0));
    assert_eq!(place.run(&["check"]).code, Some(0));
    let config = place.data().join("broken.toml");
    fs::write(&config, "[sinks.relationl]\nenabled = false\n").unwrap();
    let wrong = place.run(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("sinks.relational"), "suggests the right name: {}", wrong.stderr);
}

#[test]
fn what_is_interrupted_before_its_end_says_so() {
    let mut place = Place::new();
    for setting in ["SETTLE", "BROKEN_AFTER"] {
        place.set(&format!("TIDEMARK__CONNECTORS__FILE__{setting}"), "1h");
    }
    // Never complete, so that what waits for it does not end by itself.
    let growing = place.import().join(pending("customers_add.json"));
    fs::create_dir_all(growing.parent().unwrap()).unwrap();
    fs::write(&growing, "[{").unwrap();
    for (command, code) in [(["up", "--once"].as_slice(), 130), (&["import", "incremental"], 130), (&["up"], 0)] {
        let mut running = place.start(command);
        wait::until("the start line", wait::PATIENCE, || running.output().contains("tidemark runs").then_some(()));
        running.interrupt();
        assert_eq!(running.wait(Duration::from_secs(10)).code(), Some(code), "{command:?}: {}", running.output());
        let said = running.output();
        assert_eq!(said.contains("interrupted: what was taken in so far counts"), code == 130, "{command:?}: {said}");
        assert!(!said.contains("导入统计"), "the statistics of the whole are not printed for a part: {said}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    for command in [
        "up",
        "run",
        "import",
        "backup",
        "restore",
        "check",
        "init",
        "log",
        "state",
        "tail",
        "search",
        "dead-letters",
        "schema",
        "config",
    ] {
        let help = place.succeed(&[command, "--help"]);
        assert!(help.contains("Example") && help.contains("tidemark "), "{command}: {help}");
    }
    assert!(place.succeed(&["init", "--help"]).contains("incremental/pending/"), "the folders that it makes");
}

#[test]
fn looks_run_beside_a_running_up_and_imports_use_it() {
    let place = Place::new();
    let mut running = place.start(&["up"]);
    wait::until("the process to be ready", wait::PATIENCE, || {
        http_get(place.port(), "/ready").filter(|(status, _)| *status == 200)
    });
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(1, "张")]));
    let statistics = place.succeed(&["import", "incremental"]);
    assert!(statistics.contains("customers"), "{statistics}");
    assert_eq!(place.state("customer")[&code(1)].row["person"]["name"], "张");
    assert_eq!(place.run(&["check"]).code, Some(0));
    assert!(place.succeed(&["search", "customer_profiles", "张", "--json"]).contains(&code(1)));
    let tail = place.succeed(&["tail", "changes.customer", "--from", "earliest", "--once", "--json"]);
    assert!(tail.contains(&code(1)), "{tail}");
    assert!(http_get(place.port(), "/metrics").is_some_and(|(status, body)| status == 200 && body.contains("tidemark_")));
    let second = place.run(&["up"]);
    assert!(matches!(second.code, Some(1..=3)), "a second one is refused: {second:#?}");
    assert!(second.stderr.contains(&running.id().to_string()), "and says who holds it: {}", second.stderr);
    running.interrupt();
    assert_eq!(running.wait(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn a_backup_taken_while_it_runs_restores_to_the_same_state() {
    let place = Place::new();
    place.succeed(&["up", "--once", "--sample"]);
    let running = place.start(&["up"]);
    wait::until("the process to be ready", wait::PATIENCE, || {
        http_get(place.port(), "/ready").filter(|(status, _)| *status == 200)
    });
    let copy = place.data().join("../backup");
    place.succeed(&["backup", copy.to_str().unwrap()]);
    drop(running);

    let other = Place::new();
    other.succeed(&["restore", copy.to_str().unwrap()]);
    other.succeed(&["up", "--once"]);
    for (entity, key) in ENTITIES {
        let (one, two) = (place.state(entity), other.state(entity));
        let rows = |state: &std::collections::BTreeMap<String, tidemark_tests::place::StateLine>| {
            state.iter().map(|(key, line)| (key.clone(), line.deleted, line.row.clone())).collect::<Vec<_>>()
        };
        assert_eq!(rows(&one), rows(&two), "{entity}");
        let tables = |place: &Place| stores::rows(place.data(), "relational.db", entity, key).len();
        assert_eq!(tables(&place), tables(&other), "{entity}");
    }
    assert_eq!(stores::edges(place.data()), stores::edges(other.data()));
    // New changes go on above everything that was there before.
    let highest = place.state("customer").values().map(|line| line.version).max().unwrap();
    other.put(&pending("customers_add.json"), envelope(Insert, &[customer(77, "新")]));
    other.once();
    assert!(other.state("customer")[&code(77)].version > highest, "the generation has risen");
}

#[test]
fn a_restored_log_rises_above_what_the_stores_have_seen() {
    let mut place = Place::new();
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(1, "张")]));
    place.once();
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["first", "second", "third"].map(|name| folder.path().join(name));
    place.succeed(&["backup", first.to_str().unwrap()]);
    // Copies of the backup, as on another disk: they do not hear of restores of the first.
    for copy in [&second, &third] {
        fs::create_dir(copy).unwrap();
        for path in files_below(&first) {
            fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
    }
    let restore = |place: &Place, from: &std::path::Path| {
        lose_log(place);
        place.succeed(&["restore", from.to_str().unwrap()])
    };
    assert!(restore(&place, &first).contains("generation 1"));
    place.succeed(&["init", "--force-rebuild"]);
    place.put("incremental/pending/2026-02-01/customers_add.json", envelope(Insert, &[customer(2, "王")]));
    place.once();
    let said = restore(&place, &second);
    assert!(said.contains("generation 2"), "the stores know generation 1: {said}");
    let outcome = place.run(&["up", "--once", "--timeout", "2"]);
    assert!(matches!(outcome.code, Some(1 | 3)) && outcome.stderr.contains("`tidemark replay "), "{outcome:#?}");
    // A store that is switched off may be switched on again, and is all that is left here to know of generation 1.
    for name in ["relational.db", "vector.db", "analytics.db"] {
        fs::remove_file(place.data().join(name)).unwrap();
    }
    fs::remove_dir_all(place.data().join("state")).unwrap();
    place.set("TIDEMARK__SINKS__GRAPH__ENABLED", "false");
    let said = restore(&place, &third);
    assert!(said.contains("generation 2"), "the graph store knows generation 1: {said}");
}

fn lose_log(place: &Place) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(place.data().join(format!("log.db{suffix}")));
    }
}

#[test]
fn a_log_that_is_missing_beside_its_stores_is_wrong() {
    let place = Place::new();
    assert_eq!(place.run(&["check"]).code, Some(0), "a new place has no log yet");
    place.succeed(&["up", "--once", "--sample"]);
    let copy = place.data().join("../backup");
    place.succeed(&["backup", copy.to_str().unwrap()]);
    lose_log(&place);
    let found = place.run(&["check"]);
    assert_eq!(found.code, Some(4), "{found:#?}");
    assert!(found.stdout.contains("WRONG  log") && found.stdout.contains("tidemark restore DIR"), "{}", found.stdout);
    assert!(found.stdout.contains("relational.db"), "names what it filled: {}", found.stdout);
    place.succeed(&["restore", copy.to_str().unwrap()]);
}

#[test]
fn no_log_is_begun_where_one_was_lost() {
    let mut place = Place::new();
    place.succeed(&["up", "--once", "--sample"]);
    lose_log(&place);
    fs::remove_dir_all(place.data().join("locks")).unwrap();
    fs::remove_dir_all(place.import().join("incremental")).unwrap();
    let before = files_below(&place.import());
    let refused = |place: &Place, command: &[&str], named: &str| {
        let mut running = place.start(command);
        assert_eq!(running.wait(wait::PATIENCE).code(), Some(1), "{command:?}: {}", running.output());
        let said = running.output();
        assert!(said.contains("log.db is gone") && said.contains("`tidemark restore DIR`"), "{command:?}: {said}");
        assert!(said.contains(named) && !said.contains("`tidemark up` makes one"), "{command:?}: {said}");
        assert!(!place.data().join("log.db").exists(), "{command:?} made a log");
    };
    let (once, forever) = (["up", "--once"].as_slice(), ["up", "--sample"].as_slice());
    for command in [once, forever, &["run", "fold"], &["import", "initial"], &["init"], &["state", "customer"]] {
        refused(&place, command, "relational.db");
    }
    assert!(!place.data().join("locks").exists(), "refused before anything is made");
    assert!(files_below(&place.import()) == before, "no sample either");

    // The fold's cache alone tells of it too, and so does a store that is switched off.
    let aside = tempfile::tempdir().unwrap();
    for name in ["relational.db", "graph.db", "analytics.db", "vector.db"] {
        fs::rename(place.data().join(name), aside.path().join(name)).unwrap();
    }
    refused(&place, once, "state");
    fs::remove_dir_all(place.data().join("state")).unwrap();
    fs::rename(aside.path().join("graph.db"), place.data().join("graph.db")).unwrap();
    place.set("TIDEMARK__SINKS__GRAPH__ENABLED", "false");
    refused(&place, once, "graph.db");
    place.unset("TIDEMARK__SINKS__GRAPH__ENABLED");

    // To begin anew must be asked for; what is left out then names the gentler remedy first.
    place.succeed(&["init", "--force-rebuild", "--skip", "graph"]);
    let found = place.run(&["check"]);
    let of = |text: &str| found.stdout.find(text).unwrap_or_else(|| panic!("`{text}` is not in {}", found.stdout));
    assert!(
        of("was filled from another log") < of("put the right log back")
            && of("`tidemark restore DIR`") < of("`tidemark replay graph`")
    );
    place.succeed(&["init", "--force-rebuild"]);
    place.once();
    assert!(place.state_count("customer") > 0);
}

#[test]
fn a_search_takes_codes_as_people_write_them_and_refuses_unknown_fields() {
    let place = Place::new();
    let (mut gold, mut silver) = (customer(1, "张"), customer(2, "王"));
    (gold["vip_level"], silver["vip_level"]) = (json!("金卡"), json!("银卡"));
    place.put(&pending("customers_add.json"), envelope(Insert, &[gold, silver]));
    place.once();
    for condition in ["vip_level=GOLD", "vip_level=金卡", "vip_level=黄金", "membership_level=gold"] {
        let hits = place.succeed(&["search", "customer_profiles", "客户", "--json", "--where", condition]);
        assert!(hits.contains(&code(1)) && !hits.contains(&code(2)), "{condition}: {hits}");
    }
    for condition in ["first_visit_date=x", "last_visit_date=2026-02-30"] {
        let refused = place.run(&["search", "customer_profiles", "客户", "--where", condition]);
        assert_eq!(refused.code, Some(2), "finds nothing without a word: {refused:#?}");
        assert!(refused.stderr.contains("does not read as a date"), "{}", refused.stderr);
    }
    let refused = place.run(&["search", "customer_profiles", "客户", "--where", "vip_levle=GOLD"]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.stderr.contains("did you mean `vip_level`?"), "{}", refused.stderr);
}

#[test]
fn tail_says_that_an_offset_lies_beyond_the_end() {
    let place = Place::new();
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(1, "张")]));
    place.once();
    let said = place.run(&["tail", "changes.customer", "--from", "1000", "--once"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""));
    assert!(said.stderr.contains("tidemark.changes.customer/0 ends at 1"), "{}", said.stderr);
    assert_eq!(place.run(&["tail", "changes.customer", "--from", "1", "--once"]).stderr, "", "at the end is not beyond it");
}

#[test]
fn a_closed_dead_letter_goes_when_its_time_is_over() {
    let mut place = Place::new();
    place.once();
    for key in ["first", "second", "third"] {
        second::publish_garbage(place.data(), "customer", key);
    }
    place.once();
    let list = place.succeed(&["dead-letters", "list", "--json"]);
    let ids: Vec<String> = list
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 3, "{list}");
    // The topic's last record stays, so the one that is watched is closed first.
    place.succeed(&["dead-letters", "discard", &ids[0]]);
    place.succeed(&["dead-letters", "discard", &ids[1]]);
    place.set("TIDEMARK__MAINTENANCE__INTERVAL", "100ms");
    let mut running = place.start(&["up"]);
    wait::until("the process to be ready", wait::PATIENCE, || {
        http_get(place.port(), "/ready").filter(|(status, _)| *status == 200)
    });
    assert!(place.succeed(&["dead-letters", "show", &ids[0]]).contains("discarded"), "kept for ever by default");
    running.interrupt();
    running.wait(Duration::from_secs(10));
    place.set("TIDEMARK__RETENTION__DEAD_LETTERS", "1ms");
    let _running = place.start(&["up"]);
    wait::until("the closed one to be gone", wait::PATIENCE, || {
        (place.run(&["dead-letters", "show", &ids[0]]).code == Some(1)).then_some(())
    });
    assert!(place.succeed(&["dead-letters", "list"]).contains(&ids[2]), "an open one waits for ever");
    assert_eq!(place.run(&["check", "--deep"]).code, Some(4), "and `check` goes on saying so");
}

#[test]
fn the_data_folder_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let place = Place::at(folder.path().join("data"), tidemark_tests::binary::plain());
    place.succeed(&["init"]);
    assert_eq!(fs::metadata(place.data()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn records_are_counted_in_metrics() {
    let place = Place::new();
    let _running = place.start(&["up"]);
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(1, "张"), json!({"customer_code": "x"})]));
    wait::until("the rejected record to be counted", wait::PATIENCE, || {
        metric(place.port(), "tidemark_", &["rejected", "file"]).filter(|value| *value >= 1.0)
    });
    wait::until("no sink to lag", wait::PATIENCE, || {
        let lag = |role: &str| metric(place.port(), "tidemark_sink_lag_records", &[role]);
        ["relational", "graph", "vector", "analytics"].iter().all(|role| lag(role) == Some(0.0)).then_some(())
    });
}
