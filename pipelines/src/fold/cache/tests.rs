use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use tidemark_log::LogIdentity;
use uuid::Uuid;

use super::{Cache, Overlay, Overlays, Reached, entity_seed, key_hash};

const LOG: LogIdentity = LogIdentity { id: Uuid::from_u128(7), generation: 1 };

fn put(cache: &mut Cache, entries: &[(&str, &str, &str)], next: u64) {
    let mut overlay = Overlay::default();
    for (entity, key, value) in entries {
        overlay.put(entity_seed(entity), key.as_bytes(), value.as_bytes());
    }
    cache.put_unseen(&overlay, &[Reached { entity: "customer".to_owned(), partition: 0, next }]).unwrap();
}

fn get(cache: &mut Cache, entity: &str, key: &str) -> Option<String> {
    let mut buffer = Vec::new();
    let bytes = cache.get(entity_seed(entity), key.as_bytes(), &mut buffer).unwrap()?;
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn what_was_put_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(directory.path(), LOG).unwrap();
    put(&mut cache, &[("customer", "C1", "one"), ("staff", "C1", "other")], 2);
    put(&mut cache, &[("customer", "C1", "two"), ("customer", "C2", "")], 4);
    drop(cache);
    let mut cache = Cache::open(directory.path(), LOG).unwrap();
    assert_eq!(get(&mut cache, "customer", "C1").as_deref(), Some("two"));
    assert_eq!(get(&mut cache, "customer", "C2").as_deref(), Some(""));
    assert_eq!(get(&mut cache, "staff", "C1").as_deref(), Some("other"));
    assert_eq!(get(&mut cache, "staff", "C2"), None);
    assert_eq!((cache.len(), cache.next("customer", 0), cache.next("customer", 1)), (3, 4, 0));
}

#[test]
fn another_log_or_generation_finds_it_empty() {
    let directory = tempfile::tempdir().unwrap();
    for other in [LogIdentity { generation: 2, ..LOG }, LogIdentity { id: Uuid::from_u128(8), ..LOG }] {
        put(&mut Cache::create(directory.path(), LOG).unwrap(), &[("customer", "C1", "one")], 1);
        let cache = Cache::open(directory.path(), other).unwrap();
        assert!(cache.is_empty() && cache.reached().is_empty());
    }
}

#[test]
fn a_damaged_or_cut_file_is_the_state_at_an_earlier_point() {
    let directory = tempfile::tempdir().unwrap();
    let mut cache = Cache::create(directory.path(), LOG).unwrap();
    put(&mut cache, &[("customer", "C1", "one")], 1);
    let whole = cache.file.bytes();
    put(&mut cache, &[("customer", "C1", "two")], 2);
    let end = cache.file.bytes();
    drop(cache);
    let path = directory.path().join("states");
    for cut in (whole..end).rev() {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let mut cache = Cache::open(directory.path(), LOG).unwrap();
        assert_eq!((get(&mut cache, "customer", "C1").as_deref(), cache.next("customer", 0)), (Some("one"), 1), "cut at {cut}");
    }
    put(&mut Cache::open(directory.path(), LOG).unwrap(), &[("customer", "C1", "three")], 3);
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"!", whole - 1).unwrap();
    assert!(Cache::open(directory.path(), LOG).unwrap().is_empty(), "nothing behind a damaged frame counts");
}

/// One batch of a run: keys with their values, and what happens after it.
type Step = (Vec<(u8, u16)>, u8);

/// Random batches over so few keys that they meet again, and (see `HASH_BITS`) share hashes.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((prop::collection::vec((0_u8..20, 0_u16..500), 0..20), 0_u8..6), 1..20)
}

/// The value of a key as the fold looks it up.
fn look_up(overlays: &Overlays, cache: &mut Cache, key: &str) -> Option<String> {
    match overlays.get(entity_seed("customer"), key.as_bytes()) {
        Some(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        None => get(cache, "customer", key),
    }
}

#[test]
fn a_compaction_between_look_up_and_put_loses_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(directory.path(), LOG).unwrap();
    let keys: Vec<String> = (0..100).map(|number| format!("C{number}")).collect();
    let hash = |key: &str| key_hash(entity_seed("customer"), key.as_bytes());
    let other = keys[1..].iter().find(|key| hash(key) == hash(&keys[0])).expect("there are few hashes here");
    put(&mut cache, &[("customer", &keys[0], "1"), ("customer", other, "2")], 2);
    put(&mut cache, &[("customer", &keys[0], "3")], 3);
    assert_eq!(get(&mut cache, "customer", &keys[0]).as_deref(), Some("3"));
    // The file has them in another order than they came in: the place is the other one's from here on.
    cache.compact().unwrap();
    let mut overlay = Overlay::default();
    overlay.put(entity_seed("customer"), keys[0].as_bytes(), b"4");
    cache.put(&overlay, &[]).unwrap();
    assert_eq!(get(&mut cache, "customer", &keys[0]).as_deref(), Some("4"));
    assert_eq!(get(&mut cache, "customer", other).as_deref(), Some("2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn it_is_a_map_through_compaction_and_opening(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(directory.path(), LOG).unwrap();
        let mut model = HashMap::new();
        for (number, (entries, action)) in steps.iter().enumerate() {
            let mut overlay = Overlay::default();
            for (key, value) in entries {
                let (key, value) = (format!("C{key}"), value.to_string());
                get(&mut cache, "customer", &key);
                overlay.put(entity_seed("customer"), key.as_bytes(), value.as_bytes());
                prop_assert_eq!(overlay.get(entity_seed("customer"), key.as_bytes()), Some(value.as_bytes()));
                model.insert(key, value);
            }
            let next = number as u64 + 1;
            cache.put(&overlay, &[Reached { entity: "customer".to_owned(), partition: 0, next }]).unwrap();
            match action {
                0 => cache.compact().unwrap(),
                1 => cache = { drop(cache); Cache::open(directory.path(), LOG).unwrap() },
                _ => {}
            }
            prop_assert_eq!((cache.len(), cache.next("customer", 0)), (model.len(), next));
            for (key, value) in &model {
                prop_assert_eq!(get(&mut cache, "customer", key), Some(value.clone()));
            }
        }
    }

    #[test]
    fn the_next_batch_is_decided_while_one_is_committed(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(directory.path(), LOG).unwrap();
        let mut overlays = Overlays::default();
        let mut model: HashMap<String, String> = HashMap::new();
        for (entries, action) in &steps {
            for (key, value) in entries {
                let key = format!("C{key}");
                prop_assert_eq!(look_up(&overlays, &mut cache, &key), model.get(&key).cloned());
                overlays.put(entity_seed("customer"), key.as_bytes(), value.to_string().as_bytes());
                model.insert(key, value.to_string());
            }
            cache.put(overlays.committing(), &[]).unwrap();
            if *action == 0 {
                cache.compact().unwrap();
            }
            overlays.settle();
            overlays.send();
        }
        cache.put(overlays.committing(), &[]).unwrap();
        for (key, value) in &model {
            prop_assert_eq!(get(&mut cache, "customer", key), Some(value.clone()));
        }
        prop_assert_eq!(cache.len(), model.len());
    }
}
