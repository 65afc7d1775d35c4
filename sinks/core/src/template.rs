//! Text templates: a record to the text that is embedded.
//!
//! A template is lines of text with `{field.path}` holes. A line whose holes are all empty is left out, so that a sparse
//! record is not mostly labels; a record that fills no hole at all is embedded by its key, so that no text is ever empty.
//! A list fills a hole with its items, joined by `、`.

use tidemark_schemas::entity::{FieldPath, FieldType};
use tidemark_schemas::{Cell, Entity, State, json, text};

/// What stands between the items of a list.
const LIST_SEPARATOR: &str = "、";

/// A template bound to its entity's fields.
#[derive(Debug)]
pub struct Template {
    lines: Vec<Vec<Part>>,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Hole(FieldPath),
}

impl Template {
    /// The template of an entity that becomes a point; `None` for one that does not. Holes name flattened leaf fields: others
    /// are an error that names them.
    pub fn try_new(entity: &Entity) -> Result<Option<Self>, String> {
        let Some(vector) = &entity.vector else { return Ok(None) };
        let lines = vector.text.lines().map(|line| read_line(entity, line)).collect::<Result<_, _>>()?;
        Ok(Some(Self { lines }))
    }

    /// Appends the record's text to `out`.
    pub fn write(&self, state: &State<'_>, out: &mut String) {
        let start = out.len();
        let mut filled = false;
        for line in &self.lines {
            let line_start = out.len();
            if line_start > start {
                out.push('\n');
            }
            match write_line(line, state, out) {
                (0, _) => {}
                (_, 0) => out.truncate(line_start),
                _ => filled = true,
            }
        }
        if !filled {
            out.truncate(start);
            out.push_str(&state.key);
        }
    }
}

/// Number of holes, and of those that the record fills.
fn write_line(line: &[Part], state: &State<'_>, out: &mut String) -> (usize, usize) {
    let (mut holes, mut filled) = (0, 0);
    for part in line {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Hole(path) => {
                let before = out.len();
                write_cell(path.get(&state.row), out);
                holes += 1;
                filled += usize::from(out.len() > before);
            }
        }
    }
    (holes, filled)
}

fn write_cell(cell: &Cell<'_>, out: &mut String) {
    match cell {
        Cell::Null | Cell::Record(_) => {}
        Cell::Bool(value) => out.push_str(if *value { "是" } else { "否" }),
        Cell::Int(value) => text::write_int(*value, out),
        Cell::Text(value) => out.push_str(value.trim()),
        Cell::Decimal(value) => text::write_decimal(*value, value.scale(), out),
        Cell::Date(days) => text::write_date(*days, out),
        Cell::Timestamp(micros) => out.push_str(&json::timestamp_text(*micros)),
        Cell::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push_str(LIST_SEPARATOR);
                }
                write_cell(item, out);
            }
        }
    }
}

fn read_line(entity: &Entity, line: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = line;
    while let Some((literal, after)) = rest.split_once('{') {
        let (hole, after) = after.split_once('}').ok_or_else(|| format!("a hole is not closed in the line `{line}`"))?;
        let column = entity
            .columns
            .iter()
            .find(|column| column.path.dotted == hole)
            .ok_or_else(|| format!("the text of `{}` has the hole `{{{hole}}}`, which is no leaf field", entity.name))?;
        if matches!(&entity.field(column.number).kind, FieldType::Array(items) if matches!(**items, FieldType::Record(_))) {
            return Err(format!("the hole `{{{hole}}}` of `{}` is a list of records, which has no text", entity.name));
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        parts.push(Part::Hole(column.path.clone()));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use tidemark_schemas::Catalog;

    use super::Template;
    use crate::contract::Fixture;

    fn text_of(json: &str) -> String {
        let fixture = Fixture::new(Catalog::built_in());
        let template = Template::try_new(fixture.catalog().entity("customer").unwrap()).unwrap().unwrap();
        let mut text = String::new();
        template.write(&fixture.state("customer", json, 1), &mut text);
        text
    }

    #[test]
    fn filled_lines_stay_and_empty_ones_go() {
        let text = text_of(
            r#"{"customer_code":"BJ-C1","person":{"name":"张小丽"},"tags":["敏感肌","抗衰老"],"notes":" ","first_visit_date":"2026-01-10"}"#,
        );
        assert_eq!(text, "客户：张小丽，性别：\n标签：敏感肌、抗衰老\n首次到店：2026-01-10，最近到店：");
    }

    #[test]
    fn a_record_without_any_text_is_embedded_by_its_key() {
        assert_eq!(text_of(r#"{"customer_code":"BJ-C1"}"#), "BJ-C1");
    }

    #[test]
    fn a_first_line_that_goes_leaves_no_blank_one() {
        assert_eq!(text_of(r#"{"customer_code":"BJ-C1","notes":"怕疼"}"#), "备注：怕疼");
    }
}
