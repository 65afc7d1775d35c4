//! `schema list | show | check | forms`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tidemark_connector_file::templates;
use tidemark_schemas::Entity;
use tidemark_schemas::entity::{Field, FieldType, RecordType};
use tidemark_schemas::released;

use crate::arguments::{Common, Schema};
use crate::commands::print_line;
use crate::commands::state::entity_of;
use crate::exit::Exit;
use crate::stores;
use crate::workplace::Workplace;

/// Runs it.
pub(crate) fn run(common: &Common, command: &Schema) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    match command {
        Schema::List { json } => {
            for entity in workplace.catalog.entities() {
                print_line(&if *json { list_json(entity).to_string() } else { list_line(entity) })?;
            }
        }
        Schema::Show { entity, json: true } => {
            let schema: Value = serde_json::from_str(&entity_of(&workplace, entity)?.schema_json)?;
            print_line(&serde_json::to_string_pretty(&schema)?)?;
        }
        Schema::Show { entity, json: false } => show(entity_of(&workplace, entity)?)?,
        Schema::Check => return check(&workplace),
        Schema::Forms { dir } => return forms(&workplace, dir.as_deref()),
    }
    Ok(Exit::Done)
}

fn key_text(entity: &Entity) -> String {
    entity.key.iter().map(|path| path.dotted.as_str()).collect::<Vec<_>>().join(", ")
}

fn list_line(entity: &Entity) -> String {
    let files = entity.file.as_ref().map_or_else(|| "no files".to_owned(), |file| file.names.join(", "));
    format!("{:18} {}  key {}  files {files}", entity.name, entity.title, key_text(entity))
}

fn list_json(entity: &Entity) -> Value {
    json!({
        "entity": entity.name,
        "title": entity.title,
        "key": entity.key.iter().map(|path| &path.dotted).collect::<Vec<_>>(),
        "files": entity.file.as_ref().map(|file| &file.names),
        "fingerprint": format!("{:016x}", entity.fingerprint),
    })
}

fn show(entity: &Entity) -> Result<()> {
    print_line(&format!("{} {}, key {}, fingerprint {:016x}", entity.name, entity.title, key_text(entity), entity.fingerprint))?;
    show_fields(&entity.record, "")
}

fn show_fields(record: &RecordType, prefix: &str) -> Result<()> {
    for field in &record.fields {
        print_line(&format!("  {:34} {:11} {}", format!("{prefix}{}", field.name), kind_of(&field.kind), notes_of(field)))?;
        let (nested, mark) = match &field.kind {
            FieldType::Record(nested) => (Some(nested), "."),
            FieldType::Array(items) => (if let FieldType::Record(nested) = &**items { Some(nested) } else { None }, "[]."),
            _ => (None, ""),
        };
        if let Some(nested) = nested {
            show_fields(nested, &format!("{prefix}{}{mark}", field.name))?;
        }
    }
    Ok(())
}

fn kind_of(kind: &FieldType) -> &'static str {
    match kind {
        FieldType::Bool => "boolean",
        FieldType::Int { .. } => "integer",
        FieldType::Text { .. } => "text",
        FieldType::Decimal { .. } => "decimal",
        FieldType::Date => "date",
        FieldType::Timestamp => "time stamp",
        FieldType::Record(_) => "record",
        FieldType::Array(_) => "list",
    }
}

fn notes_of(field: &Field) -> String {
    let mut notes = vec![field.title.clone()];
    if field.required {
        notes.push("required".to_owned());
    }
    if let Some(vocabulary) = &field.vocabulary {
        notes.push(format!("codes of {vocabulary}"));
    }
    if field.reference.is_some() {
        notes.push("refers to another entity".to_owned());
    }
    if let Some(kind) = &field.pii {
        notes.push(format!("personal: {kind}"));
    }
    if !field.aliases.is_empty() {
        notes.push(format!("also {}", field.aliases.join(", ")));
    }
    notes.join("; ")
}
/// Compares every entity with its releases.
fn check(workplace: &Workplace) -> Result<Exit> {
    let findings = released::check(&workplace.catalog);
    for found in &findings {
        print_line(&found.to_string())?;
    }
    if findings.is_empty() {
        print_line(&format!("{} entities go with all {} releases", workplace.catalog.entities().len(), released::HISTORY.len()))?;
        return Ok(Exit::Done);
    }
    Ok(Exit::Findings)
}

fn forms(workplace: &Workplace, folder: Option<&Path>) -> Result<Exit> {
    let default = || stores::file_options(workplace).map(|options| options.root.join("templates"));
    let folder = folder.map_or_else(default, |folder| Ok(folder.to_owned()))?;
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let files = templates::forms(&workplace.catalog);
    for (name, text) in &files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    print_line(&format!("{} files are in {}", files.len(), folder.display()))?;
    Ok(Exit::Done)
}
