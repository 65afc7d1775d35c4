//! The statements that make tables, indexes and the view, and the types of columns.
//!
//! Names are those of the SQLite store; types are Postgres's own, so that amounts add up and dates compare by themselves.

use tidemark_schemas::Entity;
use tidemark_schemas::entity::{Column, FieldType};
use tidemark_sink_core::references::{Dialect, index_name, indexed_columns};
use tidemark_sink_core::sql::{literal, quoted};
use xxhash_rust::xxh3::xxh3_64;

use crate::options::NAME_BYTES_MAX;

/// What every table has before its fields, with its definition.
pub(crate) const COMMON: [(&str, SqlType, &str); 5] = [
    ("key", SqlType::Text, " NOT NULL"),
    ("version", SqlType::Bigint, " NOT NULL"),
    ("tenant", SqlType::Text, ""),
    ("deleted_at", SqlType::Timestamp, ""),
    ("changed_at", SqlType::Timestamp, " NOT NULL"),
];

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SqlType {
    Text,
    Bigint,
    Boolean,
    Numeric { precision: u32, scale: u32 },
    Date,
    Timestamp,
    Json,
}

impl SqlType {
    /// Of a field's values.
    pub(crate) fn of(kind: &FieldType) -> Self {
        match kind {
            FieldType::Bool => Self::Boolean,
            FieldType::Int { .. } => Self::Bigint,
            FieldType::Text { .. } => Self::Text,
            FieldType::Decimal { precision, scale } => Self::Numeric { precision: *precision, scale: *scale },
            FieldType::Date => Self::Date,
            FieldType::Timestamp => Self::Timestamp,
            FieldType::Record(_) | FieldType::Array(_) => Self::Json,
        }
    }

    /// As `format_type` shows it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Bigint => "bigint".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Numeric { precision, scale } => format!("numeric({precision},{scale})"),
            Self::Date => "date".to_owned(),
            Self::Timestamp => "timestamp with time zone".to_owned(),
            Self::Json => "jsonb".to_owned(),
        }
    }

    /// Of a parameter that holds many values.
    pub(crate) fn array(self) -> &'static str {
        match self {
            Self::Text => "text[]",
            Self::Bigint => "bigint[]",
            Self::Boolean => "boolean[]",
            Self::Numeric { .. } => "numeric[]",
            Self::Date => "date[]",
            Self::Timestamp => "timestamptz[]",
            Self::Json => "jsonb[]",
        }
    }

    /// The object numbers of the type and of its array, which are the same in every server (`pg_type.dat`).
    pub(crate) fn numbers(self) -> (u32, u32) {
        match self {
            Self::Text => (25, 1009),
            Self::Bigint => (20, 1016),
            Self::Boolean => (16, 1000),
            Self::Numeric { .. } => (1700, 1231),
            Self::Date => (1082, 1182),
            Self::Timestamp => (1184, 1185),
            Self::Json => (3802, 3807),
        }
    }
}

/// The type of a field's column.
pub(crate) fn column_type(entity: &Entity, column: &Column) -> SqlType {
    SqlType::of(&entity.field(column.number).kind)
}

/// All columns of an entity's table, in order: name, type, constraint.
pub(crate) fn columns(entity: &Entity) -> Vec<(&str, SqlType, &'static str)> {
    let fields = entity.columns.iter().map(|column| (column.name.as_str(), column_type(entity, column), ""));
    COMMON.into_iter().chain(fields).collect()
}

/// The statements that make an entity's table. A table in list partitions is unique by key and partition: Postgres knows no
/// other uniqueness there, and the writer moves a record whose partition changed.
pub(crate) fn table(entity: &Entity) -> Vec<String> {
    let name = quoted(&entity.name);
    let lines: Vec<String> = columns(entity)
        .into_iter()
        .map(|(name, kind, constraint)| format!("  {} {}{constraint}", quoted(name), kind.name()))
        .collect();
    let lines = lines.join(",\n");
    match &entity.relational.partition_by {
        None => vec![format!("CREATE TABLE {name}(\n{lines},\n  PRIMARY KEY (\"key\")\n)")],
        Some(column) => {
            let (index, column) = (quoted(&shortened(&format!("{}_key", entity.name))), quoted(column));
            vec![
                format!("CREATE TABLE {name}(\n{lines}\n) PARTITION BY LIST ({column})"),
                format!("CREATE UNIQUE INDEX {index} ON {name}(\"key\", {column}) NULLS NOT DISTINCT"),
            ]
        }
    }
}

/// The indexes on references: name and statement.
pub(crate) fn indexes(entity: &Entity) -> Vec<(String, String)> {
    indexed_columns(entity)
        .into_iter()
        .map(|column| {
            let name = shortened(&index_name(entity, column));
            let sql = format!("CREATE INDEX IF NOT EXISTS {} ON {}({})", quoted(&name), quoted(&entity.name), quoted(column));
            (name, sql)
        })
        .collect()
}

/// How Postgres says what the view of dangling references needs.
pub(crate) const DIALECT: Dialect = Dialect {
    text: |value| format!("{value}::text"),
    rows_of_list: "jsonb_array_elements",
    field_of_line: |name| format!("(line ->> {})", literal(name)),
};

/// The name, or as much of it as Postgres keeps with a hash of the whole, so that two long ones stay two.
pub(crate) fn shortened(name: &str) -> String {
    const HASH_BYTES: usize = 17;
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let end = name.floor_char_boundary(NAME_BYTES_MAX - HASH_BYTES);
    format!("{}_{:016x}", &name[..end], xxh3_64(name.as_bytes()))
}

/// `"a", "b"`.
pub(crate) fn quoted_list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}
