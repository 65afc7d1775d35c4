//! Compares everything that a run left with what the oracle says of the changes that stand in the log.

use std::collections::BTreeMap;

use serde_json::Value;
use tidemark_connector_core::progress::load_topic;
use tidemark_connector_core::receipt::{Receipt, Rejection};
use tidemark_log::{Log, ReadLimit};
use tidemark_pipelines::dead_letters::{self, LetterStatus};
use tidemark_schemas::codec::{decode_change, decode_state};
use tidemark_schemas::json::row_to_json;
use tidemark_sink_core::Role;

use super::World;
use crate::oracle::{Known, Word, tell};
use crate::store::POISON;
use crate::thing::{thing, told};

const ALL: ReadLimit = ReadLimit { records_max: 1_000_000, bytes_max: 1 << 30 };

/// What the oracle made of the changes.
#[derive(Default)]
struct Expected {
    keys: BTreeMap<String, Option<Known>>,
    receipts: BTreeMap<String, Receipt>,
    rejections: BTreeMap<String, String>,
    /// (partition, offset) of refused changes that belong to no claim.
    letters: Vec<(u32, u64)>,
}

pub(crate) async fn check(world: &World) {
    let seed = world.seed;
    let expected = expect(world).await;
    check_states(world, &expected).await;
    for (role, content) in &world.stores {
        let content = content.lock().unwrap();
        for (key, known) in &expected.keys {
            let Some(known) = known else { continue };
            let found = content.rows.get(&("thing".to_owned(), key.clone()));
            if *role == Role::Graph && known.row["a"] == POISON {
                assert!(found.is_none_or(|(version, ..)| *version < known.version), "seed {seed}: {key} is refused");
                continue;
            }
            let expected = (known.version, known.deleted, Value::Object(known.row.clone()));
            assert_eq!(found, Some(&expected), "seed {seed}: {key} in {}", role.name());
        }
        assert!(content.rows.len() <= expected.keys.values().flatten().count(), "seed {seed}: no key that nobody inserted");
    }
    check_receipts(world, &expected).await;
    check_letters(world, &expected).await;
}

async fn expect(world: &World) -> Expected {
    let entity = thing(&world.catalog);
    let mut expected = Expected::default();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for partition in 0..world.partitions {
        let mut marks: BTreeMap<String, u64> = BTreeMap::new();
        let records = world.memory.read(&world.topics.changes("thing"), partition, 0, ALL).await.unwrap();
        for record in records.iter() {
            let change = decode_change(&world.catalog, entity, record.value).unwrap();
            let mark = marks.entry(change.source.to_string()).or_default();
            if change.source_seq <= *mark {
                continue;
            }
            *mark = change.source_seq;
            let (source, specs) = world.scripts.iter().find(|(source, _)| *source == change.source).unwrap();
            *seen.entry(source).or_default() += 1;
            let spec = &specs[change.source_seq as usize - 1];
            let known = expected.keys.entry(spec.key().to_owned()).or_default();
            let word = tell(known, &told(spec, (1 << 40) + record.offset + 1));
            expected.count(spec.claim.as_str(), change.source_seq, word, partition, record.offset);
        }
    }
    for (source, specs) in &world.scripts {
        assert_eq!(seen.get(source), Some(&specs.len()), "seed {}: all of {source} is in the log", world.seed);
    }
    expected
}

impl Expected {
    fn count(&mut self, claim: &str, source_seq: u64, word: Word, partition: u32, offset: u64) {
        let reason = match word {
            Word::UnknownKey => Some("unknown_key"),
            Word::RequiredNull => Some("required_null"),
            _ => None,
        };
        if claim.is_empty() {
            self.letters.extend(reason.map(|_| (partition, offset)));
            return;
        }
        if let Some(reason) = reason {
            let first: u64 = claim.strip_prefix("file-").unwrap().parse().unwrap();
            self.rejections.insert(format!("{claim}|{partition}|{}", source_seq - first), reason.to_owned());
        }
        let receipt = self.receipts.entry(format!("{claim}|{partition}")).or_default();
        match word {
            Word::Inserted => receipt.decided.inserted += 1,
            Word::Updated => receipt.decided.updated += 1,
            Word::Deleted => receipt.decided.deleted += 1,
            Word::Unchanged => receipt.decided.unchanged += 1,
            Word::LeftDeleted => {
                receipt.decided.unchanged += 1;
                receipt.left_deleted += 1;
            }
            Word::UnknownKey | Word::RequiredNull => receipt.decided.rejected += 1,
        }
    }
}

async fn check_states(world: &World, expected: &Expected) {
    let entity = thing(&world.catalog);
    let mut found = BTreeMap::new();
    for partition in 0..world.partitions {
        let records = world.memory.read(&world.topics.state("thing"), partition, 0, ALL).await.unwrap();
        for record in records.iter() {
            let state = decode_state(&world.catalog, entity, record.value).unwrap();
            let row = row_to_json(&entity.record, &state.row);
            found.insert(state.key.to_string(), (state.version, state.deleted, row));
        }
    }
    let wanted: BTreeMap<_, _> = expected
        .keys
        .iter()
        .filter_map(|(key, known)| Some((key.clone(), known.as_ref()?)))
        .map(|(key, known)| (key, (known.version, known.deleted, Value::Object(known.row.clone()))))
        .collect();
    assert_eq!(found, wanted, "seed {}: states", world.seed);
}

async fn check_receipts(world: &World, expected: &Expected) {
    let (mut receipts, mut rejections) = (BTreeMap::new(), BTreeMap::new());
    for (key, text) in load_topic(&*world.memory, &world.topics.receipts, "").await.unwrap() {
        if key.matches('|').count() == 1 {
            receipts.insert(key, serde_json::from_str::<Receipt>(&text).unwrap());
        } else {
            let rejection: Rejection = serde_json::from_str(&text).unwrap();
            assert!(key.ends_with(&format!("|{}", rejection.index)));
            rejections.insert(key, rejection.reason);
        }
    }
    assert_eq!(receipts, expected.receipts, "seed {}: receipts", world.seed);
    assert_eq!(rejections, expected.rejections, "seed {}: rejections", world.seed);
}

async fn check_letters(world: &World, expected: &Expected) {
    let letters = dead_letters::list(&*world.memory, &world.topics).await.unwrap();
    let of_fold = letters.iter().filter(|letter| letter.stage == "fold");
    let found: Vec<_> = of_fold.map(|letter| (letter.partition, letter.offset)).collect();
    assert_eq!(found, expected.letters, "seed {}: dead letters of the fold", world.seed);
    assert!(letters.iter().all(|letter| letter.status == LetterStatus::Open && letter.payload.is_some()));
    for (key, known) in &expected.keys {
        let Some(known) = known else { continue };
        let buried = letters.iter().any(|letter| letter.stage == "sink.graph" && letter.key == *key);
        assert!(buried || known.row["a"] != POISON, "seed {}: {key} was refused and is no dead letter", world.seed);
    }
}
