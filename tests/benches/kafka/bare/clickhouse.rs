//! Rows into ClickHouse as RowBinary, one insert for each batch.

use std::sync::Arc;

use anyhow::{Result, bail};
use clickhouse::Client;
use tidemark_schemas::entity::FieldType;
use tidemark_schemas::{Cell, Entity, State, json};

use super::Task;

/// Columns that every table has, before the entity's own.
const COMMON: [&str; 6] = ["key", "version", "is_deleted", "tenant", "deleted_at", "changed_at"];

pub(super) struct Writer {
    client: Client,
    entity: Arc<Entity>,
    insert: String,
    /// Of the entity's columns: index, and the fields of a list's records, which are columns too.
    lists: Vec<(usize, usize)>,
}

impl Writer {
    pub(super) fn new(task: &Task, entity: &Arc<Entity>) -> Self {
        let client = Client::default().with_url(&task.address).with_database(&task.place);
        let client = client.with_setting("async_insert", "0").with_setting("wait_end_of_query", "1");
        let mut names: Vec<String> = COMMON.iter().map(|name| (*name).to_owned()).collect();
        names.extend(entity.columns.iter().map(|column| column.name.clone()));
        let mut lists = Vec::new();
        for (index, column) in entity.columns.iter().enumerate() {
            if let FieldType::Array(items) = &entity.field(column.number).kind
                && let FieldType::Record(item) = &**items
            {
                lists.push((index, item.fields.len()));
                names.extend(item.fields.iter().map(|field| format!("{}_item.{}", column.name, field.name)));
            }
        }
        let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(",");
        let insert = format!("INSERT INTO `{}_versions`({names}) FORMAT RowBinary", entity.name);
        Self { client, entity: Arc::clone(entity), insert, lists }
    }

    pub(super) async fn write(&mut self, rows: &[State<'_>]) -> Result<()> {
        let mut bytes = Vec::with_capacity(rows.len() * 200);
        for state in rows {
            self.row(state, &mut bytes)?;
        }
        let mut insert = self.client.insert_formatted_with(&self.insert);
        insert.send(bytes.into()).await?;
        Ok(insert.end().await?)
    }

    fn row(&self, state: &State<'_>, out: &mut Vec<u8>) -> Result<()> {
        text(&state.key, out);
        out.extend_from_slice(&state.version.to_le_bytes());
        out.push(0);
        out.push(u8::from(state.tenant.is_none()));
        if let Some(tenant) = &state.tenant {
            text(tenant, out);
        }
        // None of these rows is deleted.
        out.push(1);
        out.extend_from_slice(&state.changed_at.to_le_bytes());
        for column in &self.entity.columns {
            let cell = column.path.get(&state.row);
            if !self.entity.key.contains(&column.path) {
                out.push(u8::from(cell.is_null()));
            }
            match cell {
                Cell::Record(_) | Cell::Array(_) => {
                    let mut shown = String::new();
                    json::write_cell(&self.entity.field(column.number).kind, cell, &mut shown);
                    text(&shown, out);
                }
                cell => plain(cell, out)?,
            }
        }
        for (index, fields) in &self.lists {
            let Cell::Array(items) = self.entity.columns[*index].path.get(&state.row) else { bail!("a row without its list") };
            for position in 0..*fields {
                length(items.len(), out);
                for item in items {
                    let Cell::Record(cells) = item else { bail!("a list of something else") };
                    out.push(u8::from(cells[position].is_null()));
                    plain(&cells[position], out)?;
                }
            }
        }
        Ok(())
    }
}

/// A value; nothing of a null one.
fn plain(cell: &Cell<'_>, out: &mut Vec<u8>) -> Result<()> {
    match cell {
        Cell::Null => {}
        Cell::Bool(value) => out.push(u8::from(*value)),
        Cell::Int(value) | Cell::Timestamp(value) => out.extend_from_slice(&value.to_le_bytes()),
        Cell::Text(value) => text(value, out),
        // All that are not null are of 10 to 18 digits.
        Cell::Decimal(value) => out.extend_from_slice(&i64::try_from(value.mantissa())?.to_le_bytes()),
        Cell::Date(days) => out.extend_from_slice(&days.to_le_bytes()),
        Cell::Record(_) | Cell::Array(_) => bail!("a list within a list"),
    }
    Ok(())
}

fn text(value: &str, out: &mut Vec<u8>) {
    length(value.len(), out);
    out.extend_from_slice(value.as_bytes());
}

/// Seven bits a byte.
fn length(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
