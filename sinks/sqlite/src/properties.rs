//! JSON objects built in place: the properties of a vertex, the payload of a point.

use tidemark_schemas::entity::FieldType;
use tidemark_schemas::{Cell, json, text};

/// An object that is being written at the end of a buffer.
pub(crate) struct Object<'o> {
    out: &'o mut String,
    empty: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn begin(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    pub(crate) fn end(self) {
        self.out.push('}');
    }

    /// A cell under this name (schema names need no escaping); nothing for a null one.
    pub(crate) fn cell(&mut self, name: &str, kind: &FieldType, cell: &Cell<'_>) {
        if !cell.is_null() {
            self.name(name);
            json::write_cell(kind, cell, self.out);
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        json::write_cell(&FieldType::Bool, &Cell::text(value), self.out);
    }

    /// A whole number.
    pub(crate) fn int(&mut self, name: &str, value: i64) {
        self.name(name);
        text::write_int(value, self.out);
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }
}
