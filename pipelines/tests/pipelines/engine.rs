//! What the engine does when things go wrong, case by case.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::place::{IDENTITY, Place, degraded};
use crate::store::{Content, Hindrance, POISON};
use crate::thing::{self, Spec, delete, insert, listed, update};
use serde_json::json;
use tidemark_connector_core::progress::load_topic;
use tidemark_connector_core::receipt::{Decided, Receipt};
use tidemark_log::{Append, Log, LogIdentity, RECORD_BYTES_MAX, ReadLimit, Topics};
use tidemark_pipelines::dead_letters::{self, DeadLetterError, Redrive, RedriveError};
use tidemark_pipelines::engine::{BatchLimits, Pipeline};
use tidemark_pipelines::status::StageState;
use tidemark_schemas::Catalog;
use tidemark_schemas::codec::{decode_change, encode_change};
use tidemark_sink_core::batch::UNDECODABLE;
use tidemark_sink_core::{RejectedRow, Role, SinkBatch, SinkError};
use uuid::Uuid;

fn row(code: &str, a: &str) -> serde_json::Value {
    json!({"code": code, "name": "n", "a": a})
}

fn value_of(content: &Mutex<Content>, key: &str) -> Option<String> {
    let content = content.lock().unwrap();
    let (_, _, row) = content.rows.get(&("thing".to_owned(), key.to_owned()))?;
    Some(row["a"].as_str().unwrap_or("null").to_owned())
}

fn of_claim(spec: Spec) -> Spec {
    Spec { claim: "file-1".to_owned(), ..spec }
}

async fn receipt(place: &Place) -> Receipt {
    let found = load_topic(&*place.log, &place.pipeline.topics.receipts, "file-1|0").await.unwrap();
    assert!(found.keys().filter(|key| key.matches('|').count() == 1).count() == 1);
    serde_json::from_str(&found["file-1|0"]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_repeated_rejection_after_a_crash_counts_once() {
    let place = Place::new().await;
    let content = Arc::default();
    let claim = [insert("file", row("K", "1")), update("file", row("U", "1"), &["a"]), delete("file", "V")].map(of_claim);
    place.publish(&claim).await;
    // The fold's append happens, but its answer is lost: the batch must not count again.
    place.lose_answer.store(true, Ordering::SeqCst);
    place.drain(Role::Relational, &content).await;
    assert!(!place.lose_answer.load(Ordering::SeqCst), "the fault was met");
    let decided = Decided { inserted: 1, rejected: 2, ..Decided::default() };
    assert_eq!(receipt(&place).await, Receipt { decided, left_deleted: 0 });
    let rejections = load_topic(&*place.log, &place.pipeline.topics.receipts, "file-1|0|").await.unwrap();
    assert_eq!(rejections.keys().collect::<Vec<_>>(), ["file-1|0|1", "file-1|0|2"]);
    assert_eq!(dead_letters::list(&*place.log, &place.pipeline.topics).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_would_outgrow_the_log_is_rejected_and_holds_nothing_up() {
    let place = Place::new().await;
    let content = Arc::default();
    let long = "x".repeat(RECORD_BYTES_MAX * 3 / 5);
    let grow = update("file", json!({"code": "K", "name": long}), &["name"]);
    let claim = [insert("file", json!({"code": "K", "name": "n", "a": long})), grow, insert("file", row("L", "1"))].map(of_claim);
    place.publish(&claim).await;
    place.drain(Role::Relational, &content).await;
    let decided = Decided { inserted: 2, rejected: 1, ..Decided::default() };
    assert_eq!(receipt(&place).await, Receipt { decided, left_deleted: 0 });
    let rejections = load_topic(&*place.log, &place.pipeline.topics.receipts, "file-1|0|").await.unwrap();
    assert!(rejections["file-1|0|1"].contains("row_too_large"), "{rejections:?}");
    assert_eq!((value_of(&content, "K"), value_of(&content, "L").as_deref()), (Some(long), Some("1")));
}

#[tokio::test(start_paused = true)]
async fn small_changes_of_large_rows_are_cut_into_batches() {
    let place = Place::new().await;
    let content = Arc::default();
    let (long, of) = ("x".repeat(4_000), |number: u64| format!("K{:02}", number % 40));
    let inserts: Vec<Spec> = (0..40).map(|number| insert("crm", json!({"code": of(number), "name": long}))).collect();
    let updates = |from: u64| (0..400).map(move |number| update("crm", row(&of(number), &(from + number).to_string()), &["a"]));
    place.publish(&inserts).await;
    place.drain(Role::Relational, &content).await;
    place.publish(&updates(0).collect::<Vec<_>>()).await;
    place.publish(&updates(1_000).collect::<Vec<_>>()).await;
    place.largest.store(0, Ordering::SeqCst);
    let limits = BatchLimits { records_max: 8_000, bytes_max: 40_000 };
    place.drain_within(limits, Role::Relational, &content).await;
    let largest = place.largest.load(Ordering::SeqCst);
    assert!((40_000..100_000).contains(&largest), "{largest}");
    for number in 0..40 {
        assert_eq!(value_of(&content, &of(number)), Some((1_360 + number).to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_cache_with_an_unchanged_relist_writes_nothing() {
    let place = Place::new().await;
    let content = Arc::default();
    place.publish(&[listed("shop", row("K", "shop")), update("crm", row("K", "crm"), &["a"])]).await;
    place.drain(Role::Relational, &content).await;
    let topic = place.pipeline.topics.state("thing");
    let end = place.log.bounds(&topic, 0).await.unwrap().end;
    std::fs::remove_dir_all(place.cache.path().join("state")).unwrap();
    place.publish(&[listed("shop", row("K", "shop"))]).await;
    place.drain(Role::Relational, &content).await;
    assert_eq!(place.log.bounds(&topic, 0).await.unwrap().end, end);
    assert_eq!(value_of(&content, "K").as_deref(), Some("crm"));
}

#[tokio::test(start_paused = true)]
async fn a_log_swapped_for_another_empties_the_cache() {
    let (first, content) = (Place::new().await, Arc::default());
    first.publish(&[insert("file", row("A", "1")), insert("file", row("B", "1"))]).await;
    first.drain(Role::Relational, &content).await;
    // Another log: the cache of the first one must not answer for it.
    let other = Place::with_identity(LogIdentity { id: Uuid::from_u128(10), ..IDENTITY }).await;
    let mut other = other;
    other.cache = first.cache;
    other.publish(&[insert("file", row("A", "2")), delete("file", "B")]).await;
    let fresh = Arc::default();
    other.drain(Role::Relational, &fresh).await;
    assert_eq!((value_of(&fresh, "A").as_deref(), value_of(&fresh, "B")), (Some("2"), None));
    assert_eq!(dead_letters::list(&*other.log, &other.pipeline.topics).await.unwrap()[0].reason, "unknown_key");
}

#[tokio::test(start_paused = true)]
async fn a_log_restored_from_an_older_copy_stops_the_sink_with_the_remedy() {
    let (newer, content) = (Place::new().await, Arc::default());
    newer.publish(&[insert("file", row("A", "1")), insert("file", row("B", "1"))]).await;
    newer.drain(Role::Relational, &content).await;
    // The same log, as it stood one record earlier.
    let mut older = Place::new().await;
    older.cache = newer.cache;
    older.publish(&[insert("file", row("A", "1"))]).await;
    let pipeline = older.pipeline.clone();
    let check = async {
        let line = older.line("sink.relational", |line| degraded(line).is_some()).await;
        let text = degraded(&line).unwrap();
        assert!(text.contains("stands at 2") && text.contains("raised generation"), "{text}");
        older.line("fold", |line| line.quiet).await;
        pipeline.shutdown.cancel();
    };
    futures::join!(
        pipeline.run_sink(older.sink(Role::Relational, &content), BatchLimits::SINK),
        pipeline.run_fold(older.cache.path().join("state"), BatchLimits::FOLD),
        check,
    );
    let topic = pipeline.topics.state("thing");
    assert_eq!(older.log.bounds(&topic, 0).await.unwrap().end, 1, "the cache that was ahead did not swallow the insert");
}

/// Sends one letter on its way.
async fn redrive(place: &Place, id: Uuid) -> Result<Redrive, RedriveError> {
    let Pipeline { topics, catalog, .. } = &place.pipeline;
    let mut redriven = dead_letters::redrive(&*place.log, topics, catalog, &[id], Uuid::new_v4(), 5).await?;
    redriven.remove(0).1
}

#[tokio::test(start_paused = true)]
async fn many_letters_are_redriven_at_once_and_those_that_cannot_be_stay_open() {
    let (place, content) = (Place::new().await, Arc::default());
    let (log, topics, catalog) = (&*place.log, &place.pipeline.topics, &place.pipeline.catalog);
    let of = |number: u64| format!("K{number:02}");
    let updates: Vec<Spec> = (0..40).map(|number| update("crm", row(&of(number), &number.to_string()), &["a"])).collect();
    place.publish(&updates).await;
    let mut append = Append::default();
    append.record(&topics.changes("thing"), 0, b"K", |out| out.extend_from_slice(b"no change"));
    log.append(append).await.unwrap();
    place.drain(Role::Relational, &content).await;
    place.publish(&(0..40).map(|number| insert("crm", row(&of(number), "0"))).collect::<Vec<_>>()).await;
    place.drain(Role::Relational, &content).await;
    let mut ids: Vec<Uuid> = dead_letters::list(log, topics).await.unwrap().iter().map(|letter| letter.id).collect();
    assert_eq!(ids.len(), 41);
    let nobody = Uuid::from_u128(7);
    ids.push(nobody);
    let redriven = dead_letters::redrive(log, topics, catalog, &ids, Uuid::new_v4(), 5).await.unwrap();
    let failed: Vec<Uuid> = redriven.iter().filter(|(_, outcome)| outcome.is_err()).map(|(id, _)| *id).collect();
    assert_eq!(failed, ids[40..]);
    let offsets: HashSet<u64> = redriven.iter().filter_map(|(_, outcome)| Some(outcome.as_ref().ok()?.published.2)).collect();
    assert_eq!(offsets.len(), 40);
    place.drain(Role::Relational, &content).await;
    for number in 0..40 {
        assert_eq!(value_of(&content, &of(number)), Some(number.to_string()));
    }
    assert_eq!(dead_letters::list(log, topics).await.unwrap().len(), 1, "what cannot be read stays open");
}

#[tokio::test(start_paused = true)]
async fn a_refused_row_is_redriven_and_the_open_letters_return_to_zero() {
    let (place, content) = (Place::new().await, Arc::default());
    let (log, topics, catalog) = (&*place.log, &place.pipeline.topics, &place.pipeline.catalog);
    place.publish(&[insert("crm", row("A", POISON)), insert("crm", row("B", "1")), update("crm", row("C", "1"), &["a"])]).await;
    place.drain(Role::Graph, &content).await;
    assert_eq!((value_of(&content, "A"), value_of(&content, "B").as_deref()), (None, Some("1")), "the rest is applied");
    let letters = dead_letters::list(log, topics).await.unwrap();
    let by = |stage: &str| letters.iter().find(|letter| letter.stage == stage).unwrap().clone();
    let (of_fold, of_sink) = (by("fold"), by("sink.graph"));
    assert_eq!((letters.len(), of_fold.reason.as_str(), of_sink.key.as_str()), (2, "unknown_key", "A"));

    // The sink's: still poison, so it is refused again and becomes a new letter.
    let redriven = redrive(&place, of_sink.id).await.unwrap();
    assert!(!redriven.changed_since);
    place.drain(Role::Graph, &content).await;
    let again = dead_letters::list(log, topics).await.unwrap();
    assert!(again.len() == 2 && again.iter().all(|letter| letter.id != of_sink.id));
    let again = again.into_iter().find(|letter| letter.stage == "sink.graph").unwrap();
    // The store has learnt to like it: what is applied is the current state.
    let relational = Arc::clone(&content);
    relational.lock().unwrap().rows.clear();
    place.pipeline.board.update("sink.relational", |_| {});
    redrive(&place, again.id).await.unwrap();
    place.drain(Role::Relational, &relational).await;
    assert_eq!(value_of(&relational, "A").as_deref(), Some(POISON));

    // The fold's: the key has come to be in the meantime, so the update fits now, and the answer says that it changed.
    place.publish(&[insert("crm", row("C", "0"))]).await;
    place.drain(Role::Relational, &relational).await;
    assert!(redrive(&place, of_fold.id).await.unwrap().changed_since);
    place.drain(Role::Relational, &relational).await;
    assert_eq!(value_of(&relational, "C").as_deref(), Some("1"));
    assert_eq!(dead_letters::list(log, topics).await.unwrap(), []);
    assert!(dead_letters::count_open(log, topics).await.unwrap().is_empty());
    // Each call was a source of its own, so whoever sends at the same time makes no repeats.
    let changes = log.read(&topics.changes("thing"), 0, 0, ReadLimit { records_max: 100, bytes_max: 1 << 20 }).await.unwrap();
    let entity = catalog.entity("thing").unwrap();
    let sources = changes.iter().map(|record| decode_change(catalog, entity, record.value).unwrap().source.into_owned());
    let sources: Vec<String> = sources.filter(|source| source != "crm").collect();
    assert!(sources.iter().all(|source| source.starts_with("redrive/")), "{sources:?}");
    assert_eq!(sources.iter().collect::<HashSet<_>>().len(), 3);
    let closed = redrive(&place, of_fold.id).await;
    assert!(matches!(closed, Err(RedriveError::Letter(DeadLetterError::Closed(_)))));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_change_are_a_letter_that_can_be_discarded() {
    let (place, content) = (Place::new().await, Arc::default());
    let (log, topics) = (&*place.log, &place.pipeline.topics);
    let mut append = Append::default();
    append.record(&topics.changes("thing"), 0, b"K", |out| out.extend_from_slice(b"no change"));
    log.append(append).await.unwrap();
    place.publish(&[insert("crm", row("K", "1"))]).await;
    place.drain(Role::Relational, &content).await;
    assert_eq!(value_of(&content, "K").as_deref(), Some("1"), "the rest goes on");
    let letters = dead_letters::list(log, topics).await.unwrap();
    assert_eq!((letters.len(), letters[0].reason.as_str(), letters[0].offset), (1, "undecodable", 0));
    assert_eq!(letters[0].payload.as_deref(), Some("6e6f206368616e6765"), "the original bytes");
    let problem = redrive(&place, letters[0].id).await;
    assert!(matches!(problem, Err(RedriveError::Undecodable { .. })));
    dead_letters::discard(log, topics, letters[0].id).await.unwrap();
    assert_eq!(dead_letters::list(log, topics).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn only_closed_letters_come_to_their_end() {
    let (place, content) = (Place::new().await, Arc::default());
    let (log, topics) = (&*place.log, &place.pipeline.topics);
    let mut append = Append::default();
    for key in [b"K", b"L", b"M"] {
        append.record(&topics.changes("thing"), 0, key, |out| out.extend_from_slice(b"no change"));
    }
    log.append(append).await.unwrap();
    place.drain(Role::Relational, &content).await;
    let letters = dead_letters::list(log, topics).await.unwrap();
    assert_eq!(letters.len(), 3);
    assert!(dead_letters::closed_before(log, topics, i64::MAX, 9).await.unwrap().is_empty(), "an open one waits for ever");
    dead_letters::discard(log, topics, letters[1].id).await.unwrap();
    let end = log.bounds(&topics.dead_letters, 0).await.unwrap().end;
    let closed_at = log
        .read(&topics.dead_letters, 0, end - 1, ReadLimit { records_max: 1, bytes_max: 1 })
        .await
        .unwrap()
        .iter()
        .next()
        .unwrap()
        .timestamp;
    let past = |time| dead_letters::closed_before(log, topics, time, 1);
    assert_eq!(past(closed_at).await.unwrap(), Vec::<u64>::new(), "not closed before that");
    assert_eq!(past(closed_at + 1).await.unwrap(), [1, 3], "as it was opened and as it was closed");

    // One of another version of this program, the end of the third letter, and the second refused once more.
    let mut append = Append::default();
    append.record(&topics.dead_letters, 0, b"later", |out| out.extend_from_slice(b"{\"status\":\"postponed\"}"));
    log.append(append).await.unwrap();
    dead_letters::discard(log, topics, letters[2].id).await.unwrap();
    assert_eq!(past(i64::MAX).await.unwrap(), [1, 3], "one letter a round is asked for");
    let both = dead_letters::closed_before(log, topics, i64::MAX, 9);
    assert_eq!(both.await.unwrap(), [1, 2, 3, 5], "the unreadable one is kept and holds up nobody");
    let mut append = Append::default();
    append.record(&topics.dead_letters, 0, letters[1].id.to_string().as_bytes(), |out| {
        serde_json::to_writer(out, &letters[1]).unwrap();
    });
    log.append(append).await.unwrap();
    let all = dead_letters::closed_before(log, topics, i64::MAX, 9);
    assert_eq!(all.await.unwrap(), [2, 5], "what was opened again is open");
}

/// A later build of `thing`, with one more field.
fn later_catalog() -> Arc<Catalog> {
    let later = thing::THING.replacen(
        "{\"name\": \"b\"",
        "{\"name\": \"c\", \"type\": [\"null\", \"string\"], \"default\": null, \"title\": \"丙\"},\n    {\"name\": \"b\"",
        1,
    );
    assert_ne!(later, thing::THING);
    Arc::new(Catalog::with_files(&[("thing.avsc".to_owned(), later)]).unwrap())
}

/// Refuses its first row as undecodable, as if its schema had been learnt by another stage just after.
struct LearntElsewhere(bool);

impl Hindrance for LearntElsewhere {
    fn refuse(&mut self, batch: &SinkBatch) -> Vec<RejectedRow> {
        if std::mem::replace(&mut self.0, true) {
            return Vec::new();
        }
        let (part, record) = (&batch.parts[0], batch.parts[0].records.get(0));
        vec![RejectedRow {
            entity: part.entity.name.clone(),
            position: (part.partition, record.offset),
            key: String::from_utf8(record.key.to_vec()).unwrap(),
            reason: UNDECODABLE.to_owned(),
            detail: "written by an unknown schema".to_owned(),
        }]
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_whose_schema_another_stage_has_learnt_since_is_tried_again() {
    let (place, content) = (Place::new().await, Arc::default());
    place.publish(&[insert("file", row("A", "1"))]).await;
    let sink = place.sink(Role::Relational, &content).hindered(LearntElsewhere(false));
    let test = async {
        assert!(place.pipeline.caught_up(&["fold", "sink.relational"]).await.unwrap());
        place.pipeline.shutdown.cancel();
    };
    futures::join!(
        place.pipeline.run_fold(place.cache.path().join("state"), BatchLimits::FOLD),
        place.pipeline.run_sink(Box::new(sink), BatchLimits::SINK),
        test,
    );
    assert_eq!(value_of(&content, "A").as_deref(), Some("1"));
    assert_eq!(dead_letters::list(&*place.log, &place.pipeline.topics).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_later_writers_schema_is_learnt_while_running() {
    let (place, content) = (Place::new().await, Arc::default());
    let later = later_catalog();
    let entity = later.entity("thing").unwrap();
    let change = Spec { source_seq: 1, ..insert("crm", json!({"code": "K", "name": "n", "a": "1", "c": "new"})) }.change(entity);
    let mut append = Append::default();
    append.record(&place.pipeline.topics.changes("thing"), 0, b"K", |out| encode_change(entity, &change, out));
    place.log.append(append).await.unwrap();
    // The writer's own `prepare` came after this process's.
    let mut writer = place.pipeline.clone();
    writer.catalog = later;
    writer.prepare(1).await.unwrap();
    place.drain(Role::Relational, &content).await;
    assert_eq!(value_of(&content, "K").as_deref(), Some("1"));
    assert_eq!(dead_letters::list(&*place.log, &place.pipeline.topics).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_nobody_published_ends_as_a_letter() {
    let (place, content) = (Place::new().await, Arc::default());
    let later = later_catalog();
    let entity = later.entity("thing").unwrap();
    let change = Spec { source_seq: 1, ..insert("crm", row("K", "1")) }.change(entity);
    let mut append = Append::default();
    append.record(&place.pipeline.topics.changes("thing"), 0, b"K", |out| encode_change(entity, &change, out));
    place.log.append(append).await.unwrap();
    place.publish(&[insert("crm", row("L", "1"))]).await;
    place.drain(Role::Relational, &content).await;
    assert_eq!((value_of(&content, "K"), value_of(&content, "L").as_deref()), (None, Some("1")));
    let letters = dead_letters::list(&*place.log, &place.pipeline.topics).await.unwrap();
    assert!(letters.len() == 1 && letters[0].detail.contains("unknown schema"), "{letters:?}");
}

/// A store that is away for a number of openings.
struct Away {
    openings: u32,
}

impl Hindrance for Away {
    fn open(&mut self) -> Result<(), SinkError> {
        if self.openings == 0 {
            return Ok(());
        }
        self.openings -= 1;
        Err(SinkError::Unavailable { step: "opening graph.db".to_owned(), cause: "database is locked".into() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_delays_itself_alone_and_catches_up() {
    let place = Place::new().await;
    let (graph, relational): (Arc<Mutex<Content>>, Arc<Mutex<Content>>) = (Arc::default(), Arc::default());
    let away = Box::new(place.sink(Role::Graph, &graph).hindered(Away { openings: 20 }));
    let pipeline = place.pipeline.clone();
    let check = async {
        place.publish(&[insert("crm", row("K", "1"))]).await;
        assert!(pipeline.caught_up(&["fold", "sink.relational"]).await.unwrap());
        assert_eq!((value_of(&relational, "K").as_deref(), value_of(&graph, "K")), (Some("1"), None));
        let line = place.line("sink.graph", |line| line.retried > 3).await;
        assert_eq!(degraded(&line), Some("opening graph.db: the store is unavailable: database is locked"));
        assert!(!line.quiet);
        assert!(pipeline.caught_up(&["sink.graph"]).await.unwrap());
        assert_eq!(value_of(&graph, "K").as_deref(), Some("1"));
        place.line("sink.graph", |line| line.state == StageState::Running && line.quiet && line.retried == 20).await;
        pipeline.shutdown.cancel();
    };
    futures::join!(
        pipeline.run_fold(place.cache.path().join("state"), BatchLimits::FOLD),
        pipeline.run_sink(away, BatchLimits::SINK),
        pipeline.run_sink(place.sink(Role::Relational, &relational), BatchLimits::SINK),
        check,
    );
    assert!(pipeline.board.lines().values().all(|line| line.state == StageState::Stopped));
}

#[tokio::test(start_paused = true)]
async fn another_fold_that_took_over_stops_this_one() {
    let place = Place::new().await;
    let pipeline = place.pipeline.clone();
    let topics = Topics::new("t");
    let check = async {
        place.line("fold", |line| line.quiet).await;
        // Somebody else decides a change, behind this fold's back.
        let mut append = Append::default();
        append.position(tidemark_log::ConsumerPosition {
            consumer: "fold".to_owned(),
            topic: topics.changes("thing").to_string(),
            partition: 0,
            from: 0,
            next: 1,
        });
        place.log.append(append).await.unwrap();
        place.publish(&[insert("crm", row("K", "1"))]).await;
        let line = place.line("fold", |line| degraded(line).is_some()).await;
        assert!(degraded(&line).unwrap().contains("this stage has stopped"), "{line:?}");
    };
    futures::join!(pipeline.run_fold(place.cache.path().join("state"), BatchLimits::FOLD), check);
    let state = place.log.bounds(&topics.state("thing"), 0).await.unwrap();
    assert_eq!(state.end, 0, "it wrote nothing");
}
