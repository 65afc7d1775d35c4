//! Rows as values of statements.
//!
//! Only texts are anybody's own words: they go as parameters where the server takes them (from 3.5 on) and as literals through the
//! escaper elsewhere; ids always as literals, since no server takes a parameter there. A NUL is refused: neither a file nor a text
//! field brings one in, and what the server makes of it differs by the way it comes.

use tidemark_schemas::{Cell, Entity, State, json, text};

use tidemark_sink_core::refused;

use crate::client::{Properties, Value};
use crate::ngql;
use crate::shape::is_money;
use crate::writer::Piece;

/// How texts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As parameters.
    Parameters,
    /// As escaped literals.
    Literals,
}

/// Why a row cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
}

/// Writes values; gives each parameter a name of its own within a batch.
#[derive(Debug)]
pub(crate) struct Renderer {
    style: Style,
    /// The server's zone: it reads a moment that comes as text in it and keeps UTC.
    utc_offset_seconds: i32,
    parameters: usize,
}

impl Renderer {
    pub(crate) fn new(style: Style, utc_offset_seconds: i32) -> Self {
        Self { style, utc_offset_seconds, parameters: 0 }
    }

    /// `"vid":(…)` or `"a"->"b"@rank:(…)`, `place` being what stands before the colon: the values of
    /// [`crate::shape::properties`], in that order.
    pub(crate) fn record(&mut self, row: usize, place: &str, entity: &Entity, state: &State<'_>) -> Result<Piece, Refusal> {
        let mut piece = Piece { row, text: format!("{place}:("), parameters: Properties::new() };
        self.text(&state.key, "key", &mut piece)?;
        piece.text.push(',');
        match &state.tenant {
            Some(tenant) => self.text(tenant, "tenant", &mut piece)?,
            None => piece.text.push_str("NULL"),
        }
        piece.text.push(',');
        text::write_int(state.version.cast_signed(), &mut piece.text);
        piece.text.push(',');
        self.moment(state.deleted.then_some(state.changed_at), &mut piece.text);
        piece.text.push(',');
        self.moment(Some(state.changed_at), &mut piece.text);
        for column in &entity.columns {
            piece.text.push(',');
            let cell = column.path.get(&state.row);
            self.cell(entity, column, cell, &mut piece)?;
            if is_money(entity, column) {
                piece.text.push(',');
                match fen(cell) {
                    Some(fen) => text::write_int(fen, &mut piece.text),
                    None => piece.text.push_str("NULL"),
                }
            }
        }
        piece.text.push(')');
        Ok(piece)
    }

    fn cell(
        &mut self,
        entity: &Entity,
        column: &tidemark_schemas::entity::Column,
        cell: &Cell<'_>,
        piece: &mut Piece,
    ) -> Result<(), Refusal> {
        match cell {
            Cell::Null => piece.text.push_str("NULL"),
            Cell::Bool(value) => piece.text.push_str(if *value { "true" } else { "false" }),
            Cell::Int(value) => text::write_int(*value, &mut piece.text),
            Cell::Text(value) => self.text(value, &column.name, piece)?,
            Cell::Date(days) => {
                piece.text.push_str("date(\"");
                text::write_date(*days, &mut piece.text);
                piece.text.push_str("\")");
            }
            Cell::Timestamp(micros) => self.moment(Some(*micros), &mut piece.text),
            cell @ (Cell::Decimal(_) | Cell::Record(_) | Cell::Array(_)) => {
                let kind = &entity.field(column.number).kind;
                let mut shown = String::new();
                json::write_cell(kind, cell, &mut shown);
                // A decimal is a text in JSON: without its quotes it is the text that all stores show.
                let shown = if matches!(cell, Cell::Decimal(_)) { shown.trim_matches('"') } else { &shown };
                self.text(shown, &column.name, piece)?;
            }
        }
        Ok(())
    }

    /// Appends a text as parameter or literal.
    pub(crate) fn text(&mut self, value: &str, of: &str, piece: &mut Piece) -> Result<(), Refusal> {
        refuse_nul(value, of)?;
        match self.style {
            Style::Literals => ngql::push_text(value, &mut piece.text),
            Style::Parameters => {
                let name = format!("p{}", self.parameters);
                self.parameters += 1;
                piece.text.push('$');
                piece.text.push_str(&name);
                piece.parameters.push((name.into_bytes(), Value::text(value)));
            }
        }
        Ok(())
    }

    /// Appends a moment.
    pub(crate) fn moment(&self, micros: Option<i64>, out: &mut String) {
        let Some(micros) = micros else {
            out.push_str("NULL");
            return;
        };
        out.push_str("datetime(\"");
        text::write_timestamp(micros.saturating_add(i64::from(self.utc_offset_seconds) * 1_000_000), out);
        if out.ends_with('Z') {
            out.pop();
        }
        out.push_str("\")");
    }
}

/// Refuses a text with a NUL.
pub(crate) fn refuse_nul(value: &str, of: &str) -> Result<(), Refusal> {
    if value.contains('\0') {
        let detail = format!("`{of}` holds a NUL character, which NebulaGraph does not keep; correct the record at its source");
        return Err(Refusal { reason: refused::NUL, detail });
    }
    Ok(())
}

fn fen(cell: &Cell<'_>) -> Option<i64> {
    let Cell::Decimal(value) = cell else { return None };
    let mut value = *value;
    value.rescale(2);
    i64::try_from(value.mantissa()).ok()
}
