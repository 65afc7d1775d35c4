//! What batches wrote and the cache does not know yet, because the log has not committed it: looked up before the cache.
//!
//! Two batches are under way at a time. While one is committed the next is decided, upon what the first one wrote; if the first
//! fails, both are dropped.

use std::collections::HashMap;
use std::ops::Range;

use super::index::HashIsKey;
use super::{Entries, key_hash};

/// What one batch wrote.
#[derive(Debug, Default)]
pub struct Overlay {
    entries: Entries,
    places: Vec<Place>,
    by_hash: HashMap<u64, u32, HashIsKey>,
    /// One of its keys has the hash of another one that the cache may not know either.
    collided: bool,
}

#[derive(Debug)]
struct Place {
    seed: u64,
    key: Range<usize>,
    value: Range<usize>,
    /// Another key with the same hash, or the same key's older value.
    previous: Option<u32>,
}

impl Overlay {
    /// The last value that the batch gave to a key.
    pub fn get(&self, seed: u64, key: &[u8]) -> Option<&[u8]> {
        let mut next = self.by_hash.get(&key_hash(seed, key)).copied();
        while let Some(number) = next {
            let place = &self.places[number as usize];
            if self.is_of(place, seed, key) {
                return Some(self.entries.at(&place.value));
            }
            next = place.previous;
        }
        None
    }

    /// Gives a key a value.
    pub fn put(&mut self, seed: u64, key: &[u8], value: &[u8]) {
        let value = self.entries.push(seed, key, value);
        let number = u32::try_from(self.places.len()).expect("a batch is bounded far below 2^32 records");
        let previous = self.by_hash.insert(key_hash(seed, key), number);
        if let Some(other) = previous.map(|number| &self.places[number as usize]) {
            self.collided |= !self.is_of(other, seed, key);
        }
        self.places.push(Place { seed, key: value.start - key.len()..value.start, value, previous });
    }

    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
        self.by_hash.clear();
        self.collided = false;
    }

    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Whether the cache must look itself whose the place of a hash is.
    pub(super) fn is_collided(&self) -> bool {
        self.collided
    }

    /// Whether a key has this one's hash and is another.
    fn has_namesake(&self, seed: u64, key: &[u8]) -> bool {
        let last = self.by_hash.get(&key_hash(seed, key)).map(|number| &self.places[*number as usize]);
        last.is_some_and(|place| !self.is_of(place, seed, key))
    }

    fn is_of(&self, place: &Place, seed: u64, key: &[u8]) -> bool {
        place.seed == seed && self.entries.at(&place.key) == key
    }
}

/// The batch that is decided, over the one that is committed.
#[derive(Debug, Default)]
pub struct Overlays {
    deciding: Overlay,
    committing: Overlay,
}

impl Overlays {
    /// The last value that either batch gave to a key.
    pub fn get(&self, seed: u64, key: &[u8]) -> Option<&[u8]> {
        self.deciding.get(seed, key).or_else(|| self.committing.get(seed, key))
    }

    /// The batch that is decided gives a key a value.
    pub fn put(&mut self, seed: u64, key: &[u8], value: &[u8]) {
        self.deciding.put(seed, key, value);
        self.deciding.collided |= self.committing.collided || self.committing.has_namesake(seed, key);
    }

    /// The batch is decided and goes to the log; the next one begins.
    pub fn send(&mut self) {
        debug_assert!(self.committing.places.is_empty(), "one batch is committed at a time");
        std::mem::swap(&mut self.deciding, &mut self.committing);
    }

    /// What the log has committed or is about to.
    pub fn committing(&self) -> &Overlay {
        &self.committing
    }

    /// The cache has taken that in.
    pub fn settle(&mut self) {
        self.committing.clear();
    }
}
