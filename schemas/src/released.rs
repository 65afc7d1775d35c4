//! The released history: every version of every entity's schema that has ever been written to somebody's log.
//!
//! A log is kept for ever, so a schema changes only so that old and new builds read each other's records (Avro
//! full-transitive compatibility), and what a record *is* stays: its key, its tenant, the field that chooses its partition.
//! Relies on `apache-avro` for the verdict; our own resolution adds which field it is about, and must agree. To release a
//! changed entity, add a copy of its file as `released/<entity>.v<n+1>.avsc` and a line here; a released file never changes.

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

use crate::catalog::Catalog;
use crate::codec::resolve::Plan;
use crate::compile;
use crate::entity::{Entity, FieldPath, FieldType, RecordType};

/// One released schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Name of the entity.
    pub entity: &'static str,
    /// Counted from 1.
    pub version: u32,
    /// The entity's file as it was.
    pub text: &'static str,
}

/// Something that a released reader or record would not survive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entity}: against release {version}: {problem}")]
pub struct Finding {
    /// Name of the entity.
    pub entity: String,
    /// The release that the current schema does not go with.
    pub version: u32,
    /// What breaks, and what to do.
    pub problem: String,
}

const fn release(entity: &'static str, version: u32, text: &'static str) -> Release {
    Release { entity, version, text }
}

/// All releases, oldest first within an entity.
pub const HISTORY: [Release; 8] = [
    release("institution", 1, include_str!("../released/institution.v1.avsc")),
    release("staff", 1, include_str!("../released/staff.v1.avsc")),
    release("project", 1, include_str!("../released/project.v1.avsc")),
    release("product", 1, include_str!("../released/product.v1.avsc")),
    release("catalog_relation", 1, include_str!("../released/catalog_relation.v1.avsc")),
    release("customer", 1, include_str!("../released/customer.v1.avsc")),
    release("consumption", 1, include_str!("../released/consumption.v1.avsc")),
    release("write_off", 1, include_str!("../released/write_off.v1.avsc")),
];

/// Checks every entity of the catalog against all its releases; empty = compatible.
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    check_history(catalog, &HISTORY)
}

/// The same against a given history.
pub fn check_history(catalog: &Catalog, history: &[Release]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for release in history {
        let mut find = |problem: String| {
            findings.push(Finding { entity: release.entity.to_owned(), version: release.version, problem });
        };
        let Some(current) = catalog.entity(release.entity) else {
            find("the entity is gone; a released entity stays, as logs hold its records".to_owned());
            continue;
        };
        match compile::compile(&format!("{}.v{}.avsc", release.entity, release.version), release.text) {
            Ok(released) => compare(current, &released).into_iter().for_each(find),
            Err(problems) => problems.into_iter().for_each(|problem| find(format!("the release does not load: {problem}"))),
        }
    }
    findings
}

/// What is wrong with `current` in the eyes of one release.
fn compare(current: &Entity, released: &Entity) -> Vec<String> {
    let mut problems = Vec::new();
    if dotted(&current.key) != dotted(&released.key) {
        problems.push(format!("the key was {}, now it is {}; it must stay", dotted(&released.key), dotted(&current.key)));
    }
    for (what, now, was) in
        [("tenant", &current.tenant, &released.tenant), ("log.partition_by", &current.partition_by, &released.partition_by)]
    {
        if now != was {
            let (was, now) = (dotted(was.as_slice()), dotted(now.as_slice()));
            problems.push(format!("`{what}` was {was}, now it is {now}; it must stay"));
        }
    }
    check_order(&current.record, &released.record, "", &mut problems);
    problems.extend(check_reading(current, released, "records of that release cannot be read any more"));
    problems.extend(check_reading(released, current, "that release cannot read the records of now"));
    problems
}

fn dotted(paths: &[FieldPath]) -> String {
    let names: Vec<&str> = paths.iter().map(|path| path.dotted.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Fields keep their order, so that masks stay ascending under every release's numbers.
fn check_order(current: &RecordType, released: &RecordType, prefix: &str, problems: &mut Vec<String>) {
    let mut last = 0;
    for was in &released.fields {
        let Some(position) = current.fields.iter().position(|field| field.name == was.name) else { continue };
        if position < last {
            problems.push(format!("`{prefix}{}` has moved before a field that it stood behind; move it back", was.name));
        }
        last = last.max(position);
        if let (FieldType::Record(now), FieldType::Record(was_nested)) = (&current.fields[position].kind, &was.kind) {
            check_order(now, was_nested, &format!("{prefix}{}.", was.name), problems);
        }
    }
}

fn check_reading(reader: &Entity, writer: &Entity, consequence: &str) -> Option<String> {
    let detail = Plan::new(reader, &writer.change_envelope.json).err();
    match (verdict(reader, writer), detail) {
        (Ok(()), None) => None,
        (Ok(()), Some(detail)) => Some(format!("{consequence}: {detail}")),
        (Err(avro), None) => Some(format!("{consequence}: {avro}")),
        (Err(avro), Some(detail)) => Some(format!("{consequence}: {detail} ({avro})")),
    }
}

/// What `apache-avro` says.
fn verdict(reader: &Entity, writer: &Entity) -> Result<(), String> {
    let parse = |entity: &Entity| Schema::parse_str(&entity.schema_json).map_err(|error| error.to_string());
    match SchemaCompatibility::can_read(&parse(writer)?, &parse(reader)?) {
        Ok(Compatibility::Full) => Ok(()),
        Ok(Compatibility::Partial) => Err("some values could not be read".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
