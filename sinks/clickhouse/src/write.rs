//! Rows into a table: encoded whole first, then sent in blocks bounded by rows and bytes; what the server refuses is found by halving.

use std::ops::Range;

use tidemark_sink_core::{RejectedRow, SinkBatch, SinkRow, refused};

use crate::client::Store;
use crate::encoding::Encoder;
use crate::failure::{Class, StoreError};
use crate::table::Table;

/// Rows of one insert. Fewer: more parts for the server to merge; more: larger blocks in its memory than it makes of them itself.
const BLOCK_ROWS_MAX: usize = 100_000;
/// Bytes of one insert; a row may go beyond it alone. More: our memory, and what is sent again when one row is refused.
const BLOCK_BYTES_MAX: usize = 16 << 20;

/// Encoded rows of one table.
pub(crate) struct Rows<'t, 'r, 'b> {
    table: &'t Table,
    bytes: Vec<u8>,
    /// Each with the end of its bytes.
    rows: Vec<(&'r SinkRow<'b>, usize)>,
}

/// Encodes the rows; all that cannot be are returned as refused.
pub(crate) fn encode<'t, 'r, 'b>(
    batch: &SinkBatch,
    table: &'t Table,
    rows: Vec<&'r SinkRow<'b>>,
    refused: &mut Vec<RejectedRow>,
) -> Rows<'t, 'r, 'b> {
    let mut encoder = Encoder::default();
    let mut encoded = Vec::with_capacity(rows.len());
    for row in rows {
        let start = encoder.bytes.len();
        match table.encode(row, &mut encoder) {
            Ok(()) => encoded.push((row, encoder.bytes.len())),
            Err(refusal) => {
                encoder.bytes.truncate(start);
                refused.push(RejectedRow::of(batch, row, refusal.reason, refusal.detail));
            }
        }
    }
    Rows { table, bytes: encoder.bytes, rows: encoded }
}

impl Rows<'_, '_, '_> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Sends them all; returns those that the server refuses. What it takes of their neighbours stays: it is the same when it comes again.
    pub(crate) async fn send(&self, store: &Store, batch: &SinkBatch) -> Result<Vec<RejectedRow>, StoreError> {
        let insert = self.table.insert();
        let mut refused = Vec::new();
        let mut waiting = self.blocks();
        waiting.reverse();
        while let Some(block) = waiting.pop() {
            match store.insert(&insert, self.bytes_of(&block)).await {
                Ok(()) => {}
                Err(error) if error.class == Class::Data && block.len() == 1 => {
                    let detail = format!(
                        "the server refuses the row: {error}; correct the record at its source, or the table's constraint"
                    );
                    refused.push(RejectedRow::of(batch, self.rows[block.start].0, refused::BY_STORE, detail));
                }
                Err(error) if error.class == Class::Data => {
                    let middle = block.start + block.len() / 2;
                    waiting.push(middle..block.end);
                    waiting.push(block.start..middle);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    fn blocks(&self) -> Vec<Range<usize>> {
        let mut blocks = Vec::new();
        let mut start = 0;
        for end in 1..=self.rows.len() {
            let is_full = end - start >= BLOCK_ROWS_MAX || self.bytes_of(&(start..end)).len() >= BLOCK_BYTES_MAX;
            if is_full || end == self.rows.len() {
                blocks.push(start..end);
                start = end;
            }
        }
        blocks
    }

    fn bytes_of(&self, block: &Range<usize>) -> &[u8] {
        let start = if block.start == 0 { 0 } else { self.rows[block.start - 1].1 };
        &self.bytes[start..self.rows[block.end - 1].1]
    }
}
