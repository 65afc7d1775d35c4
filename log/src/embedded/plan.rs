//! What one transaction will write: the requests of a group, checked and given their offsets, before anything is written.
//!
//! Guarantees: a request that fails a check takes no offset and moves no position, and those behind it are judged as if it had
//! not been there. Pure: it sees and changes only the catalogue in memory, which is read anew when the commit fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::Catalog;
use crate::port::{ConsumerPosition, LogError};
use crate::record::Append;
use crate::refusal::{check_positions, check_sizes};

/// Partitions remembered by the address of their topic's name while one append is checked: searched one by one.
const NAMES_SEEN_MAX: usize = 64;

/// One record with its offset.
#[derive(Debug)]
pub(super) struct Row<'g> {
    pub(super) offset: u64,
    pub(super) key: &'g [u8],
    pub(super) value: &'g [u8],
}

/// The rows of one partition.
#[derive(Debug)]
pub(super) struct Rows<'g> {
    /// Table `r<id>`.
    pub(super) partition_id: i64,
    /// Time that all of them get.
    pub(super) time: i64,
    /// In offset order.
    pub(super) rows: Vec<Row<'g>>,
}

/// Everything to be written, and what to answer once it is.
#[derive(Debug, Default)]
pub(super) struct Plan<'g> {
    /// By index of the partition in the catalogue.
    pub(super) rows: BTreeMap<usize, Rows<'g>>,
    /// Positions that move.
    pub(super) positions: Vec<&'g ConsumerPosition>,
    /// One per request, in order.
    pub(super) answers: Vec<Result<Vec<u64>, LogError>>,
}

impl<'g> Plan<'g> {
    /// Adds a request, or notes why it is refused.
    pub(super) fn add(&mut self, catalog: &mut Catalog, append: &'g Append, now: i64) {
        let answer = check(catalog, append).map(|slots| self.take(catalog, append, &slots, now));
        self.answers.push(answer);
    }

    /// Whether a transaction is needed at all.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.positions.is_empty()
    }

    fn take(&mut self, catalog: &mut Catalog, append: &'g Append, slots: &[usize], now: i64) -> Vec<u64> {
        let mut offsets = Vec::with_capacity(slots.len());
        for (record, slot) in append.records().zip(slots) {
            let partition = &mut catalog.partitions[*slot];
            let rows = self.rows.entry(*slot).or_insert_with(|| {
                partition.last_time = partition.last_time.max(now);
                Rows { partition_id: partition.id, time: partition.last_time, rows: Vec::new() }
            });
            rows.rows.push(Row { offset: partition.next, key: record.key, value: record.value });
            offsets.push(partition.next);
            partition.next += 1;
        }
        for position in append.positions() {
            catalog.positions.insert(position.key(), position.next);
            self.positions.push(position);
        }
        offsets
    }
}

/// Finds each record's partition; changes nothing.
fn check(catalog: &Catalog, append: &Append) -> Result<Vec<usize>, LogError> {
    check_sizes(append)?;
    let mut slots = Vec::with_capacity(append.len());
    // records come in runs, and writers share a topic's name: comparing addresses spares nearly all look-ups
    let mut seen: Vec<(&Arc<str>, u32, usize)> = Vec::new();
    for record in append.records() {
        let known = seen.iter().find(|(topic, partition, _)| Arc::ptr_eq(topic, record.topic) && *partition == record.partition);
        let slot = match known {
            Some((.., slot)) => *slot,
            None => catalog.find(record.topic, record.partition)?,
        };
        if known.is_none() && seen.len() < NAMES_SEEN_MAX {
            seen.push((record.topic, record.partition, slot));
        }
        slots.push(slot);
    }
    for position in append.positions() {
        catalog.find(&position.topic, position.partition)?;
    }
    check_positions(append.positions(), |key| catalog.positions.get(key).copied())?;
    Ok(slots)
}
