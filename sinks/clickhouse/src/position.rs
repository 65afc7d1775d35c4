//! How far the store is, in `tidemark_position`: one row for each entity and partition, the one of the greatest (epoch, step) counts.
//!
//! Beside the next offset a row holds what it rests on: the fingerprint of what the rows were derived by and the id of the table they
//! are in. Where one differs at an open, the entity is read again from the start: with another fingerprint up to where it had been,
//! rows of the same version written again (the later insert of one version shows); with another table as into an empty one. Each
//! worker decides that for its own partitions, so workers of two releases can run beside each other.

use std::collections::BTreeMap;

use tidemark_sink_core::StorePosition;

use crate::client::Store;
use crate::encoding::Encoder;
use crate::epoch::Writer;
use crate::failure::{Class, StoreError};
use crate::statement::comment;
use crate::table::insert_into;

pub(crate) const TABLE: &str = "tidemark_position";

/// Steps of one epoch; an epoch takes 2^40 of them.
const STEP_BITS: u32 = 40;

/// Entity and partition.
pub(crate) type Place = (String, u32);

/// Where the store stands on one partition of one entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Offset of the next state record.
    pub(crate) next: u64,
    /// Up to here rows that are not older are written again.
    pub(crate) refresh_until: u64,
    /// No row above this version was written before the last position; see the gate.
    pub(crate) mark: u64,
    /// What the rows are derived by.
    pub(crate) fingerprint: u64,
    /// Id of the table that they are in.
    pub(crate) table: String,
}

impl Position {
    /// The same for rows that are derived so and go into this table.
    pub(crate) fn onto(self, fingerprint: u64, table: &str) -> Self {
        let table = table.to_owned();
        if self.table != table {
            return Self { fingerprint, table, ..Self::default() };
        }
        if self.fingerprint != fingerprint {
            let refresh_until = self.refresh_until.max(self.next);
            return Self { next: 0, refresh_until, fingerprint, table, ..self };
        }
        self
    }
}

pub(crate) fn ddl() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {TABLE}(\n  entity String,\n  partition UInt32,\n  next UInt64,\n  refresh_until UInt64,\n  \
         mark UInt64,\n  fingerprint UInt64,\n  table_id String,\n  step UInt64\n) ENGINE = ReplacingMergeTree(step)\n\
         ORDER BY (entity, partition)\n{}",
        comment("how far the store is")
    )
}

/// All positions; none for a store that is not there.
pub(crate) async fn read(store: &Store) -> Result<BTreeMap<Place, Position>, StoreError> {
    let sql = format!(
        "SELECT entity, partition, next, refresh_until, mark, fingerprint, table_id FROM {TABLE} FINAL ORDER BY entity, partition"
    );
    let rows = match store.rows::<(String, u32, u64, u64, u64, u64, String)>(&sql).await {
        Ok(rows) => rows,
        Err(error) if error.class == Class::Gone => Vec::new(),
        Err(error) => return Err(error),
    };
    let position = |(entity, partition, next, refresh_until, mark, fingerprint, table)| {
        ((entity, partition), Position { next, refresh_until, mark, fingerprint, table })
    };
    Ok(rows.into_iter().map(position).collect())
}

/// Writes positions, all or none of them: they are one block of one insert into one part.
pub(crate) async fn write<'p>(
    store: &Store,
    writer: &Writer,
    step: u64,
    positions: impl IntoIterator<Item = (&'p Place, &'p Position)>,
) -> Result<(), StoreError> {
    let mut encoder = Encoder::default();
    for ((entity, partition), position) in positions {
        encoder.text(entity);
        encoder.bytes.extend_from_slice(&partition.to_le_bytes());
        for number in [position.next, position.refresh_until, position.mark, position.fingerprint] {
            encoder.unsigned(number);
        }
        encoder.text(&position.table);
        encoder.unsigned((writer.epoch << STEP_BITS) + step);
    }
    if encoder.bytes.is_empty() {
        return Ok(());
    }
    let columns = ["entity", "partition", "next", "refresh_until", "mark", "fingerprint", "table_id", "step"];
    store.insert(&insert_into(TABLE, columns), &encoder.bytes).await
}

/// As the port shows them.
pub(crate) fn shown<'p>(positions: impl IntoIterator<Item = (&'p Place, &'p Position)>) -> Vec<StorePosition> {
    let shown = positions.into_iter().map(|((entity, partition), position)| StorePosition {
        entity: entity.clone(),
        partition: *partition,
        next: position.next,
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn another_derivation_reads_again_and_another_table_begins_anew() {
        let stood = Position { next: 9, refresh_until: 4, mark: 70, fingerprint: 1, table: "a".to_owned() };
        assert_eq!(stood.clone().onto(1, "a"), stood);
        let refreshed = stood.clone().onto(2, "a");
        assert_eq!((refreshed.next, refreshed.refresh_until, refreshed.mark, refreshed.fingerprint), (0, 9, 70, 2));
        assert_eq!(refreshed.clone().onto(2, "a"), refreshed, "a second start goes on with the refresh");
        assert_eq!(stood.onto(1, "b"), Position { fingerprint: 1, table: "b".to_owned(), ..Position::default() });
    }
}
