//! Lists of records (the lines of an order) as columns of their owner's row, and the view that shows them as rows.
//!
//! Each field of the list's records is an array column `<list>_item.<field>` beside the list's JSON text: so the lines are written
//! with their owner or not at all, need no table that could disagree with it, and go when it is deleted. The view has the name and
//! the columns of the SQLite store's table: `key` (the owner's), `position` (from 1), `version` and `tenant` (the owner's), then the
//! item's fields; a field with one of these names becomes `item_<name>`.

use std::sync::Arc;

use tidemark_schemas::entity::{FieldPath, RecordType};
use tidemark_schemas::{Catalog, Cell, Entity};

use crate::encoding::{Encoder, Refusal};
use crate::statement::{column_type, quoted};

const COMMON: [&str; 4] = ["key", "position", "version", "tenant"];

/// One such list.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Name of the view.
    pub(crate) view: String,
    /// Where the list stands in its owner's row.
    path: FieldPath,
    item: Arc<RecordType>,
    /// What the names of its array columns begin with.
    prefix: String,
}

/// The lists of an entity.
pub(crate) fn of(catalog: &Catalog, entity: &Entity) -> Vec<Lines> {
    let lines = entity.lists().map(|(column, item)| Lines {
        view: catalog.list_name(entity, column, item),
        path: column.path.clone(),
        item: Arc::clone(item),
        prefix: format!("{}_item", column.name),
    });
    lines.collect()
}

impl Lines {
    /// Names and types of its array columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (String, String)> {
        self.item.fields.iter().map(|field| (self.array(&field.name), format!("Array({})", column_type(field, false))))
    }

    fn array(&self, field: &str) -> String {
        format!("{}.{field}", self.prefix)
    }

    /// Writes the arrays, one for each field; of no list, empty ones.
    pub(crate) fn encode(&self, row: &[Cell<'_>], encoder: &mut Encoder) -> Result<(), Refusal> {
        let items: &[Cell<'_>] = if let Cell::Array(items) = self.path.get(row) { items } else { &[] };
        let records = || items.iter().filter_map(|item| if let Cell::Record(cells) = item { Some(cells) } else { None });
        let count = records().count();
        for (position, field) in self.item.fields.iter().enumerate() {
            encoder.length(count);
            for cells in records() {
                encoder.nullable(&field.kind, &cells[position])?;
            }
        }
        Ok(())
    }

    /// The query that shows the lines of `table`'s live rows.
    pub(crate) fn select(&self, table: &str) -> String {
        let arrays: Vec<String> = self.item.fields.iter().map(|field| quoted(&self.array(&field.name))).collect();
        let first = arrays.first().expect("no record is empty");
        let shown = self.item.fields.iter().zip(&arrays).map(|(field, array)| {
            let is_common = COMMON.contains(&field.name.as_str());
            let name = if is_common { format!("item_{}", field.name) } else { field.name.clone() };
            format!(",\n  {array} AS {}", quoted(&name))
        });
        format!(
            "SELECT `key`, item_position AS `position`, `version`, `tenant`{}\nFROM {} FINAL\n\
             ARRAY JOIN {}, arrayEnumerate({first}) AS item_position",
            shown.collect::<String>(),
            quoted(table),
            arrays.join(", ")
        )
    }
}
