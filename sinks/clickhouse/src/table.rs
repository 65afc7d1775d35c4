//! The table of an entity and the view of its live rows.
//!
//! `<entity>_versions` holds `key`, `version`, `is_deleted`, `tenant`, `deleted_at`, `changed_at`, then a column for each flattened
//! field and the arrays of its lists of records. A deleted record keeps its last row, marked. The sort key is what makes two rows
//! versions of one record, so it is made of key fields alone and ends in `key`; for the same reason a table is partitioned by a key
//! field or not at all, whatever a schema wishes.

use std::sync::Arc;

use tidemark_schemas::entity::{Column, FieldPath, FieldType, RecordType};
use tidemark_schemas::{Catalog, Cell, Entity};
use tidemark_sink_core::SinkRow;

use crate::encoding::{Encoder, Refusal};
use crate::lines::{self, Lines};
use crate::statement::{MOMENT, column_type, comment, literal, quoted, quoted_list};
use crate::views::View;

/// Raised when the same row would be kept otherwise.
const FORMAT: u64 = 1;

/// A table bound to its entity.
#[derive(Debug)]
pub(crate) struct Table {
    entity: Arc<Entity>,
    name: String,
    lines: Vec<Lines>,
    /// Of the entity's columns: whether each is part of the key.
    keys: Vec<bool>,
    /// Indexes into the entity's columns: those that the sort key begins with.
    order: Vec<usize>,
    /// Name of the mark of deleted rows.
    deleted: &'static str,
}

impl Table {
    pub(crate) fn new(catalog: &Catalog, entity: &Arc<Entity>) -> Self {
        let has = |name: &str| entity.columns.iter().any(|column| column.name == name);
        let deleted = if has("is_deleted") { "tidemark_is_deleted" } else { "is_deleted" };
        Self {
            name: format!("{}_versions", entity.name),
            lines: lines::of(catalog, entity),
            keys: entity.columns.iter().map(|column| entity.key.contains(&column.path)).collect(),
            order: order_of(entity),
            entity: Arc::clone(entity),
            deleted,
        }
    }

    pub(crate) fn entity(&self) -> &Arc<Entity> {
        &self.entity
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What its rows are derived by.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.entity.derivation ^ FORMAT
    }

    /// Names and types of its columns, in the order of an insert.
    pub(crate) fn columns(&self) -> Vec<(String, String)> {
        let common = [
            ("key", "String"),
            ("version", "UInt64"),
            (self.deleted, "UInt8"),
            ("tenant", "LowCardinality(Nullable(String))"),
            ("deleted_at", "Nullable(DateTime64(6, 'UTC'))"),
            ("changed_at", MOMENT),
        ];
        let mut columns: Vec<(String, String)> =
            common.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
        for column in &self.entity.columns {
            columns.push((column.name.clone(), column_type(self.entity.field(column.number), self.is_key(column))));
        }
        columns.extend(self.lines.iter().flat_map(Lines::columns));
        columns
    }

    fn is_key(&self, column: &Column) -> bool {
        self.entity.key.contains(&column.path)
    }

    fn title(&self, column: &str) -> Option<&str> {
        let column = self.entity.columns.iter().find(|known| known.name == column)?;
        Some(self.entity.field(column.number).title.as_str()).filter(|title| !title.is_empty())
    }

    /// A column as it stands in the statements that make or alter the table.
    pub(crate) fn definition(&self, name: &str, kind: &str) -> String {
        let title = self.title(name).map_or_else(String::new, |title| format!(" COMMENT {}", literal(title)));
        format!("{} {kind}{title}", quoted(name))
    }

    /// The statement that makes it.
    pub(crate) fn ddl(&self) -> String {
        let columns: Vec<String> =
            self.columns().iter().map(|(name, kind)| format!("  {}", self.definition(name, kind))).collect();
        let order: Vec<&str> = self.order.iter().map(|index| self.entity.columns[*index].name.as_str()).collect();
        format!(
            "CREATE TABLE IF NOT EXISTS {}(\n{}\n) ENGINE = ReplacingMergeTree(version, {})\n{}PRIMARY KEY ({})\n\
             ORDER BY ({})\n{}",
            quoted(&self.name),
            columns.join(",\n"),
            quoted(self.deleted),
            self.partition().map_or_else(String::new, |column| format!("PARTITION BY {}\n", quoted(column))),
            quoted_list(order.iter().copied()),
            quoted_list(order.iter().copied().chain(["key"])),
            comment(&self.entity.title)
        )
    }

    /// The column that parts the table: versions of one record merge only within one part of it.
    pub(crate) fn partition(&self) -> Option<&str> {
        let wanted = self.entity.analytics.partition_by.as_deref()?;
        let column = self.entity.columns.iter().find(|column| column.name == wanted || column.path.dotted == wanted)?;
        self.is_key(column).then_some(column.name.as_str())
    }

    /// The views over it: the live rows, and those of its lists.
    pub(crate) fn views(&self) -> Vec<View> {
        let columns = self.entity.columns.iter().map(|column| column.name.as_str());
        let shown = ["key", "version", "tenant", "deleted_at", "changed_at"].into_iter().chain(columns);
        let live = format!("SELECT {}\nFROM {} FINAL", quoted_list(shown), quoted(&self.name));
        let view = |name: &str, select: String| View { name: name.to_owned(), title: self.entity.title.clone(), select };
        let lines = self.lines.iter().map(|lines| view(&lines.view, lines.select(&self.name)));
        std::iter::once(view(&self.entity.name, live)).chain(lines).collect()
    }

    /// `INSERT INTO …` for rows written by [`Table::encode`].
    pub(crate) fn insert(&self) -> String {
        let columns = self.columns();
        insert_into(&self.name, columns.iter().map(|(name, _)| name.as_str()))
    }

    /// Writes a row at the end of the encoder's buffer; after a refusal what was written of it must be cut off.
    pub(crate) fn encode(&self, row: &SinkRow<'_>, encoder: &mut Encoder) -> Result<(), Refusal> {
        let state = &row.state;
        encoder.text(&state.key);
        encoder.unsigned(state.version);
        encoder.byte(u8::from(state.deleted));
        encoder.nullable_text(state.tenant.as_deref());
        encoder.byte(u8::from(!state.deleted));
        if state.deleted {
            encoder.moment(state.changed_at)?;
        }
        encoder.moment(state.changed_at)?;
        for (column, is_key) in self.entity.columns.iter().zip(&self.keys) {
            let (kind, cell) = (kind_at(&self.entity.record, &column.path), column.path.get(&state.row));
            let written = match (is_key, cell) {
                (true, Cell::Null) => Err(Refusal {
                    reason: "no_key",
                    detail: "a field of the key is empty; correct the record at its source".to_owned(),
                }),
                (true, cell) => encoder.value(kind, cell),
                (false, cell) => encoder.nullable(kind, cell),
            };
            written.map_err(|refusal| Refusal { detail: format!("`{}`: {}", column.name, refusal.detail), ..refusal })?;
        }
        self.lines.iter().try_for_each(|lines| lines.encode(&state.row, encoder))
    }

    /// What the sort key of a row begins with, as a literal that finds it by the primary index.
    pub(crate) fn place(&self, row: &SinkRow<'_>) -> String {
        let cells = self.order.iter().map(|index| match self.entity.columns[*index].path.get(&row.state.row) {
            Cell::Text(text) => literal(text),
            Cell::Int(number) => number.to_string(),
            _ => "''".to_owned(),
        });
        format!("({})", cells.collect::<Vec<_>>().join(", "))
    }

    /// The stored versions of the records at these places.
    pub(crate) fn versions(&self, places: &str) -> String {
        let order = quoted_list(self.order.iter().map(|index| self.entity.columns[*index].name.as_str()));
        format!("SELECT `key`, max(`version`) FROM {} WHERE ({order}) IN ({places}) GROUP BY `key`", quoted(&self.name))
    }
}

/// `INSERT INTO …` for rows of these columns in RowBinary.
pub(crate) fn insert_into<'n>(table: &str, columns: impl IntoIterator<Item = &'n str>) -> String {
    format!("INSERT INTO {}({}) FORMAT RowBinary", quoted(table), quoted_list(columns))
}

/// The type of the field at this path: for every value of every row, so by position and not looked for.
fn kind_at<'r>(record: &'r RecordType, path: &FieldPath) -> &'r FieldType {
    let mut record = record;
    let (last, way) = path.positions.split_last().expect("a path is never empty");
    for position in way {
        let FieldType::Record(nested) = &record.fields[*position].kind else { unreachable!("a way leads through records") };
        record = nested;
    }
    &record.fields[*last].kind
}

/// The columns that the sort key begins with: those of the schema's `order_by` that are key fields, else the key's.
fn order_of(entity: &Entity) -> Vec<usize> {
    let keys: Vec<usize> =
        entity.key.iter().filter_map(|path| entity.columns.iter().position(|column| column.path == *path)).collect();
    let wanted = entity.analytics.order_by.iter().filter_map(|name| {
        keys.iter().copied().find(|index| {
            let column = &entity.columns[*index];
            column.name == *name || column.path.dotted == *name
        })
    });
    let wanted: Vec<usize> = wanted.collect();
    if wanted.is_empty() { keys } else { wanted }
}
