//! One raw value as the cell of its field, or the reason why not.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use tidemark_schemas::Cell;
use tidemark_schemas::format;

use super::names::How;
use super::notes::Notes;
use super::plan::{PlanField, PlanKind, PlanRecord};
use crate::convert::{boolean, number, time};
use crate::fields::{self, Kind};
use crate::problem::{Personal, Problem, quote};

/// Longest text. Longer ones belong into files, not into records.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// What conversion needs besides the field.
pub(super) struct Surroundings<'c> {
    /// Zone of time stamps that come without one.
    pub(super) zone: &'c TimeZone,
    /// The record's institution, as far as it is known before its key.
    pub(super) institution: Option<&'c str>,
    /// Warnings and unknown keys.
    pub(super) notes: &'c mut Notes,
}

/// The cell of a value that arrives under a special name.
pub(super) fn special<'r>(field: &PlanField, how: How, raw: &'r str, around: &mut Surroundings<'_>) -> Result<Cell<'r>, Problem> {
    match how {
        How::Plain => cell(field, raw, around),
        _ if raw == "null" => Ok(Cell::Null),
        How::JsonText if matches!(fields::kind(raw), Kind::Object | Kind::Array) => {
            bounded(field, Cow::Borrowed(raw)).map(Cell::Text)
        }
        How::JsonText => cell(field, raw, around),
        How::Prefixed(prefix) => match (fields::kind(raw) == Kind::Number).then(|| number::integer(raw)).flatten() {
            Some(id) => Ok(Cell::Text(format!("{prefix}{id}").into())),
            None => cell(field, raw, around),
        },
        How::InInstitution { infix, digits } => in_institution(field, raw, (infix, digits), around),
    }
}

fn in_institution<'r>(
    field: &PlanField,
    raw: &'r str,
    (infix, digits): (&str, usize),
    around: &mut Surroundings<'_>,
) -> Result<Cell<'r>, Problem> {
    let quoted = if raw.starts_with('"') { fields::text(raw) } else { None };
    let id = match quoted {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => text,
        Some(_) => return cell(field, raw, around),
        None => whole_number(raw).ok_or_else(|| {
            Problem::new("bad_code", format!("`{}` needs a number or a code, not {}", field.path, quote(raw, field.personal)))
        })?,
    };
    let Some(institution) = around.institution else {
        let remedy = "give institution_code in the record or the envelope, or put the file into the institution's folder";
        return Err(Problem::new("no_institution", format!("`{}` is a number and needs the institution; {remedy}", field.path)));
    };
    let id = id.trim_start_matches('0');
    let id = if id.is_empty() { "0" } else { id };
    let code = format!("{institution}{infix}{id:0>digits$}");
    check_format(field, &code)?;
    Ok(Cell::Text(code.into()))
}

/// A JSON number that is a whole one and not below zero, as digits.
fn whole_number(raw: &str) -> Option<Cow<'_, str>> {
    if raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Cow::Borrowed(raw));
    }
    if fields::kind(raw) != Kind::Number {
        return None;
    }
    number::integer(raw).filter(|value| *value >= 0).map(|value| value.to_string().into())
}

/// The cell of a value by the field's type.
pub(super) fn cell<'r>(field: &PlanField, raw: &'r str, around: &mut Surroundings<'_>) -> Result<Cell<'r>, Problem> {
    if raw == "null" {
        return Ok(Cell::Null);
    }
    match &field.kind {
        PlanKind::Text { codes, format } => text(field, codes, format.is_some(), raw, around).map(Cell::Text),
        PlanKind::Decimal { precision, scale } => decimal(field, raw, *precision, *scale).map(Cell::Decimal),
        PlanKind::Int { range } => int(field, raw, *range).map(Cell::Int),
        PlanKind::Bool => boolean(raw).map(Cell::Bool).ok_or_else(|| wrong(field, "bad_boolean", "true or false", raw)),
        PlanKind::Date => fields::text(raw)
            .and_then(|text| time::date(&text))
            .map(Cell::Date)
            .ok_or_else(|| wrong(field, "bad_date", "a date YYYY-MM-DD", raw)),
        PlanKind::Timestamp => fields::text(raw)
            .and_then(|text| time::timestamp(&text, around.zone))
            .map(Cell::Timestamp)
            .ok_or_else(|| wrong(field, "bad_time", "a time like 2026-01-15T10:30:00", raw)),
        PlanKind::Record(nested) => record(nested, &field.path, raw, around).map(Cell::Record),
        PlanKind::Array(item) => {
            let items = fields::array(raw).ok_or_else(|| wrong(field, "bad_list", "a list […]", raw))?;
            let cells = items.into_iter().map(|raw| match cell(item, raw, around)? {
                Cell::Null => Err(Problem::new("bad_list", format!("`{}` holds a null", field.path))),
                cell => Ok(cell),
            });
            cells.collect::<Result<_, _>>().map(Cell::Array)
        }
    }
}

/// A nested record with all that it says.
fn record<'r>(plan: &PlanRecord, path: &str, raw: &'r str, around: &mut Surroundings<'_>) -> Result<Vec<Cell<'r>>, Problem> {
    let mut found = Vec::new();
    fields::object(raw, path, &mut found)?;
    let mut row = plan.empty_row();
    for entry in found {
        if entry.name.starts_with('_') {
            continue;
        }
        match plan.named(&entry.name) {
            Some(field) => row[field.position] = cell(field, entry.value, around)?,
            None => around.notes.unknown_key(&fields::join(path, &entry.name)),
        }
    }
    Ok(row)
}

fn text<'r>(
    field: &PlanField,
    codes: &[String],
    has_format: bool,
    raw: &'r str,
    around: &mut Surroundings<'_>,
) -> Result<Cow<'r, str>, Problem> {
    let found = match fields::kind(raw) {
        Kind::Text => fields::text(raw),
        Kind::Number if field.is_id => number::integer(raw).map(|value| match raw.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Cow::Borrowed(raw),
            false => value.to_string().into(),
        }),
        _ => None,
    };
    let found = bounded(field, found.ok_or_else(|| wrong(field, "bad_text", "a text", raw))?)?;
    if !codes.is_empty() {
        let Some(code) = codes.iter().find(|code| code.eq_ignore_ascii_case(found.trim())) else {
            return Err(wrong(field, "bad_code", &format!("one of {}", codes.join(", ")), raw));
        };
        return Ok(if *code == found { found } else { Cow::Owned(code.clone()) });
    }
    if let Some(vocabulary) = &field.vocabulary {
        match vocabulary.canonical(&found) {
            Some(code) if code == found => {}
            Some(code) => return Ok(Cow::Owned(code.to_owned())),
            None => around.notes.warn(super::notes::UNKNOWN_CODE),
        }
    }
    if has_format {
        check_format(field, &found)?;
    }
    Ok(found)
}

fn bounded<'r>(field: &PlanField, text: Cow<'r, str>) -> Result<Cow<'r, str>, Problem> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Problem::new("text_too_long", format!("`{}` has {} bytes; 64 KiB is the most", field.path, text.len())));
    }
    // A text without escapes cannot hold one: JSON lets no control character stand as it is.
    if matches!(text, Cow::Owned(_)) && text.contains('\0') {
        return Err(Problem::new("nul_character", format!("`{}` holds the character U+0000", field.path)));
    }
    Ok(text)
}

fn check_format(field: &PlanField, text: &str) -> Result<(), Problem> {
    let PlanKind::Text { format: Some(format), .. } = &field.kind else { return Ok(()) };
    if format::matches(format, text).is_some() {
        return Ok(());
    }
    let reason = if field.is_key { "malformed_key" } else { "bad_code" };
    Err(Problem::new(reason, format!("`{}` must look like {format}, not {}", field.path, quote(text, field.personal))))
}

fn int(field: &PlanField, raw: &str, range: Option<(i64, i64)>) -> Result<i64, Problem> {
    let value = number::text(raw).and_then(|text| number::integer(&text));
    let value = value.ok_or_else(|| wrong(field, "bad_number", "a whole number", raw))?;
    match range {
        Some((low, high)) if !(low..=high).contains(&value) => {
            Err(wrong(field, "out_of_range", &format!("between {low} and {high}"), raw))
        }
        _ => Ok(value),
    }
}

/// An amount of the field.
pub(super) fn decimal(field: &PlanField, raw: &str, precision: u32, scale: u32) -> Result<rust_decimal::Decimal, Problem> {
    use number::Misfit;
    let text = if matches!(fields::kind(raw), Kind::Number | Kind::Text) { number::text(raw) } else { None };
    let misfit = match text.map(|text| number::decimal(&text, precision, scale)) {
        Some(Ok(value)) => return Ok(value),
        Some(Err(misfit)) => misfit,
        None => Misfit::NotANumber,
    };
    let wanted = match misfit {
        Misfit::NotANumber => "a number".to_owned(),
        Misfit::TooManyPlaces => format!("a number with at most {scale} decimals"),
        Misfit::TooLarge => format!("a number with at most {} digits before the point", precision - scale),
    };
    Err(wrong(field, "bad_amount", &wanted, raw))
}

pub(super) fn wrong(field: &PlanField, reason: &'static str, wanted: &str, raw: &str) -> Problem {
    let quoted = quote(raw, field.personal);
    let value = if field.personal == Personal::Yes { String::new() } else { format!(", not {quoted}") };
    Problem::new(reason, format!("`{}` must be {wanted}{value}", field.path))
}
