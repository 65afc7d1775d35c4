//! The framing of records on Kafka: single-object headers for everybody here, a schema registry's ids for everybody else.
//!
//! Kafka is where other programs read along, and with a registry they expect its framing; which id stands for which schema is that
//! registry's affair. So a record gets its frame on its way to the broker and loses it on its way back, in place of a header of
//! its own and without a look at its body. Whatever the header, it is read: a log may hold both.
//! Guarantees: an id, once known, never means another schema in this process. Relies on [`super::framing`] for what it knows.
//! A value whose id nobody explains is passed on as it is, so that it ends as a dead letter and holds up nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tidemark_schemas::codec::header::{self, SINGLE_OBJECT_BYTES};

use crate::record::Append;

/// Unexplained ids that are remembered. Each costs a question to the registry when it is forgotten; nothing but junk has many.
const UNEXPLAINED_MAX: usize = 10_000;

/// What is known of ids. Shared by all readers and writers of a log.
#[derive(Debug, Default)]
pub(super) struct Frames {
    table: RwLock<Arc<Table>>,
    told: AtomicBool,
}

/// One state of the knowledge: a reader takes it once per look.
#[derive(Debug, Default, Clone)]
pub(super) struct Table {
    known: BTreeMap<u32, Known>,
    /// By fingerprint: the id that is written. Empty without a registry.
    written: BTreeMap<u64, u32>,
    unexplained: BTreeSet<u32>,
}

#[derive(Debug, Clone)]
struct Known {
    fingerprint: u64,
    schema: Arc<str>,
    foreign: bool,
}

/// Whose schema it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// One that a process of this log has registered.
    Ours,
    /// One that only the registry knows.
    Foreign,
}

/// A value as readers here get it: its header, and what follows.
#[derive(Debug)]
pub(super) struct Opened<'v> {
    header: [u8; SINGLE_OBJECT_BYTES],
    has_header: bool,
    pub(super) rest: &'v [u8],
}

impl Opened<'_> {
    pub(super) fn header(&self) -> &[u8] {
        if self.has_header { &self.header } else { &[] }
    }

    pub(super) fn len(&self) -> usize {
        self.header().len() + self.rest.len()
    }
}

impl Table {
    /// The value without its frame; as it is when it has none. The error is an id that was never asked about.
    pub(super) fn open<'v>(&self, value: &'v [u8]) -> Result<Opened<'v>, u32> {
        let as_it_is = Opened { header: [0; SINGLE_OBJECT_BYTES], has_header: false, rest: value };
        let Some((id, body)) = header::framed(value) else { return Ok(as_it_is) };
        match self.known.get(&id) {
            Some(known) => Ok(Opened { header: header::single_object(known.fingerprint), has_header: true, rest: body }),
            None if self.unexplained.contains(&id) => Ok(as_it_is),
            None => Err(id),
        }
    }
}

impl Frames {
    /// As it is now.
    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(Arc::make_mut(&mut self.table.write().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Frames what is appended, where a registry is written for.
    pub(super) fn frame(&self, append: &mut Append) {
        let table = self.table();
        if table.written.is_empty() {
            return;
        }
        append.change_values(|value| match header::fingerprint_of(value) {
            None => 0,
            Some(fingerprint) => match table.written.get(&fingerprint) {
                Some(id) => header::put_frame(value, *id),
                None => {
                    if !self.told.swap(true, Ordering::Relaxed) {
                        let fingerprint = format!("{fingerprint:016x}");
                        tracing::warn!(fingerprint, "records of a schema that nobody registered are written without its id");
                    }
                    0
                }
            },
        });
    }

    /// Takes a schema in, whose id is not known to stand for another one.
    pub(super) fn learn(&self, id: u32, schema: &str, fingerprint: u64, whose: Whose) {
        self.change(|table| {
            table.known.insert(id, Known { fingerprint, schema: schema.into(), foreign: whose == Whose::Foreign });
            table.unexplained.remove(&id);
        });
    }

    /// What this id stands for: fingerprint and schema.
    pub(super) fn known(&self, id: u32) -> Option<(u64, String)> {
        self.table().known.get(&id).map(|known| (known.fingerprint, known.schema.to_string()))
    }

    /// Nobody explains this id: its values are passed on as they are.
    pub(super) fn give_up(&self, id: u32) {
        self.change(|table| {
            if table.unexplained.len() >= UNEXPLAINED_MAX {
                table.unexplained.clear();
            }
            table.unexplained.insert(id);
        });
    }

    /// From now on records of this schema are written with this id.
    pub(super) fn write(&self, fingerprint: u64, id: u32) {
        self.change(|table| table.written.insert(fingerprint, id));
    }

    /// Whether a process of this log has registered the schema.
    pub(super) fn has_own(&self, schema: &str) -> bool {
        self.table().known.values().any(|known| !known.foreign && *known.schema == *schema)
    }

    /// All ids of this log with their fingerprints.
    pub(super) fn own(&self) -> Vec<(u32, u64)> {
        let table = self.table();
        table.known.iter().filter(|(_, known)| !known.foreign).map(|(id, known)| (*id, known.fingerprint)).collect()
    }

    /// The schemas that only the registry knows.
    pub(super) fn foreign(&self) -> Vec<String> {
        let table = self.table();
        table.known.values().filter(|known| known.foreign).map(|known| known.schema.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Frames, UNEXPLAINED_MAX, Whose, header};
    use crate::record::Append;

    /// A record with a single-object header.
    fn single_object(fingerprint: u64, body: &[u8]) -> Vec<u8> {
        [&header::single_object(fingerprint)[..], body].concat()
    }

    /// What the values of an append become on their way to the broker.
    fn sent(frames: &Frames, values: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut append = Append::default();
        let topic = Arc::from("t");
        for value in values {
            append.record(&topic, 0, b"key", |out| out.extend_from_slice(value));
        }
        frames.frame(&mut append);
        assert!(append.records().all(|record| record.key == b"key"));
        append.records().map(|record| record.value.to_vec()).collect()
    }

    /// What a value becomes on its way back.
    fn read(frames: &Frames, value: &[u8]) -> Result<Vec<u8>, u32> {
        frames.table().open(value).map(|opened| {
            let whole = [opened.header(), opened.rest].concat();
            assert_eq!(whole.len(), opened.len());
            whole
        })
    }

    #[test]
    fn what_is_sent_framed_is_read_as_it_was() {
        let frames = Frames::default();
        let values =
            [single_object(11, b"one"), b"{\"json\":1}".to_vec(), single_object(12, b""), Vec::new(), single_object(13, b"?")];
        assert_eq!(sent(&frames, &values), values, "without a registry nothing changes");
        frames.learn(70_000, "eleven", 11, Whose::Ours);
        frames.learn(2, "twelve", 12, Whose::Ours);
        frames.write(11, 70_000);
        frames.write(12, 2);
        let framed = sent(&frames, &values);
        assert_eq!(framed[0], b"\x00\x00\x01\x11\x70one");
        assert_eq!(framed[2], [0, 0, 0, 0, 2]);
        assert_eq!(framed[4], values[4], "what nobody registered stays as it is");
        for (framed, value) in framed.iter().zip(&values) {
            assert_eq!(read(&frames, framed).as_ref(), Ok(value));
            assert_eq!(read(&frames, value).as_ref(), Ok(value), "a log may hold both");
        }
    }

    #[test]
    fn an_id_is_asked_about_until_it_is_known_or_given_up() {
        let frames = Frames::default();
        let value = [0, 0, 0, 0, 9, 1];
        assert_eq!(read(&frames, &value), Err(9));
        frames.give_up(9);
        assert_eq!(read(&frames, &value), Ok(value.to_vec()));
        frames.learn(9, "nine", 99, Whose::Foreign);
        assert_eq!(read(&frames, &value), Ok(single_object(99, &[1])));
        assert_eq!((frames.foreign(), frames.own()), (vec!["nine".to_owned()], vec![]));
        for id in 100..100 + u32::try_from(UNEXPLAINED_MAX).unwrap() + 1 {
            frames.give_up(id);
        }
        assert_eq!(frames.table().unexplained.len(), 1, "junk does not pile up");
    }
}
