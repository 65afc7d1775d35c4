//! Records as points: which entities have one, and what it is made of.
//!
//! What every vector store derives its points from, so that all hold the same ones: an id, a text (embedded only when it differs
//! from the one that the stored vector was made of), a payload for filters and readers. A deleted record keeps its point, marked.
//!
//! Relies on the embedder's identity being part of what an entity is derived by ([`derivation`]): another embedder makes every
//! point anew. The stores' own book-keeping (version, mark of deletion, hash of the text) is theirs to place.

mod embedding;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_schemas::entity::{Column, FieldType};
use tidemark_schemas::{Catalog, Cell, Entity, State};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

pub use embedding::{embed, embed_query};

use crate::template::Template;

/// Our own name space for point ids; fixed for ever.
const POINT_SPACE: Uuid = Uuid::from_u128(0x7469_6465_6d61_726b_0002_706f_696e_7473);

/// An entity that becomes points.
#[derive(Debug)]
pub struct PointKind {
    /// The entity.
    pub entity: Arc<Entity>,
    /// The collection that its points are in.
    pub collection: String,
    template: Template,
    payload: Vec<Payload>,
}

/// A column that goes into the payload.
#[derive(Debug)]
struct Payload {
    /// Index among the entity's columns.
    column: usize,
    /// Under which name it stands there in whole fen too.
    fen: Option<String>,
}

/// A value of a payload.
#[derive(Debug)]
pub enum PayloadValue<'r> {
    /// A text as it is.
    Text(&'r str),
    /// A whole number: an amount in fen.
    Int(i64),
    /// A cell of the row with its type; never null.
    Cell(&'r FieldType, &'r Cell<'r>),
}

/// The entities of a catalog that become points, by name. An error says what is wrong with a template.
pub fn kinds(catalog: &Catalog) -> Result<BTreeMap<String, PointKind>, String> {
    let mut kinds = BTreeMap::new();
    for entity in catalog.entities() {
        let (Some(vector), Some(template)) = (&entity.vector, Template::try_new(entity)?) else { continue };
        let payload = vector.payload.iter().filter_map(|name| Payload::of(entity, name)).collect();
        let kind = PointKind { entity: Arc::clone(entity), collection: vector.collection.clone(), template, payload };
        kinds.insert(entity.name.clone(), kind);
    }
    Ok(kinds)
}

impl Payload {
    fn of(entity: &Entity, name: &str) -> Option<Self> {
        let column = entity.columns.iter().position(|column| column.name == name)?;
        let is_money = matches!(entity.field(entity.columns[column].number).kind, FieldType::Decimal { scale: 2, .. });
        Some(Self { column, fen: is_money.then(|| format!("{name}_fen")) })
    }
}

impl PointKind {
    /// The id of a record's point: UUIDv5 of `<entity>:<key>`.
    pub fn id(&self, key: &str) -> Uuid {
        point_id(&self.entity.name, key)
    }

    /// What is embedded.
    pub fn text(&self, state: &State<'_>) -> String {
        let mut text = String::new();
        self.template.write(state, &mut text);
        text
    }

    /// The columns that go into the payload, each with the name under which it stands there in whole fen too, if it is money.
    pub fn columns(&self) -> impl Iterator<Item = (&Column, Option<&str>)> {
        self.payload.iter().map(|payload| (&self.entity.columns[payload.column], payload.fen.as_deref()))
    }

    /// Calls for every field of a record's payload, in order: `key`, `entity`, `tenant`, then the columns that are not null.
    pub fn each_field<'r>(&'r self, state: &'r State<'r>, mut call: impl FnMut(&'r str, PayloadValue<'r>)) {
        call("key", PayloadValue::Text(&state.key));
        call("entity", PayloadValue::Text(&self.entity.name));
        if let Some(tenant) = &state.tenant {
            call("tenant", PayloadValue::Text(tenant));
        }
        for (column, fen) in self.columns() {
            let cell = column.path.get(&state.row);
            if cell.is_null() {
                continue;
            }
            call(&column.name, PayloadValue::Cell(&self.entity.field(column.number).kind, cell));
            if let (Some(name), Cell::Decimal(value)) = (fen, cell)
                && let Ok(fen) = i64::try_from(value.mantissa())
            {
                call(name, PayloadValue::Int(fen));
            }
        }
    }
}

/// The id of a record's point: UUIDv5 of `<entity>:<key>`.
pub fn point_id(entity: &str, key: &str) -> Uuid {
    Uuid::new_v5(&POINT_SPACE, format!("{entity}:{key}").as_bytes())
}

/// What says whether a stored vector still fits: a hash over the embedder's identity and the text.
pub fn text_hash(embedder: &str, text: &str) -> i64 {
    let mut hasher = Xxh3::new();
    hasher.update(embedder.as_bytes());
    hasher.update(&[0]);
    hasher.update(text.as_bytes());
    hasher.digest().cast_signed()
}

/// What an entity's points are derived by: schema and embedder, and the store's own `format`.
pub fn derivation(entity: &Entity, embedder: &str, format: u64) -> u64 {
    entity.derivation ^ format ^ text_hash(embedder, "").cast_unsigned()
}
