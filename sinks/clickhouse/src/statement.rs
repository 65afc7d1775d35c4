//! Identifiers, literals and types in ClickHouse's SQL: the one place that quotes.

use tidemark_schemas::entity::{Field, FieldType};

/// What the comment of every table and view of the store begins with: how a reset tells them from others in the database.
pub(crate) const MARK: &str = "tidemark";

/// An identifier, quoted.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// `` `a`, `b` ``.
pub(crate) fn quoted_list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// A text, quoted. All but letters, digits and a few marks are escaped by number, so that nothing in it can end the literal, begin
/// a comment or look like the end of a statement to whatever stands between here and the parser.
pub(crate) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for character in text.chars() {
        if !character.is_ascii() || character.is_ascii_alphanumeric() || "-_:|. ".contains(character) {
            quoted.push(character);
        } else {
            quoted.push_str(&format!("\\x{:02X}", u32::from(character)));
        }
    }
    quoted.push('\'');
    quoted
}

/// The comment of an object of the store, with what it is called.
pub(crate) fn comment(title: &str) -> String {
    format!("COMMENT {}", literal(&format!("{MARK}: {title}")))
}

/// The type of a field's column; nullable unless it is part of the key.
pub(crate) fn column_type(field: &Field, is_key: bool) -> String {
    let nullable = |kind: String| if is_key { kind } else { format!("Nullable({kind})") };
    match &field.kind {
        FieldType::Text { codes, .. } if codes.is_some() || field.vocabulary.is_some() => {
            format!("LowCardinality({})", nullable("String".to_owned()))
        }
        kind => nullable(type_name(kind)),
    }
}

/// The type's name where it is not null; what has no column form is JSON text.
fn type_name(kind: &FieldType) -> String {
    match kind {
        FieldType::Bool => "Bool".to_owned(),
        FieldType::Int { .. } => "Int64".to_owned(),
        FieldType::Decimal { precision, scale } => format!("Decimal({precision}, {scale})"),
        FieldType::Date => "Date32".to_owned(),
        FieldType::Timestamp => MOMENT.to_owned(),
        FieldType::Text { .. } | FieldType::Record(_) | FieldType::Array(_) => "String".to_owned(),
    }
}

/// The type of a moment.
pub(crate) const MOMENT: &str = "DateTime64(6, 'UTC')";

/// The type as it stands in the rows' bytes: a code list that was added to a schema later does not change them.
pub(crate) fn wire_type(name: &str) -> String {
    let inner = |name: &str| name.strip_prefix("LowCardinality(").and_then(|rest| rest.strip_suffix(')')).map(str::to_owned);
    match name.strip_prefix("Array(").and_then(|rest| rest.strip_suffix(')')) {
        Some(items) => format!("Array({})", wire_type(items)),
        None => inner(name).unwrap_or_else(|| name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{literal, quoted, wire_type};

    #[test]
    fn nothing_in_a_literal_ends_it() {
        assert_eq!(literal("BJ-HA-001|C 1.é"), "'BJ-HA-001|C 1.é'");
        assert_eq!(literal("a'b\\c;--\n\0?{}"), r"'a\x27b\x5Cc\x3B--\x0A\x00\x3F\x7B\x7D'");
        assert_eq!(quoted("a`b\\"), r"`a\`b\\`");
    }

    #[test]
    fn a_code_list_is_the_same_on_the_wire() {
        assert_eq!(wire_type("LowCardinality(Nullable(String))"), "Nullable(String)");
        assert_eq!(wire_type("Array(LowCardinality(Nullable(String)))"), "Array(Nullable(String))");
        assert_eq!(wire_type("DateTime64(6, 'UTC')"), "DateTime64(6, 'UTC')");
    }
}
