//! The attributes that our `.avsc` files carry: on the record under `"tidemark"`, on a field beside Avro's own.
//!
//! Guarantees: only known attributes pass; a misspelt one is refused with the list of those that exist, so that nothing is
//! silently without effect. Relies on nothing but JSON values. What the attributes *refer* to (fields, entities, vocabularies)
//! is checked by [`crate::compile`] and [`crate::catalog`], which know them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What may stand on a field beside what Avro defines.
pub const FIELD_ATTRIBUTES: [&str; 10] =
    ["title", "references", "edge", "vocabulary", "pii", "unit", "required", "codes", "format", "range"];

/// What Avro itself defines on a field. `aliases` also are names under which the field arrives in files.
pub const AVRO_FIELD_ATTRIBUTES: [&str; 6] = ["name", "type", "default", "doc", "order", "aliases"];

/// All attributes of a record, as they stand under `"tidemark"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordAttributes {
    /// Field path or list of them.
    pub key: OneOrMany,
    /// Field path of the institution code.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Chinese display name.
    pub title: String,
    /// How changes are spread over partitions.
    #[serde(default)]
    pub log: Log,
    /// Left out: the entity's name and its plural; `null`: the entity does not come from files.
    #[serde(default, deserialize_with = "present")]
    pub file: Option<Option<FileForm>>,
    /// Relational attributes.
    #[serde(default)]
    pub relational: Relational,
    /// A vertex unless said otherwise.
    #[serde(default = "vertex")]
    pub graph: Graph,
    /// The point made of a record.
    #[serde(default)]
    pub vector: Option<Vector>,
    /// Analytics attributes.
    #[serde(default)]
    pub analytics: Analytics,
}

fn vertex() -> Graph {
    Graph::Vertex
}

/// Tells a `null` (`Some(None)`) from an absent attribute (`None`).
fn present<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Option<FileForm>>, D::Error> {
    Option::<FileForm>::deserialize(input).map(Some)
}

/// One field path, or several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// `"customer_code"`.
    One(String),
    /// `["source_type", "source_code"]`.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them, in order.
    pub fn paths(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }
}

/// `log`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Path of the field whose value chooses the partition; the key where left out.
    pub partition_by: Option<String>,
}

/// `file`: how files of the entity are named and when they are read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileForm {
    /// Name stems: `customers`, `medical_products` (without hint and `.json`).
    pub names: Vec<String>,
    /// Place in the reading order: institutions 10, staff 20, projects 30, products 40, customers 50, consumption 60,
    /// write-offs 70, relations 80; an added entity that says nothing 90.
    #[serde(default = "order_default")]
    pub order: u32,
}

fn order_default() -> u32 {
    90
}

/// `relational`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relational {
    /// Column for list partitions.
    pub partition_by: Option<String>,
}

/// `graph`: what the entity is in the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Graph {
    /// A vertex with the entity's own name as tag.
    Vertex,
    /// The entity itself is an edge.
    Edge(EdgeShape),
}

/// How an entity that is an edge names its ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeShape {
    /// Field with the source's entity (lower-cased), field with its key.
    pub from: (String, String),
    /// The same for the target.
    pub to: (String, String),
    /// Field whose value (lower-cased) is the edge's type; the entity's name where left out.
    #[serde(rename = "type")]
    pub edge_type: Option<String>,
}

/// `vector`: the point made of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// `customer_profiles`.
    pub collection: String,
    /// Text with `{field.path}` holes; a line whose holes are all empty is left out.
    pub text: String,
    /// Column names that go into the payload.
    pub payload: Vec<String>,
}

/// `analytics`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analytics {
    /// Sort key of the table; the entity's key where left out.
    #[serde(default)]
    pub order_by: Vec<String>,
    /// Partition expression over what cannot change for a key.
    pub partition_by: Option<String>,
}

/// `references` on a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Name of the edge type: attribute `edge`.
    pub edge: String,
    /// Which entity.
    pub target: Target,
}

/// The entity that a reference points to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Always this one.
    Entity(String),
    /// It depends on another field of the same record: `{by: item_type, PROJECT: project, PRODUCT: product}`. A value that is
    /// not listed references nothing.
    By {
        /// The deciding field.
        field: String,
        /// Its value → entity.
        cases: BTreeMap<String, String>,
    },
}

/// The attributes of one field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldAttributes {
    /// Chinese title.
    pub title: String,
    /// What the field points to.
    pub reference: Option<Reference>,
    /// Name of the code list.
    pub vocabulary: Option<String>,
    /// Kind of personal data.
    pub pii: Option<String>,
    /// `CNY`, `minutes` …
    pub unit: Option<String>,
    /// A live row must have a value.
    pub required: bool,
    /// Closed list of codes.
    pub codes: Option<Vec<String>>,
    /// Pattern of the text.
    pub format: Option<String>,
    /// Inclusive bounds.
    pub range: Option<(i64, i64)>,
    /// Other names of the field.
    pub aliases: Vec<String>,
}

impl FieldAttributes {
    /// Reads the attributes of a field; gives what is wrong with them, each with its remedy.
    pub fn read(field: &Map<String, Value>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        for name in field.keys() {
            if !FIELD_ATTRIBUTES.contains(&name.as_str()) && !AVRO_FIELD_ATTRIBUTES.contains(&name.as_str()) {
                problems.push(format!("unknown attribute `{name}`; known are: {}", FIELD_ATTRIBUTES.join(", ")));
            }
        }
        let attributes = Self {
            title: take(field, "title", &mut problems).unwrap_or_default(),
            reference: read_reference(field, &mut problems),
            vocabulary: take(field, "vocabulary", &mut problems),
            pii: take(field, "pii", &mut problems),
            unit: take(field, "unit", &mut problems),
            required: take(field, "required", &mut problems).unwrap_or(false),
            codes: take(field, "codes", &mut problems),
            format: take(field, "format", &mut problems),
            range: take(field, "range", &mut problems),
            aliases: take(field, "aliases", &mut problems).unwrap_or_default(),
        };
        if attributes.title.is_empty() && !field.contains_key("title") {
            problems.push("has no `title`; add the name that people should see".to_owned());
        }
        if problems.is_empty() { Ok(attributes) } else { Err(problems) }
    }
}

fn take<T: serde::de::DeserializeOwned>(field: &Map<String, Value>, name: &str, problems: &mut Vec<String>) -> Option<T> {
    let value = field.get(name)?;
    match T::deserialize(value) {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(format!("attribute `{name}`: {error}"));
            None
        }
    }
}

fn read_reference(field: &Map<String, Value>, problems: &mut Vec<String>) -> Option<Reference> {
    let edge: Option<String> = take(field, "edge", problems);
    let Some(references) = field.get("references") else {
        if edge.is_some() {
            problems.push("has `edge` but no `references`; add the entity that it points to".to_owned());
        }
        return None;
    };
    let Some(target) = read_target(references) else {
        problems.push("`references` must be an entity's name or {\"by\": FIELD, VALUE: ENTITY, …}, all of them texts".to_owned());
        return None;
    };
    let Some(edge) = edge else {
        problems.push("has `references` but no `edge`; add the name of the edge, such as `belongs_to_institution`".to_owned());
        return None;
    };
    Some(Reference { edge, target })
}

fn read_target(references: &Value) -> Option<Target> {
    if let Value::String(entity) = references {
        return Some(Target::Entity(entity.clone()));
    }
    let mut cases: BTreeMap<String, String> = BTreeMap::deserialize(references).ok()?;
    let field = cases.remove("by")?;
    (!cases.is_empty()).then_some(Target::By { field, cases })
}
