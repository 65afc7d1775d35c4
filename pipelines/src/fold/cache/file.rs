//! The file under the cache: a header that says which log it belongs to, then frames with a checksum each.
//!
//! Nothing is synced: what a power failure takes is read again from the log.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tidemark_log::LogIdentity;
use xxhash_rust::xxh3::Xxh3;

use super::index::Slot;
use super::{CacheError, ENTRY_BYTES_MAX, Entries, Reached};

const NAME: &str = "states";
/// The file that is being written anew; one that a crash left is removed at open.
const NAME_FRESH: &str = "states.new";
const MAGIC: &[u8; 8] = b"TMSTATE1";
/// Magic, log id, generation, four spare bytes.
const HEADER_BYTES: usize = 32;
const FRAME_MAGIC: u32 = 0x314d_5246;
/// Magic, bytes of the reached offsets, bytes of the entries, spare; checksum.
const FRAME_HEADER_BYTES: usize = 24;
/// Seed, length of the key, length of the value.
const ENTRY_HEADER_BYTES: usize = 16;

/// The open file.
#[derive(Debug)]
pub(super) struct StateFile {
    file: File,
    path: PathBuf,
    log: LogIdentity,
    /// End of the last valid frame: where the next one goes.
    bytes: u64,
    read_from: u64,
}

/// What stands at the reading position.
#[derive(Debug)]
pub(super) enum Next {
    Frame(Frame<'static>),
    End,
    /// Cut short or damaged.
    Broken,
}

/// One batch.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Offset of the first entry.
    base: u64,
    entries: Cow<'a, [u8]>,
    reached: Vec<Reached>,
}

/// One state with its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'f> {
    pub(super) seed: u64,
    pub(super) key: &'f [u8],
    pub(super) value: &'f [u8],
    pub(super) slot: Slot,
}

/// The log that the file in `directory` belongs to; nothing when there is none that can be read.
pub(super) fn log_of(directory: &Path) -> Option<LogIdentity> {
    let mut found = [0; HEADER_BYTES];
    File::open(directory.join(NAME)).and_then(|file| file.read_exact_at(&mut found, 0)).ok()?;
    let id = found[8..24].try_into().map(uuid::Uuid::from_bytes).ok()?;
    let log = LogIdentity { id, generation: number(&found, 24) };
    (found == header(log)).then_some(log)
}

impl StateFile {
    /// Opens the file; one of another log, or none, becomes an empty one.
    pub(super) fn open(directory: &Path, log: LogIdentity) -> Result<Self, CacheError> {
        let fail = |cause| CacheError::new("opening the fold's cache", directory, cause);
        std::fs::create_dir_all(directory).map_err(fail)?;
        match std::fs::remove_file(directory.join(NAME_FRESH)) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(fail(problem)),
            _ => {}
        }
        let path = directory.join(NAME);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Self::create(directory, log),
            Err(problem) => return Err(fail(problem)),
        };
        let mut found = [0; HEADER_BYTES];
        if file.read_exact_at(&mut found, 0).is_err() || found != header(log) {
            return Self::create(directory, log);
        }
        let bytes = file.metadata().map_err(fail)?.len();
        Ok(Self { file, path, log, bytes, read_from: HEADER_BYTES as u64 })
    }

    /// An empty file in the place of any.
    pub(super) fn create(directory: &Path, log: LogIdentity) -> Result<Self, CacheError> {
        let fail = |cause| CacheError::new("making the fold's cache", directory, cause);
        std::fs::create_dir_all(directory).map_err(fail)?;
        Self::create_at(directory.join(NAME), log)
    }

    /// An empty file beside this one, to take its place.
    pub(super) fn create_beside(&self) -> Result<Self, CacheError> {
        Self::create_at(self.path.with_file_name(NAME_FRESH), self.log)
    }

    fn create_at(path: PathBuf, log: LogIdentity) -> Result<Self, CacheError> {
        let made = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).and_then(|file| {
            file.write_all_at(&header(log), 0)?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Self { file, path, log, bytes: HEADER_BYTES as u64, read_from: HEADER_BYTES as u64 }),
            Err(cause) => Err(CacheError::new("making the fold's cache", &path, cause)),
        }
    }

    /// Takes the place of `old`.
    pub(super) fn replace(&mut self, old: &Self) -> Result<(), CacheError> {
        std::fs::rename(&self.path, &old.path)
            .map_err(|cause| CacheError::new("replacing the fold's cache", &old.path, cause))?;
        self.path.clone_from(&old.path);
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn rewind(&mut self) {
        self.read_from = HEADER_BYTES as u64;
    }

    /// Drops everything from the reading position on.
    pub(super) fn cut(&mut self) -> Result<(), CacheError> {
        self.bytes = self.read_from;
        self.file.set_len(self.bytes).map_err(|cause| CacheError::new("cutting the fold's cache", &self.path, cause))
    }

    /// Reads on by one frame.
    pub(super) fn read_frame(&mut self) -> Result<Next, CacheError> {
        let left = self.bytes.saturating_sub(self.read_from);
        if left == 0 {
            return Ok(Next::End);
        }
        let mut head = [0; FRAME_HEADER_BYTES];
        if left < FRAME_HEADER_BYTES as u64 {
            return Ok(Next::Broken);
        }
        self.read_exact(&mut head, self.read_from)?;
        let reached_bytes = number(&head, 4) as usize;
        let entries_bytes = number(&head, 8) as usize;
        let body_bytes = reached_bytes + entries_bytes;
        if number(&head, 0) != FRAME_MAGIC || body_bytes as u64 > left - FRAME_HEADER_BYTES as u64 {
            return Ok(Next::Broken);
        }
        let mut body = vec![0; body_bytes];
        self.read_exact(&mut body, self.read_from + FRAME_HEADER_BYTES as u64)?;
        let mut hasher = Xxh3::new();
        hasher.update(&body);
        if hasher.digest().to_le_bytes() != head[16..24] {
            return Ok(Next::Broken);
        }
        let base = self.read_from + (FRAME_HEADER_BYTES + reached_bytes) as u64;
        let entries = body.split_off(reached_bytes);
        let Some(reached) = read_reached(&body) else { return Ok(Next::Broken) };
        self.read_from += (FRAME_HEADER_BYTES + body_bytes) as u64;
        Ok(Next::Frame(Frame { base, entries: Cow::Owned(entries), reached }))
    }

    /// Writes a frame behind the others.
    pub(super) fn append<'e>(&mut self, entries: &'e Entries, reached: &[Reached]) -> Result<Frame<'e>, CacheError> {
        let mut head = vec![0; FRAME_HEADER_BYTES];
        put_reached(reached, &mut head);
        let reached_bytes = head.len() - FRAME_HEADER_BYTES;
        let mut hasher = Xxh3::new();
        hasher.update(&head[FRAME_HEADER_BYTES..]);
        hasher.update(&entries.payload);
        head[0..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        head[4..8].copy_from_slice(&length(reached_bytes).to_le_bytes());
        head[8..12].copy_from_slice(&length(entries.payload.len()).to_le_bytes());
        head[16..24].copy_from_slice(&hasher.digest().to_le_bytes());
        let base = self.bytes + head.len() as u64;
        self.file
            .write_all_at(&head, self.bytes)
            .and_then(|()| self.file.write_all_at(&entries.payload, base))
            .map_err(|cause| CacheError::new("writing the fold's cache", &self.path, cause))?;
        self.bytes = base + entries.payload.len() as u64;
        self.read_from = self.bytes;
        Ok(Frame { base, entries: Cow::Borrowed(&entries.payload), reached: reached.to_vec() })
    }

    /// The entry in this slot: its seed, and where in the buffer its key and value lie.
    pub(super) fn read_entry(&self, slot: Slot, buffer: &mut Vec<u8>) -> Result<(u64, Range<usize>, Range<usize>), CacheError> {
        buffer.resize(slot.length() as usize, 0);
        self.read_exact(buffer, slot.offset())?;
        split_entry(buffer).ok_or_else(|| self.damaged())
    }

    /// Whether the entry in this slot is that key's.
    pub(super) fn holds(&self, slot: Slot, seed: u64, key: &[u8]) -> Result<bool, CacheError> {
        let mut start = vec![0; (slot.length() as usize).min(ENTRY_HEADER_BYTES + key.len())];
        self.read_exact(&mut start, slot.offset())?;
        let same_length = start.len() == ENTRY_HEADER_BYTES + key.len() && number(&start, 8) as usize == key.len();
        Ok(same_length && start[..8] == seed.to_le_bytes() && start[ENTRY_HEADER_BYTES..] == *key)
    }

    fn read_exact(&self, buffer: &mut [u8], offset: u64) -> Result<(), CacheError> {
        self.file.read_exact_at(buffer, offset).map_err(|cause| CacheError::new("reading the fold's cache", &self.path, cause))
    }

    pub(super) fn damaged(&self) -> CacheError {
        CacheError::new("reading the fold's cache", &self.path, io::ErrorKind::InvalidData.into())
    }
}

impl Frame<'_> {
    /// All entries with their places.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = &self.entries[at..];
            // The checksum vouches for the frame, so an entry that does not split is its end.
            let (seed, key, value) = split_entry(rest)?;
            let entry_bytes = value.end;
            let slot = Slot::new(self.base + at as u64, entry_bytes);
            at += entry_bytes;
            Some(Entry { seed, key: &rest[key], value: &rest[value], slot })
        })
    }

    pub(super) fn reached(&self) -> &[Reached] {
        &self.reached
    }
}

/// Lays out one entry.
pub(super) fn put_entry(seed: u64, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    debug_assert!(key.len() + value.len() + ENTRY_HEADER_BYTES <= ENTRY_BYTES_MAX, "the log takes no such record");
    out.extend_from_slice(&seed.to_le_bytes());
    out.extend_from_slice(&length(key.len()).to_le_bytes());
    out.extend_from_slice(&length(value.len()).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

fn split_entry(bytes: &[u8]) -> Option<(u64, Range<usize>, Range<usize>)> {
    let seed = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let key_end = ENTRY_HEADER_BYTES + number(bytes.get(..ENTRY_HEADER_BYTES)?, 8) as usize;
    let value_end = key_end + number(bytes, 12) as usize;
    (value_end <= bytes.len()).then_some((seed, ENTRY_HEADER_BYTES..key_end, key_end..value_end))
}

fn put_reached(reached: &[Reached], out: &mut Vec<u8>) {
    for reached in reached {
        out.extend_from_slice(&length(reached.entity.len()).to_le_bytes());
        out.extend_from_slice(reached.entity.as_bytes());
        out.extend_from_slice(&reached.partition.to_le_bytes());
        out.extend_from_slice(&reached.next.to_le_bytes());
    }
}

fn read_reached(mut bytes: &[u8]) -> Option<Vec<Reached>> {
    let mut reached = Vec::new();
    while !bytes.is_empty() {
        let (name_bytes, rest) = bytes.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*name_bytes) as usize)?;
        let (partition, rest) = rest.split_first_chunk::<4>()?;
        let (next, rest) = rest.split_first_chunk::<8>()?;
        reached.push(Reached {
            entity: String::from_utf8(name.to_vec()).ok()?,
            partition: u32::from_le_bytes(*partition),
            next: u64::from_le_bytes(*next),
        });
        bytes = rest;
    }
    Some(reached)
}

fn header(log: LogIdentity) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..24].copy_from_slice(log.id.as_bytes());
    bytes[24..28].copy_from_slice(&log.generation.to_le_bytes());
    bytes
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("batches are bounded far below 4 GiB")
}
