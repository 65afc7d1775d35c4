//! What becomes of a record on its way into the copy.
//!
//! Compacted topics close their gaps there, so their records get other offsets. Who names one: a claim says from where its receipts
//! are, and is translated; dead letters of stores name states, and wishes to build a store anew say where the states ended. Both are
//! about stores that the raised generation has filled anew: they are left out, and what a store refuses then becomes a letter again.

use std::borrow::Cow;

use tidemark_log::{RecordRef, Topics};
use tidemark_pipelines::dead_letters::DeadLetter;

use crate::stages;

/// What a topic is for, in the order of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Receipts,
    Progress,
    DeadLetters,
    Changes,
    State,
}

/// Offsets that the receipts had, by the offsets that they have in the copy.
#[derive(Debug, Default)]
pub(super) struct Receipts(Vec<u64>);

impl Receipts {
    /// Where in the copy the receipts from this offset on begin.
    fn moved(&self, from: u64) -> u64 {
        self.0.partition_point(|offset| *offset < from) as u64
    }
}

impl Kind {
    /// `None` for a topic that this program knows nothing of.
    pub(super) fn of(name: &str, topics: &Topics) -> Option<Self> {
        match name {
            _ if *name == *topics.receipts => Some(Self::Receipts),
            _ if *name == *topics.progress => Some(Self::Progress),
            _ if *name == *topics.dead_letters => Some(Self::DeadLetters),
            _ if name.starts_with(&*topics.changes("")) => Some(Self::Changes),
            _ if name.starts_with(&*topics.state("")) => Some(Self::State),
            _ => None,
        }
    }

    /// The value that the record gets; `None` when it is left out.
    pub(super) fn copied<'r>(self, record: RecordRef<'r>, receipts: &mut Receipts) -> Option<Cow<'r, [u8]>> {
        let as_it_is = Cow::Borrowed(record.value);
        match self {
            Self::Changes | Self::State => Some(as_it_is),
            Self::Receipts => {
                receipts.0.push(record.offset);
                Some(as_it_is)
            }
            Self::Progress if tidemark_replay::tells_of_build(record.key) => None,
            Self::Progress if record.key.starts_with(b"claim|") => {
                let moved = tidemark_connector_file::with_receipts_moved(record.value, |from| receipts.moved(from));
                Some(moved.map_or(as_it_is, Cow::Owned))
            }
            Self::Progress => Some(as_it_is),
            Self::DeadLetters => match serde_json::from_slice::<DeadLetter>(record.value) {
                Ok(letter) if stages::role_of(&letter.stage).is_some() => None,
                _ => Some(as_it_is),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidemark_log::{RecordRef, Topics};

    use super::{Kind, Receipts};

    fn copied(kind: Kind, key: &str, value: &Value, receipts: &mut Receipts) -> Option<Value> {
        let value = value.to_string();
        let record = RecordRef { offset: 0, timestamp: 0, key: key.as_bytes(), value: value.as_bytes() };
        kind.copied(record, receipts).map(|value| serde_json::from_slice(&value).unwrap())
    }

    #[test]
    fn topics_are_known_by_their_names() {
        let topics = Topics::new("t");
        let of = |name: &str| Kind::of(name, &topics);
        assert_eq!(of("t.changes.customer"), Some(Kind::Changes));
        assert_eq!(of("t.state.customer"), Some(Kind::State));
        assert_eq!((of("t.receipts"), of("t.progress")), (Some(Kind::Receipts), Some(Kind::Progress)));
        assert_eq!(of("t.dead-letters"), Some(Kind::DeadLetters));
        assert_eq!((of("u.progress"), of("t.timers")), (None, None));
    }

    #[test]
    fn a_claim_finds_its_receipts_where_they_are_now() {
        let mut receipts = Receipts::default();
        for offset in [3, 4, 9] {
            let record = RecordRef { offset, timestamp: 0, key: b"file-1|0", value: b"{}" };
            assert!(Kind::Receipts.copied(record, &mut receipts).is_some());
        }
        let claim = json!({
            "path": "a.json", "first": 7, "numbers": 2, "stage": "closed", "receipts_from": 5,
            "signature": {"size": 1, "modified": 2, "inode": 4, "regular": true},
            "destinations": {"result": "a.result.json"}, "rejected": 1,
        });
        for (from, moved) in [(0, 0), (3, 0), (4, 1), (5, 2), (9, 2), (10, 3)] {
            let mut claim = claim.clone();
            claim["receipts_from"] = from.into();
            let copy = copied(Kind::Progress, "claim|file-7", &claim, &mut receipts).unwrap();
            assert_eq!(copy["receipts_from"], moved, "from {from}");
            assert_eq!((&copy["first"], &copy["rejected"]), (&claim["first"], &claim["rejected"]));
        }
        let foreign = json!({"receipts_from": 5});
        assert_eq!(copied(Kind::Progress, "claim|other-1", &foreign, &mut receipts), Some(foreign), "not ours");
    }

    #[test]
    fn what_is_about_stores_is_left_out() {
        let mut receipts = Receipts::default();
        let mut letter = json!({
            "id": "6ba7b810-9dad-51d1-80b4-00c04fd430c8", "stage": "sink.vector", "entity": "customer", "topic": "t.state.customer",
            "partition": 0, "offset": 4, "key": "K", "reason": "r", "detail": "d", "attempts": 1, "payload": null, "status": "open",
        });
        assert_eq!(copied(Kind::DeadLetters, "x", &letter, &mut receipts), None);
        letter["stage"] = "fold".into();
        assert_eq!(copied(Kind::DeadLetters, "x", &letter, &mut receipts), Some(letter));
        let (build, mark) = (json!({"number": 1}), json!({"source_seq": 1}));
        assert_eq!(copied(Kind::Progress, "build|graph", &build, &mut receipts), None);
        assert_eq!(copied(Kind::Progress, "mark|file|t.changes.customer|0", &mark, &mut receipts), Some(mark));
    }
}
