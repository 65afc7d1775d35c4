//! Rows as JSON, for people and for tools: nested as in the schema, decimals as strings, dates and time stamps as text.
//!
//! [`write_row`] gives the text with the fields in schema order; [`row_to_json`] a value (whose keys `serde_json` keeps in
//! alphabetical order). [`row_from_json`] is the exact inverse of both and no more lenient than that: it is for tools and
//! tests, files from outside come through a connector.

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use crate::cell::{Cell, Row};
use crate::entity::{FieldType, RecordType};
use crate::text;

/// The row as a JSON object, nulls included.
pub fn row_to_json(record: &RecordType, row: &[Cell<'_>]) -> Value {
    let fields = record.fields.iter().zip(row);
    Value::Object(fields.map(|(field, cell)| (field.name.clone(), cell_to_json(&field.kind, cell))).collect())
}

/// One cell as JSON (a decimal as text at its scale, a date as `YYYY-MM-DD`, a time stamp as RFC 3339 UTC with microseconds
/// only where they are not zero).
pub fn cell_to_json(kind: &FieldType, cell: &Cell<'_>) -> Value {
    match (kind, cell) {
        (_, Cell::Null) => Value::Null,
        (_, Cell::Bool(value)) => Value::Bool(*value),
        (_, Cell::Int(value)) => Value::from(*value),
        (_, Cell::Text(text)) => Value::from(text.as_ref()),
        (FieldType::Decimal { scale, .. }, Cell::Decimal(value)) => Value::from(decimal_text(*value, *scale)),
        (_, Cell::Decimal(value)) => Value::from(value.to_string()),
        (_, Cell::Date(days)) => Value::from(date_text(*days)),
        (_, Cell::Timestamp(micros)) => Value::from(timestamp_text(*micros)),
        (FieldType::Record(nested), Cell::Record(row)) => row_to_json(nested, row),
        (FieldType::Array(items), Cell::Array(cells)) => cells.iter().map(|cell| cell_to_json(items, cell)).collect(),
        // A cell of another type than its field's: no row that was read has one.
        (_, Cell::Record(_) | Cell::Array(_)) => Value::Null,
    }
}

/// Appends the row as JSON text, fields in schema order, nulls included.
pub fn write_row(record: &RecordType, row: &[Cell<'_>], out: &mut String) {
    out.push('{');
    for (position, (field, cell)) in record.fields.iter().zip(row).enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_text(&field.name, out);
        out.push(':');
        write_cell(&field.kind, cell, out);
    }
    out.push('}');
}

/// Appends one cell as JSON text.
pub fn write_cell(kind: &FieldType, cell: &Cell<'_>, out: &mut String) {
    match (kind, cell) {
        (_, Cell::Text(value)) => write_text(value, out),
        (FieldType::Record(nested), Cell::Record(row)) => write_row(nested, row, out),
        (FieldType::Array(items), Cell::Array(cells)) => {
            out.push('[');
            for (position, cell) in cells.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_cell(items, cell, out);
            }
            out.push(']');
        }
        (FieldType::Decimal { scale, .. }, Cell::Decimal(value)) => quoted(out, |out| text::write_decimal(*value, *scale, out)),
        (_, Cell::Int(value)) => text::write_int(*value, out),
        (_, Cell::Date(days)) => quoted(out, |out| text::write_date(*days, out)),
        (_, Cell::Timestamp(micros)) => quoted(out, |out| text::write_timestamp(*micros, out)),
        _ => out.push_str(&cell_to_json(kind, cell).to_string()),
    }
}

fn quoted(out: &mut String, write: impl FnOnce(&mut String)) {
    out.push('"');
    write(out);
    out.push('"');
}

fn write_text(text: &str, out: &mut String) {
    // `Value`'s own escaping, without the copy for what needs none.
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

/// A decimal at exactly `scale` places: `12.00`.
pub fn decimal_text(value: Decimal, scale: u32) -> String {
    if value.scale() == scale {
        return value.to_string();
    }
    let mut rescaled = value;
    rescaled.rescale(scale);
    rescaled.to_string()
}

/// `YYYY-MM-DD`; a day beyond the calendar (years -9999 to 9999) as `day:<number>`.
pub fn date_text(days: i32) -> String {
    date_of(days).map_or_else(|| format!("day:{days}"), |date| date.to_string())
}

/// RFC 3339 in UTC, with microseconds only where they are not zero; a moment beyond the calendar as `micros:<number>`.
pub fn timestamp_text(micros: i64) -> String {
    match Timestamp::from_microsecond(micros) {
        Ok(moment) if micros.rem_euclid(1_000_000) != 0 => format!("{moment:.6}"),
        Ok(moment) => format!("{moment:.0}"),
        Err(_) => format!("micros:{micros}"),
    }
}

/// The calendar date so many days from 1970-01-01.
pub fn date_of(days: i32) -> Option<Date> {
    let epoch = Date::constant(1970, 1, 1);
    epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}

/// Days from 1970-01-01.
pub fn days_of(date: Date) -> i32 {
    let epoch = Date::constant(1970, 1, 1);
    epoch.duration_until(date).as_hours().div_euclid(24) as i32
}

/// The inverse of [`row_to_json`].
pub fn row_from_json(record: &RecordType, value: &Value) -> Result<Row<'static>, String> {
    let Value::Object(object) = value else { return Err(format!("{} must be an object", record.name)) };
    if let Some(unknown) = object.keys().find(|name| !record.fields.iter().any(|field| field.name == **name)) {
        return Err(format!("{} has no field `{unknown}`", record.name));
    }
    record
        .fields
        .iter()
        .map(|field| {
            let cell = field_from_json(object, &field.name, &field.kind)?;
            if cell.is_null() && !field.nullable {
                return Err(format!("`{}` must not be null", field.name));
            }
            Ok(cell)
        })
        .collect()
}

fn field_from_json(object: &Map<String, Value>, name: &str, kind: &FieldType) -> Result<Cell<'static>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(Cell::Null),
        Some(value) => cell_from_json(kind, value).map_err(|problem| format!("`{name}`: {problem}")),
    }
}

/// The inverse of [`cell_to_json`].
pub fn cell_from_json(kind: &FieldType, value: &Value) -> Result<Cell<'static>, String> {
    let cell = match (kind, value) {
        (FieldType::Bool, Value::Bool(value)) => Some(Cell::Bool(*value)),
        (FieldType::Int { .. }, Value::Number(number)) => number.as_i64().map(Cell::Int),
        (FieldType::Text { .. }, Value::String(text)) => Some(Cell::Text(text.clone().into())),
        (FieldType::Decimal { scale, .. }, Value::String(text)) => {
            text.parse().ok().filter(|value: &Decimal| value.scale() <= *scale).map(|mut value| {
                value.rescale(*scale);
                Cell::Decimal(value)
            })
        }
        (FieldType::Date, Value::String(text)) => read_date(text).map(Cell::Date),
        (FieldType::Timestamp, Value::String(text)) => read_timestamp(text).map(Cell::Timestamp),
        (FieldType::Record(nested), value @ Value::Object(_)) => return row_from_json(nested, value).map(Cell::Record),
        (FieldType::Array(items), Value::Array(values)) => {
            return values.iter().map(|value| cell_from_json(items, value)).collect::<Result<_, _>>().map(Cell::Array);
        }
        _ => None,
    };
    cell.ok_or_else(|| format!("does not read as {}", kind_name(kind)))
}

fn read_date(text: &str) -> Option<i32> {
    match text.strip_prefix("day:") {
        Some(number) => number.parse().ok(),
        None => text.parse().ok().map(days_of),
    }
}

fn read_timestamp(text: &str) -> Option<i64> {
    match text.strip_prefix("micros:") {
        Some(number) => number.parse().ok(),
        None => text.parse().ok().map(Timestamp::as_microsecond),
    }
}

/// What a type is called in messages.
pub fn kind_name(kind: &FieldType) -> &'static str {
    match kind {
        FieldType::Bool => "true or false",
        FieldType::Int { .. } => "a whole number",
        FieldType::Text { .. } => "a text",
        FieldType::Decimal { .. } => "a decimal in a text",
        FieldType::Date => "a date YYYY-MM-DD",
        FieldType::Timestamp => "an RFC 3339 time stamp",
        FieldType::Record(_) => "an object",
        FieldType::Array(_) => "an array",
    }
}

#[cfg(test)]
mod tests;
