//! The catalog: all entities and vocabularies that a process knows.
//!
//! Guarantees: what a schema names exists (referenced entities, vocabularies), and the name of a file or of a list's table belongs
//! to one entity; all problems of all files are reported at once. Writer schemas learnt from the log live behind a lock that only
//! records of *other* writers touch; a record written by this build is decoded without it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use crate::attributes::Target;
use crate::codec::resolve::Plan;
use crate::compile;
use crate::entity::{Column, Entity, Field, FieldType, RecordType};
use crate::vocabulary::Vocabulary;

/// All entities and vocabularies, and the writer schemas learnt from the log.
#[derive(Debug, Default)]
pub struct Catalog {
    entities: Vec<Arc<Entity>>,
    vocabularies: Vec<Vocabulary>,
    /// (entity, fingerprint of a writer's envelope) → how to read it.
    plans: RwLock<HashMap<String, HashMap<u64, Arc<Plan>>>>,
}

/// A schema or vocabulary file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct SchemaError {
    /// File name as given.
    pub file: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// The built-in files: name, text.
const BUILT_IN: [(&str, &str); 17] = [
    ("institution.avsc", include_str!("../entities/institution.avsc")),
    ("staff.avsc", include_str!("../entities/staff.avsc")),
    ("project.avsc", include_str!("../entities/project.avsc")),
    ("product.avsc", include_str!("../entities/product.avsc")),
    ("catalog_relation.avsc", include_str!("../entities/catalog_relation.avsc")),
    ("customer.avsc", include_str!("../entities/customer.avsc")),
    ("consumption.avsc", include_str!("../entities/consumption.avsc")),
    ("write_off.avsc", include_str!("../entities/write_off.avsc")),
    ("gender.json", include_str!("../vocabularies/gender.json")),
    ("vip_level.json", include_str!("../vocabularies/vip_level.json")),
    ("customer_source.json", include_str!("../vocabularies/customer_source.json")),
    ("institution_type.json", include_str!("../vocabularies/institution_type.json")),
    ("status.json", include_str!("../vocabularies/status.json")),
    ("customer_status.json", include_str!("../vocabularies/customer_status.json")),
    ("payment_method.json", include_str!("../vocabularies/payment_method.json")),
    ("payment_status.json", include_str!("../vocabularies/payment_status.json")),
    ("item_type.json", include_str!("../vocabularies/item_type.json")),
];

impl Catalog {
    /// The entities and vocabularies that are compiled into the binary.
    pub fn built_in() -> Self {
        Self::with_files(&[]).expect("the built-in files are tested to load")
    }

    /// The built-in ones, with the given files (name, text; `.avsc` = entity, `.json` = vocabulary) added or overriding.
    /// All problems are reported, not just the first.
    pub fn with_files(files: &[(String, String)]) -> Result<Self, Vec<SchemaError>> {
        let built_in = BUILT_IN.iter().map(|(name, text)| (*name, *text));
        let given = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut loader = Loader::default();
        for (file, text) in built_in.chain(given) {
            loader.load(file, text);
        }
        loader.finish()
    }

    /// All entities, by file order then name.
    pub fn entities(&self) -> &[Arc<Entity>] {
        &self.entities
    }

    /// One entity.
    pub fn entity(&self, name: &str) -> Option<&Arc<Entity>> {
        self.entities.iter().find(|entity| entity.name == name)
    }

    /// Name of the table or view of a list's items: the item record's, where no entity has it. No two lists share one.
    pub fn list_name(&self, entity: &Entity, column: &Column, item: &RecordType) -> String {
        list_name(|name| self.entity(name).is_some(), entity, column, item)
    }

    /// All vocabularies, by name.
    pub fn vocabularies(&self) -> &[Vocabulary] {
        &self.vocabularies
    }

    /// One vocabulary.
    pub fn vocabulary(&self, name: &str) -> Option<&Vocabulary> {
        self.vocabularies.iter().find(|vocabulary| vocabulary.name == name)
    }

    /// Learns a writer's envelope schema (JSON, as found on the progress topic). Compatible ones decode from then on.
    pub fn learn(&self, entity: &str, envelope_json: &str) -> Result<(), SchemaError> {
        let refuse = |problem: String| SchemaError { file: format!("writer schema of {entity}"), problem };
        let reader = self.entity(entity).ok_or_else(|| {
            refuse(format!("there is no entity `{entity}` here; put its .avsc into the schema folder of the configuration"))
        })?;
        let fingerprint = compile::fingerprint(envelope_json).ok_or_else(|| refuse("is not an Avro schema".to_owned()))?;
        if [reader.change_envelope.fingerprint, reader.state_envelope.fingerprint].contains(&fingerprint) {
            return Ok(());
        }
        let plan = Plan::new(reader, envelope_json).map_err(refuse)?;
        let mut plans = self.plans.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        plans.entry(entity.to_owned()).or_default().insert(fingerprint, Arc::new(plan));
        Ok(())
    }

    /// The same for a schema that stands alone, as in a registry: its name says whose envelope it is.
    pub fn learn_named(&self, envelope_json: &str) -> Result<(), SchemaError> {
        let name = serde_json::from_str::<serde_json::Value>(envelope_json).ok().and_then(|schema| {
            let name = schema["name"].as_str()?;
            Some(name.rsplit('.').next().unwrap_or(name).to_owned())
        });
        self.learn(name.as_deref().unwrap_or_default(), envelope_json)
    }

    /// The plan learnt for a foreign writer.
    pub(crate) fn plan(&self, entity: &str, fingerprint: u64) -> Option<Arc<Plan>> {
        let plans = self.plans.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        plans.get(entity)?.get(&fingerprint).cloned()
    }

    /// Every (entity name, fingerprint, envelope schema JSON) that this process writes: what goes on the progress topic.
    pub fn writer_schemas(&self) -> Vec<(String, u64, String)> {
        let envelopes = |entity: &Arc<Entity>| {
            [&entity.change_envelope, &entity.state_envelope]
                .map(|envelope| (entity.name.clone(), envelope.fingerprint, envelope.json.clone()))
        };
        self.entities.iter().flat_map(envelopes).collect()
    }
}

/// Gathers files; a later one of the same name overrides.
#[derive(Default)]
struct Loader {
    /// With the file that each came from.
    entities: Vec<(String, Entity)>,
    vocabularies: Vec<(String, Vocabulary)>,
    problems: Vec<SchemaError>,
}

impl Loader {
    fn load(&mut self, file: &str, text: &str) {
        let base = file.rsplit(['/', '\\']).next().unwrap_or(file);
        match base.rsplit_once('.') {
            Some((stem, "avsc")) => match compile::compile(file, text) {
                Ok(entity) => {
                    self.expect_name(file, stem, &entity.name);
                    self.entities.retain(|(_, known)| known.name != entity.name);
                    self.entities.push((file.to_owned(), entity));
                }
                Err(problems) => self.problems.extend(problems),
            },
            Some((stem, "json")) => match Vocabulary::parse(text) {
                Ok(vocabulary) => {
                    self.expect_name(file, stem, &vocabulary.name);
                    self.vocabularies.retain(|(_, known)| known.name != vocabulary.name);
                    self.vocabularies.push((file.to_owned(), vocabulary));
                }
                Err(problem) => self.refuse(file, problem),
            },
            _ => self.refuse(file, "is neither .avsc (an entity) nor .json (a vocabulary); rename it or take it away"),
        }
    }

    fn expect_name(&mut self, file: &str, stem: &str, name: &str) {
        if stem != name {
            self.refuse(file, format!("describes `{name}`; name the file after it or change the name inside"));
        }
    }

    fn refuse(&mut self, file: &str, problem: impl fmt::Display) {
        self.problems.push(SchemaError { file: file.to_owned(), problem: problem.to_string() });
    }

    fn finish(mut self) -> Result<Catalog, Vec<SchemaError>> {
        // A file that did not load is missed by others; what they would say then only hides the cause.
        if self.problems.is_empty() {
            self.check_names();
            self.check_file_names();
            self.check_list_names();
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut entities: Vec<Arc<Entity>> = self.entities.into_iter().map(|(_, entity)| Arc::new(entity)).collect();
        entities.sort_by_key(|entity| (entity.file.as_ref().map_or(u32::MAX, |form| form.order), entity.name.clone()));
        let mut vocabularies: Vec<Vocabulary> = self.vocabularies.into_iter().map(|(_, vocabulary)| vocabulary).collect();
        vocabularies.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Catalog { entities, vocabularies, plans: RwLock::default() })
    }

    /// Every referenced entity and vocabulary exists.
    fn check_names(&mut self) {
        let mut problems = Vec::new();
        for (file, entity) in &self.entities {
            let mut refuse = |problem: String| problems.push(SchemaError { file: file.clone(), problem });
            for reference in &entity.references {
                let targets: Vec<&String> = match &reference.reference.target {
                    Target::Entity(target) => vec![target],
                    Target::By { cases, .. } => cases.values().collect(),
                };
                for target in targets {
                    if !self.entities.iter().any(|(_, known)| known.name == *target) {
                        let known: Vec<&str> = self.entities.iter().map(|(_, entity)| entity.name.as_str()).collect();
                        let path = &reference.path.dotted;
                        refuse(format!("{path}: references `{target}`, which is no entity; known are: {}", known.join(", ")));
                    }
                }
            }
            for field in all_fields(&entity.record) {
                let Some(name) = &field.vocabulary else { continue };
                if !self.vocabularies.iter().any(|(_, known)| known.name == *name) {
                    let known: Vec<&str> = self.vocabularies.iter().map(|(_, known)| known.name.as_str()).collect();
                    refuse(format!("{}: there is no vocabulary `{name}`; known are: {}", field.name, known.join(", ")));
                }
            }
        }
        self.problems.extend(problems);
    }

    /// No two lists share a table, and none has an entity's.
    fn check_list_names(&mut self) {
        let is_entity = |name: &str| self.entities.iter().any(|(_, entity)| entity.name == name);
        let mut owners: HashMap<String, &str> = HashMap::new();
        let mut problems = Vec::new();
        for (file, entity) in &self.entities {
            for (column, item) in entity.lists() {
                let name = list_name(is_entity, entity, column, item);
                let other = if is_entity(&name) { Some(name.as_str()) } else { owners.insert(name.clone(), &entity.name) };
                if let Some(other) = other {
                    let (column, record) = (&column.name, &item.name);
                    let problem =
                        format!("{column}: its table `{name}` already is one of `{other}`; rename the record `{record}`");
                    problems.push(SchemaError { file: file.clone(), problem });
                }
            }
        }
        self.problems.extend(problems);
    }

    fn check_file_names(&mut self) {
        let mut owners: HashMap<&str, &str> = HashMap::new();
        let mut problems = Vec::new();
        for (file, entity) in &self.entities {
            for name in entity.file.iter().flat_map(|form| &form.names) {
                if let Some(other) = owners.insert(name, &entity.name)
                    && other != entity.name
                {
                    let problem = format!("files named `{name}` already are those of `{other}`; name another in `file.names`");
                    problems.push(SchemaError { file: file.clone(), problem });
                }
            }
        }
        self.problems.extend(problems);
    }
}

fn list_name(is_entity: impl Fn(&str) -> bool, entity: &Entity, column: &Column, item: &RecordType) -> String {
    if is_entity(&item.name) { format!("{}_{}", entity.name, column.name) } else { item.name.clone() }
}

/// All fields of a record, also those inside nested records and arrays.
fn all_fields(record: &RecordType) -> Vec<&Field> {
    let mut fields = Vec::new();
    for field in &record.fields {
        fields.push(field);
        let mut kind = &field.kind;
        while let FieldType::Array(items) = kind {
            kind = items;
        }
        if let FieldType::Record(nested) = kind {
            fields.extend(all_fields(nested));
        }
    }
    fields
}

#[cfg(test)]
mod tests;
