//! Rows that Postgres cannot hold, found before anything is sent: a NUL in a text, a date or moment out of range.
//!
//! Postgres's texts hold any character but NUL; its dates reach from 4713 BC to the year 294276 as moments. Whatever else it
//! refuses is found by bisection ([`crate::bisect`]).

use tidemark_schemas::Cell;
use tidemark_sink_core::refused::NUL;
use tidemark_sink_core::{RejectedRow, SinkBatch, SinkRow};

/// Short code of a reason.
const OUT_OF_RANGE: &str = "out_of_range";

/// The first and the last day, from 1970 on (`IS_VALID_DATE` of `timestamp.h`).
const DAYS: std::ops::Range<i32> = -2_440_588..2_145_042_906;
/// The first moment (`MIN_TIMESTAMP` of `timestamp.h`); the last one is beyond what a number of microseconds reaches.
const MICROS: std::ops::RangeFrom<i64> = -210_866_803_200_000_000..;

/// All rows that cannot be stored.
pub(crate) fn look(batch: &SinkBatch, rows: &[SinkRow<'_>]) -> Vec<RejectedRow> {
    rows.iter().filter_map(|row| problem(row).map(|problem| rejected(batch, row, problem.0, problem.1))).collect()
}

/// A row as the engine buries it.
pub(crate) fn rejected(batch: &SinkBatch, row: &SinkRow<'_>, reason: &str, problem: &str) -> RejectedRow {
    let detail = format!("{problem}; correct the record at its source, then redrive the dead letter");
    RejectedRow::of(batch, row, reason, detail)
}

fn problem(row: &SinkRow<'_>) -> Option<(&'static str, &'static str)> {
    let state = &row.state;
    let tenant = state.tenant.as_deref().unwrap_or_default();
    if has_nul(&state.key) || has_nul(tenant) {
        return Some((NUL, "Postgres stores no NUL in a text, and the key or tenant has one"));
    }
    if !MICROS.contains(&state.changed_at) {
        return Some((OUT_OF_RANGE, "the moment of the change is out of the range of Postgres's time stamps"));
    }
    state.row.iter().find_map(|cell| of_cell(cell))
}

fn of_cell(cell: &Cell<'_>) -> Option<(&'static str, &'static str)> {
    match cell {
        Cell::Text(text) if has_nul(text) => Some((NUL, "Postgres stores no NUL in a text, and a field has one")),
        Cell::Date(days) if !DAYS.contains(days) => Some((OUT_OF_RANGE, "a date is out of the range of Postgres's dates")),
        Cell::Timestamp(micros) if !MICROS.contains(micros) => {
            Some((OUT_OF_RANGE, "a time stamp is out of the range of Postgres's time stamps"))
        }
        Cell::Record(cells) | Cell::Array(cells) => cells.iter().find_map(of_cell),
        _ => None,
    }
}

fn has_nul(text: &str) -> bool {
    text.as_bytes().contains(&0)
}
