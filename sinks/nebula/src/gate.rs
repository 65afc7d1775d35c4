//! Which rows need no look at what is stored.
//!
//! The versions of an entity rise along each of its partitions, so a row of a higher version than any that was ever sent to the
//! store is newer than whatever stands there. To know the highest after a crash too, the store is told of a version that was not
//! used before rows reach it ([`crate::meta::Stand::unused`]), with room for many more, and the writer that opens it looks
//! at what is stored for every row below.

use std::collections::HashMap;

use tidemark_sink_core::{SinkBatch, SinkRow};

use crate::meta::Stand;

/// Versions that the store is told of ahead: a start compares as many rows at most that needed it not, and one move of the position
/// in so many versions says more than that it moved.
const ROOM: u64 = 1 << 16;

/// By partition and entity, the lowest version that was not sent.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    unused: HashMap<(u32, String), u64>,
}

impl Gate {
    /// As the store was told.
    pub(crate) fn of<'s>(stands: impl Iterator<Item = (u32, &'s String, &'s Stand)>) -> Self {
        Self { unused: stands.map(|(partition, entity, stand)| ((partition, entity.clone()), stand.unused)).collect() }
    }

    /// By part, the lowest version that needs no look; all versions of the batch count as sent from now on.
    pub(crate) fn pass(&mut self, batch: &SinkBatch, tops: &[u64]) -> Vec<u64> {
        let mut before = Vec::with_capacity(tops.len());
        for (part, top) in batch.parts.iter().zip(tops) {
            let unused = self.unused.entry((part.partition, part.entity.name.clone())).or_default();
            before.push(*unused);
            *unused = (*unused).max(*top);
        }
        before
    }
}

/// By part, the lowest version above all of its rows.
pub(crate) fn tops(batch: &SinkBatch, rows: &[SinkRow<'_>]) -> Vec<u64> {
    let mut tops = vec![0; batch.parts.len()];
    for row in rows {
        tops[row.part] = tops[row.part].max(row.state.version + 1);
    }
    tops
}

/// What the store is to be told of before rows below `top` are sent; `None` where it knows.
pub(crate) fn before(top: u64, stand: &Stand) -> Option<u64> {
    (top > stand.unused).then_some(top + ROOM)
}

/// What it is told of with the position that is behind them, so that it need not be told before the next.
pub(crate) fn after(top: u64, stand: &Stand) -> u64 {
    if top + ROOM / 2 > stand.unused { top + ROOM } else { stand.unused }
}
