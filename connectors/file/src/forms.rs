//! Forms: which entity a file speaks of, by its name, and how its records become rows.
//!
//! Everything but the arithmetic of orders is data: the schemas' own names and aliases, and the tables in `names`. An added
//! schema needs nothing here: its files are named and mapped by what it says itself.

pub mod mapper;
mod names;
pub mod notes;
mod order;
mod plan;
mod properties;
mod value;

use std::sync::Arc;

use tidemark_schemas::entity::Entity;
use tidemark_schemas::{Catalog, Operation};

use names::{CONSTANTS, KINDS, ORDER_ENTITY};
use order::OrderPlan;
use plan::{Names, PlanRecord};

pub(crate) use names::FORMS_VERSION;

/// How the files of one name are read.
#[derive(Debug)]
pub struct Form {
    /// `customers`: what the file's name starts with.
    pub stem: String,
    /// Line of the statistics that its records count in.
    pub kind: String,
    /// What they are.
    pub entity: Arc<Entity>,
    plan: PlanRecord,
    names: Names,
    constants: Vec<(usize, String)>,
    order: Option<OrderPlan>,
}

impl Form {
    fn new(stem: &str, entity: &Arc<Entity>, catalog: &Catalog) -> Self {
        let record = || PlanRecord::new(&entity.record, "", entity, catalog);
        let plan = record();
        let order = if entity.name == ORDER_ENTITY { OrderPlan::new(record()) } else { None };
        let constants = CONSTANTS.iter().filter(|(owner, ..)| *owner == stem);
        let constants = constants.filter_map(|(_, field, value)| Some((plan.named(field)?.position, (*value).to_owned())));
        Self {
            stem: stem.to_owned(),
            kind: KINDS.iter().find(|(known, _)| *known == stem).map_or(stem, |(_, kind)| *kind).to_owned(),
            constants: constants.collect(),
            names: plan::top_names(&plan, &entity.name),
            entity: Arc::clone(entity),
            plan,
            order,
        }
    }

    /// Place in the reading order.
    pub fn reading_order(&self) -> u32 {
        self.entity.file.as_ref().map_or(u32::MAX, |file| file.order)
    }

    /// Whether the field at a path says which record is meant, where it belongs or on which partition it goes.
    fn is_identity(&self, path: &[usize]) -> bool {
        let entity = &self.entity;
        entity.key.iter().chain(&entity.tenant).chain(&entity.partition_by).any(|known| known.positions == path)
    }
}

/// All forms.
#[derive(Debug)]
pub struct Forms {
    /// Longest stem first.
    forms: Vec<Arc<Form>>,
}

impl Forms {
    /// The forms of all entities that come from files.
    pub fn new(catalog: &Catalog) -> Self {
        let mut forms = Vec::new();
        for entity in catalog.entities() {
            for stem in entity.file.iter().flat_map(|file| &file.names) {
                forms.push(Arc::new(Form::new(stem, entity, catalog)));
            }
        }
        forms.sort_by_key(|form| (std::cmp::Reverse(form.stem.len()), form.stem.clone()));
        Self { forms }
    }

    /// All forms, by reading order then name.
    pub fn all(&self) -> Vec<&Arc<Form>> {
        let mut all: Vec<&Arc<Form>> = self.forms.iter().collect();
        all.sort_by_key(|form| (form.reading_order(), form.stem.clone()));
        all
    }

    /// The form of a file by its name (without folders): the longest stem that it starts with.
    pub fn of_file(&self, file: &str) -> Option<&Arc<Form>> {
        let name = file_stem(file);
        self.forms.iter().find(|form| {
            let rest = name.get(..form.stem.len()).filter(|start| start.eq_ignore_ascii_case(&form.stem));
            rest.is_some() && !name[form.stem.len()..].starts_with(char::is_alphabetic)
        })
    }

    /// For a person: the stems that there are.
    pub fn stems(&self) -> String {
        let stems: Vec<&str> = self.all().iter().map(|form| form.stem.as_str()).collect();
        stems.join(", ")
    }
}

/// A file's name without `.json`.
pub fn file_stem(file: &str) -> &str {
    match file.len().checked_sub(5) {
        Some(end) if file.is_char_boundary(end) && file[end..].eq_ignore_ascii_case(".json") => &file[..end],
        _ => file,
    }
}

/// What the end of a file's name says about the operation: `customers_update.json`, also `customers_update-2.json`.
pub fn hint(file: &str) -> Option<Operation> {
    let name = file_stem(file);
    let name = match name.rsplit_once('-') {
        Some((name, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    };
    match name.rsplit_once('_')?.1.to_ascii_lowercase().as_str() {
        "add" => Some(Operation::Insert),
        "update" => Some(Operation::Update),
        "delete" => Some(Operation::Delete),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
