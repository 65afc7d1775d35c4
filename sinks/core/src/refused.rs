//! Rows that a store refuses: how they are named, and what every store on a server refuses alike.

use tidemark_schemas::Cell;

use crate::batch::{SinkBatch, SinkRow};
use crate::port::RejectedRow;

/// Why, in short: a text holds a NUL.
pub const NUL: &str = "nul_character";
/// Why, in short: the server says so of this row.
pub const BY_STORE: &str = "refused_by_store";

impl RejectedRow {
    /// A row of a batch; `detail` is for a person and names the remedy.
    pub fn of(batch: &SinkBatch, row: &SinkRow<'_>, reason: &str, detail: String) -> Self {
        let part = &batch.parts[row.part];
        Self {
            entity: part.entity.name.clone(),
            position: (part.partition, row.offset),
            key: row.state.key.to_string(),
            reason: reason.to_owned(),
            detail,
        }
    }
}

/// Rows with a NUL in a text. Postgres and NebulaGraph keep none; a store that could refuses it as well, so that all hold the same.
pub fn with_nul(batch: &SinkBatch, rows: &[SinkRow<'_>]) -> Vec<RejectedRow> {
    let refused = |row: &SinkRow<'_>| {
        let detail = "a text holds a NUL character, which not every store keeps; correct the record at its source".to_owned();
        RejectedRow::of(batch, row, NUL, detail)
    };
    rows.iter().filter(|row| has_nul(row)).map(refused).collect()
}

fn has_nul(row: &SinkRow<'_>) -> bool {
    fn in_cell(cell: &Cell<'_>) -> bool {
        match cell {
            Cell::Text(text) => text.contains('\0'),
            Cell::Record(cells) | Cell::Array(cells) => cells.iter().any(in_cell),
            _ => false,
        }
    }
    let state = &row.state;
    state.key.contains('\0') || state.tenant.as_ref().is_some_and(|tenant| tenant.contains('\0')) || state.row.iter().any(in_cell)
}
