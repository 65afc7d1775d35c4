//! Names and texts in standard SQL, as Postgres and SQLite take them. The one place where they are escaped.

/// An identifier, quoted.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text, quoted. Postgres takes it so while `standard_conforming_strings` is on, as it is in every session of ours.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
