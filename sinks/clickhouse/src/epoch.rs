//! Which writer owns which partitions. ClickHouse has no compare-and-swap, so ownership is a rule over rows that are only added:
//! of all (epoch, writer) of a partition the greatest owns it, and each open adds one above all that it sees.
//!
//! Two that open at the same moment may take the same epoch; the greater writer id then wins, on both sides, and the other is told
//! at its next look. A writer looks before its rows and before its positions, unless it has just done so. Rows that slip in between
//! are harmless: they are gated by version. Positions are: they carry the epoch in their own version, so an overtaken writer's are
//! never read.

use std::collections::BTreeMap;

use tidemark_log::Share;
use uuid::Uuid;

use crate::client::Store;
use crate::encoding::Encoder;
use crate::failure::StoreError;
use crate::statement::comment;
use crate::table::insert_into;

pub(crate) const TABLE: &str = "tidemark_epoch";
/// Stands for all partitions.
const WHOLE: i64 = -1;

/// (epoch, writer): the greatest owns.
pub(crate) type Claim = (u64, String);

/// One writer, from its first open on.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) id: String,
    pub(crate) epoch: u64,
    pub(crate) share: Share,
}

pub(crate) fn ddl() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {TABLE}(partition Int64, writer String, epoch UInt64)\nENGINE = ReplacingMergeTree(epoch)\n\
         ORDER BY (partition, writer)\n{}",
        comment("who writes")
    )
}

/// The greatest claim of each partition.
#[derive(Debug, Default)]
pub(crate) struct Claims(BTreeMap<i64, Claim>);

/// As rows of (`owner`, partition, epoch, writer), to stand beside others in one look.
pub(crate) fn look() -> String {
    format!(
        "SELECT 'owner' AS kind, toString(partition) AS name, toString(max((epoch, writer)).1) AS value,\n  \
         max((epoch, writer)).2 AS owner\nFROM {TABLE} GROUP BY partition"
    )
}

impl Claims {
    pub(crate) fn add(&mut self, partition: &str, epoch: &str, writer: String) {
        if let (Ok(partition), Ok(epoch)) = (partition.parse(), epoch.parse()) {
            self.0.insert(partition, (epoch, writer));
        }
    }

    pub(crate) async fn read(store: &Store) -> Result<Self, StoreError> {
        let mut claims = Self::default();
        for (_, partition, epoch, writer) in store.rows::<(String, String, String, String)>(&look()).await? {
            claims.add(&partition, &epoch, writer);
        }
        Ok(claims)
    }

    fn highest(&self) -> u64 {
        self.0.values().map(|(epoch, _)| *epoch).max().unwrap_or(0)
    }

    /// Epoch of the claim that owns one of these partitions in the writer's stead; 0 where its own claim is gone.
    pub(crate) fn above(&self, writer: &Writer, partitions: impl IntoIterator<Item = u32>) -> Option<u64> {
        let mine: Claim = (writer.epoch, writer.id.clone());
        let lost = |owner: Option<&Claim>| match owner {
            Some(owner) if *owner == mine => None,
            owner => Some(owner.map_or(0, |(epoch, _)| *epoch)),
        };
        match writer.share {
            Share::All => lost(self.0.values().max()),
            Share::Partitions(_) => partitions
                .into_iter()
                .find_map(|partition| lost(self.0.get(&i64::from(partition)).into_iter().chain(self.0.get(&WHOLE)).max())),
        }
    }
}

/// Takes an epoch above all that are known, for the partitions of `share`.
pub(crate) async fn raise(store: &Store, writer: &str, share: &Share) -> Result<Writer, StoreError> {
    let epoch = Claims::read(store).await?.highest() + 1;
    let partitions: Vec<i64> = match share {
        Share::All => vec![WHOLE],
        Share::Partitions(numbers) => numbers.iter().copied().map(i64::from).collect(),
    };
    let mut encoder = Encoder::default();
    for partition in partitions {
        encoder.unsigned(partition.cast_unsigned());
        encoder.text(writer);
        encoder.unsigned(epoch);
    }
    if !encoder.bytes.is_empty() {
        store.insert(&insert_into(TABLE, ["partition", "writer", "epoch"]), &encoder.bytes).await?;
    }
    Ok(Writer { id: writer.to_owned(), epoch, share: share.clone() })
}

/// A new writer's name.
pub(crate) fn new_writer() -> String {
    Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidemark_log::Share;

    use super::{Claims, Writer};

    fn writer(id: &str, epoch: u64, share: Share) -> Writer {
        Writer { id: id.to_owned(), epoch, share }
    }

    #[test]
    fn the_greatest_claim_owns() {
        let mut claims = Claims::default();
        claims.add("0", "4", "a".to_owned());
        claims.add("1", "5", "b".to_owned());
        let some = |numbers: &[u32]| Share::Partitions(numbers.iter().copied().collect::<BTreeSet<_>>());
        assert_eq!(claims.above(&writer("a", 4, some(&[0])), [0]), None, "another's partition does not concern it");
        assert_eq!(claims.above(&writer("a", 4, some(&[0, 1])), [0, 1]), Some(5));
        assert_eq!(claims.above(&writer("a", 4, Share::All), [0]), Some(5));
        claims.add("-1", "6", "c".to_owned());
        assert_eq!(claims.above(&writer("a", 4, some(&[0])), [0]), Some(6), "one for the whole is above it");
        assert_eq!(claims.above(&writer("c", 6, Share::All), []), None);
        assert_eq!(claims.above(&writer("b", 6, Share::All), []), Some(6), "of one epoch the greater writer owns");
        assert_eq!(Claims::default().above(&writer("c", 6, Share::All), []), Some(0), "a claim that went owns nothing");
    }
}
