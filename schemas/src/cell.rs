//! Cells: the values of a row, by position.
//!
//! A cell borrows its text from the buffer it was read from where it can, so that the hot path copies no text.

use std::borrow::Cow;

use rust_decimal::Decimal;

/// The cells of one record, in the order of its schema's fields.
pub type Row<'a> = Vec<Cell<'a>>;

/// One value. Which variant stands where is fixed by the field's [`crate::entity::FieldType`]; `Null` only where the field is
/// nullable.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// Absent or cleared.
    Null,
    /// Avro `boolean`.
    Bool(bool),
    /// Avro `int` and `long`.
    Int(i64),
    /// Avro `string`.
    Text(Cow<'a, str>),
    /// Avro `decimal`, at the scale of its field.
    Decimal(Decimal),
    /// Avro `date`: days since 1970-01-01, never shifted by a zone.
    Date(i32),
    /// Avro `timestamp-micros`: microseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// A nested record.
    Record(Row<'a>),
    /// An array of one item type.
    Array(Vec<Cell<'a>>),
}

impl<'a> Cell<'a> {
    /// A text cell that borrows.
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// Whether the cell is `Null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text of a text cell.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same cell, owning its text.
    pub fn into_owned(self) -> Cell<'static> {
        match self {
            Self::Null => Cell::Null,
            Self::Bool(value) => Cell::Bool(value),
            Self::Int(value) => Cell::Int(value),
            Self::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
            Self::Decimal(value) => Cell::Decimal(value),
            Self::Date(days) => Cell::Date(days),
            Self::Timestamp(micros) => Cell::Timestamp(micros),
            Self::Record(row) => Cell::Record(row.into_iter().map(Cell::into_owned).collect()),
            Self::Array(items) => Cell::Array(items.into_iter().map(Cell::into_owned).collect()),
        }
    }
}
