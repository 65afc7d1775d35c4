//! Where in the file the last state of each key lies: 16 bytes a key, by the key's 64-bit hash.
//!
//! Many small maps instead of one, so that only one in [`SHARDS`] is copied when it grows: a single map of 1 M keys holds old
//! and new table at once. Two keys with one hash are rare (3 in 10^8 at 1 M keys), and right all the same: the second one is
//! kept under its whole key. Which key a place belongs to is in the file; the owner compares.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Number of maps; a power of two.
const SHARDS: usize = 64;
/// Bits of a slot that are the entry's length: entries up to 16 MiB, files up to 1 TiB.
const LENGTH_BITS: u32 = 24;

/// Place of an entry in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    /// Lengths are bounded by the largest record of the log (4 MiB).
    pub(super) fn new(offset: u64, length: usize) -> Self {
        Self(offset << LENGTH_BITS | length as u64)
    }

    pub(super) fn offset(self) -> u64 {
        self.0 >> LENGTH_BITS
    }

    pub(super) fn length(self) -> u32 {
        (self.0 & ((1 << LENGTH_BITS) - 1)) as u32
    }
}

/// Takes a number that already is a hash as it stands.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Unhashed(u64);

/// Builds [`Unhashed`].
pub(super) type HashIsKey = BuildHasherDefault<Unhashed>;

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Slots by hash.
#[derive(Debug, Default)]
pub(super) struct Index {
    shards: Vec<HashMap<u64, Slot, HashIsKey>>,
    collided: HashMap<(u64, Box<[u8]>), Slot>,
    /// Hashes that more than one key was seen with.
    collisions: HashSet<u64>,
}

impl Index {
    /// Another key than the place's own has this hash.
    pub(super) fn collides(&mut self, hash: u64) {
        self.collisions.insert(hash);
    }

    /// What was said of the hashes of an index that this one takes the place of: keys may be looked up before, and put in after it.
    pub(super) fn collides_as(&mut self, former: &Self) {
        self.collisions.extend(&former.collisions);
    }

    /// Whether that was ever said of this hash.
    pub(super) fn is_collided(&self, hash: u64) -> bool {
        !self.collisions.is_empty() && self.collisions.contains(&hash)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(HashMap::len).sum::<usize>() + self.collided.len()
    }

    pub(super) fn get(&self, hash: u64) -> Option<Slot> {
        self.shards.get(shard(hash))?.get(&hash).copied()
    }

    /// Returns the slot that it supersedes.
    pub(super) fn insert(&mut self, hash: u64, slot: Slot) -> Option<Slot> {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, HashMap::default);
        }
        self.shards[shard(hash)].insert(hash, slot)
    }

    /// Of a key whose hash belongs to another one.
    pub(super) fn get_collided(&self, seed: u64, key: &[u8]) -> Option<Slot> {
        if self.collided.is_empty() {
            return None;
        }
        self.collided.get(&(seed, key.into())).copied()
    }

    /// Returns the slot that it supersedes.
    pub(super) fn insert_collided(&mut self, seed: u64, key: &[u8], slot: Slot) -> Option<Slot> {
        self.collided.insert((seed, key.into()), slot)
    }
}

/// Bits from the middle: the maps use the others.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize & (SHARDS - 1)
}
