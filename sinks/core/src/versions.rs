//! Which rows are newer than whatever a store without a gate of its own has, so that nothing need be read for them.
//!
//! The versions of an entity rise along each of its partitions: a row of a higher version than any that was ever sent to the store
//! is newer than what stands there. To know the highest after a crash too, the store is told of a version that was not used before
//! rows reach it, with room for many more, and the writer that opens it looks at what is stored for every row below. A writer that
//! gives the store back leaves no room.

use std::collections::HashMap;

use crate::batch::{SinkBatch, SinkRow};

/// Versions that a store is told of ahead: a start after a crash compares as many rows at most that needed it not, and one move of a
/// position in so many versions says more than that it moved.
const ROOM: u64 = 1 << 16;

/// By partition and entity, the lowest version that was not sent.
#[derive(Debug, Default)]
pub struct Versions {
    unused: HashMap<(u32, String), u64>,
}

impl Versions {
    /// As the store was told: partition, entity, lowest version that it was not told of.
    pub fn of<'s>(told: impl Iterator<Item = (u32, &'s str, u64)>) -> Self {
        Self { unused: told.map(|(partition, entity, unused)| ((partition, entity.to_owned()), unused)).collect() }
    }

    /// By part, the lowest version that needs no look; all versions below the tops count as sent from now on.
    pub fn pass(&mut self, batch: &SinkBatch, tops: &[u64]) -> Vec<u64> {
        let mut before = Vec::with_capacity(tops.len());
        for (part, top) in batch.parts.iter().zip(tops) {
            let unused = self.unused.entry((part.partition, part.entity.name.clone())).or_default();
            before.push(*unused);
            *unused = (*unused).max(*top);
        }
        before
    }

    /// The lowest version that was not sent.
    pub fn unused(&self, partition: u32, entity: &str) -> u64 {
        self.unused.get(&(partition, entity.to_owned())).copied().unwrap_or_default()
    }
}

/// By part, the lowest version above all of its rows.
pub fn tops(batch: &SinkBatch, rows: &[SinkRow<'_>]) -> Vec<u64> {
    let mut tops = vec![0; batch.parts.len()];
    for row in rows {
        tops[row.part] = tops[row.part].max(row.state.version + 1);
    }
    tops
}

/// What a store that was told of `unused` is to be told of before rows below `top` are sent; `None` where it knows.
pub fn told_before(top: u64, unused: u64) -> Option<u64> {
    (top > unused).then_some(top + ROOM)
}

/// What it is told of with the position that is behind them, so that it need not be told before the next.
pub fn told_after(top: u64, unused: u64) -> u64 {
    if top + ROOM / 2 > unused { top + ROOM } else { unused }
}

#[cfg(test)]
mod tests {
    use super::{ROOM, told_after, told_before};

    #[test]
    fn a_store_is_told_before_rows_reach_what_it_knows_of() {
        assert_eq!(told_before(0, 0), None, "no rows");
        assert_eq!(told_before(1, 0), Some(1 + ROOM));
        assert_eq!(told_before(ROOM, 1 + ROOM), None);
        let mut unused = 1 + ROOM;
        for top in (0..10 * ROOM).step_by(ROOM as usize / 4) {
            assert_eq!(told_before(top, unused), None, "told with the position before");
            unused = told_after(top, unused);
        }
    }
}
