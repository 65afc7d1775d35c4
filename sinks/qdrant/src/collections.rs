//! The collections that hold the points: derived from the schemas, made where they are missing, each behind its alias.
//!
//! Which collection is behind an alias stands in the store's record, noted before it is made, so that a start that was cut off is
//! finished by the next one, and two at once agree on one. Another one takes its place when it is gone though positions speak of
//! it, or when vectors have another size than they had: then the alias is moved, and what stood behind it is dropped. Aliases and
//! collections of anybody else under these names are refused.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use qdrant_client::qdrant::{CollectionInfo, Distance, FieldType, vectors_config};
use tidemark_schemas::entity::FieldType as CellType;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::points::PointKind;

use crate::client::Client;
use crate::failure::{fatal, unavailable};
use crate::names::{Names, draw, is_behind};
use crate::payload::{DELETED, TURN, VERSION};

/// What a collection is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// As the schema calls it.
    pub(crate) name: String,
    pub(crate) alias: String,
    /// Field of the payload → its index. A field that two entities have in two types has the index of the first.
    pub(crate) indexes: BTreeMap<String, FieldType>,
}

/// The collections of these entities.
pub(crate) fn wanted<'k>(names: &Names, kinds: impl Iterator<Item = &'k PointKind>) -> Vec<Wanted> {
    let mut found: BTreeMap<String, BTreeMap<String, FieldType>> = BTreeMap::new();
    for kind in kinds {
        let indexes = found.entry(kind.collection.clone()).or_insert_with(common_indexes);
        for (column, fen) in kind.columns() {
            if let Some(index) = index_of(&kind.entity.field(column.number).kind) {
                indexes.entry(column.name.clone()).or_insert(index);
            }
            if let Some(fen) = fen {
                indexes.entry(fen.to_owned()).or_insert(FieldType::Integer);
            }
        }
    }
    found.into_iter().map(|(name, indexes)| Wanted { alias: names.alias(&name), name, indexes }).collect()
}

fn common_indexes() -> BTreeMap<String, FieldType> {
    [
        ("key", FieldType::Keyword),
        ("entity", FieldType::Keyword),
        ("tenant", FieldType::Keyword),
        (VERSION, FieldType::Integer),
        (DELETED, FieldType::Bool),
        (TURN, FieldType::Integer),
    ]
    .into_iter()
    .map(|(name, kind)| (name.to_owned(), kind))
    .collect()
}

/// How a field is looked for; nothing for one that has no single value.
fn index_of(kind: &CellType) -> Option<FieldType> {
    match kind {
        CellType::Bool => Some(FieldType::Bool),
        CellType::Int { .. } => Some(FieldType::Integer),
        CellType::Text { .. } | CellType::Decimal { .. } => Some(FieldType::Keyword),
        CellType::Date | CellType::Timestamp => Some(FieldType::Datetime),
        CellType::Array(items) => index_of(items),
        CellType::Record(_) => None,
    }
}

/// What is on the server.
pub(crate) struct Found {
    collections: BTreeSet<String>,
    aliases: BTreeMap<String, String>,
}

impl Found {
    pub(crate) async fn look(client: &Client) -> Result<Self, SinkError> {
        Ok(Self { collections: client.collections().await?, aliases: client.aliases().await? })
    }

    /// Refuses what somebody else has under our names.
    pub(crate) fn refuse_others(&self, wanted: &[Wanted]) -> Result<(), SinkError> {
        const REMEDY: &str = "set `prefix` of the vector sink in the configuration, or move it away";
        for Wanted { alias, .. } in wanted {
            if self.collections.contains(alias) {
                return Err(fatal(format!("`{alias}` is a collection of another program; {REMEDY}"), "the name is taken"));
            }
            if let Some(behind) = self.aliases.get(alias).filter(|behind| !is_behind(alias, behind)) {
                let step = format!("`{alias}` is another program's alias of `{behind}`; {REMEDY}");
                return Err(fatal(step, "the name is taken"));
            }
        }
        Ok(())
    }

    /// All collections of ours.
    pub(crate) fn ours<'f>(&'f self, wanted: &'f [Wanted]) -> impl Iterator<Item = &'f String> {
        self.collections.iter().filter(|name| wanted.iter().any(|wanted| is_behind(&wanted.alias, name)))
    }
}

/// The collections that are to hold the points: those that do, where they are there and fit; else new ones. `written` are those
/// that positions speak of.
pub(crate) async fn choose(
    client: &Client,
    wanted: &[Wanted],
    known: &BTreeMap<String, String>,
    written: &BTreeSet<String>,
    dimensions: u64,
) -> Result<BTreeMap<String, String>, SinkError> {
    // One that no entity names any more stays: another release may name it.
    let mut chosen = known.clone();
    for Wanted { name, alias, .. } in wanted {
        let kept = match known.get(name) {
            Some(known) => match client.describe(known).await? {
                Some(info) => fits(&info, dimensions).then(|| known.clone()),
                None => (!written.contains(known)).then(|| known.clone()),
            },
            None => None,
        };
        chosen.insert(name.clone(), kept.unwrap_or_else(|| draw(alias)));
    }
    Ok(chosen)
}

/// Makes the chosen ones, their indexes and aliases, and drops those of ours that were not chosen.
pub(crate) async fn make(
    client: &Client,
    wanted: &[Wanted],
    chosen: &BTreeMap<String, String>,
    found: &Found,
    dimensions: u64,
) -> Result<(), SinkError> {
    for Wanted { name, alias, indexes } in wanted {
        let physical = &chosen[name];
        client.create(physical, dimensions, Distance::Cosine).await?;
        let info = expect_fitting(client, physical, dimensions).await?;
        let missing = indexes.iter().filter(|(field, _)| !info.payload_schema.contains_key(*field));
        try_join_all(missing.map(|(field, kind)| client.index(physical, field, *kind))).await?;
        if found.aliases.get(alias) != Some(physical) {
            client.point_alias(alias, physical).await?;
        }
    }
    let chosen: BTreeSet<&String> = chosen.values().collect();
    for name in found.ours(wanted).filter(|name| !chosen.contains(name)) {
        client.drop_collection(name).await?;
    }
    Ok(())
}

/// What a collection is, which must hold vectors like ours.
pub(crate) async fn expect_fitting(client: &Client, collection: &str, dimensions: u64) -> Result<CollectionInfo, SinkError> {
    match client.describe(collection).await? {
        Some(info) if fits(&info, dimensions) => Ok(info),
        _ => Err(gone(client, collection)),
    }
}

/// Says that a collection is not there as it was left.
pub(crate) fn gone(client: &Client, collection: &str) -> SinkError {
    unavailable(
        format!("using `{collection}` in {}", client.place),
        "it was dropped or replaced; it is made anew and filled again",
    )
}

fn fits(info: &CollectionInfo, dimensions: u64) -> bool {
    let config = info.config.as_ref().and_then(|config| config.params.as_ref()).and_then(|params| params.vectors_config.as_ref());
    match config.and_then(|config| config.config.as_ref()) {
        Some(vectors_config::Config::Params(params)) => {
            params.size == dimensions && params.distance() == Distance::Cosine && params.multivector_config.is_none()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::FieldType;
    use tidemark_schemas::Catalog;
    use tidemark_sink_core::points;

    use super::wanted;
    use crate::names::Names;

    #[test]
    fn collections_and_their_indexes_follow_from_the_schemas() {
        let kinds = points::kinds(&Catalog::built_in()).unwrap();
        let wanted = wanted(&Names::new("clinic_"), kinds.values());
        let names: Vec<(&str, &str)> = wanted.iter().map(|wanted| (wanted.name.as_str(), wanted.alias.as_str())).collect();
        assert_eq!(names, [("customer_profiles", "clinic_customer_profiles"), ("medical_knowledge", "clinic_medical_knowledge")]);
        for (collection, field, kind) in [
            (0, "tags", FieldType::Keyword),
            (0, "first_visit_date", FieldType::Datetime),
            (0, "tidemark_turn", FieldType::Integer),
            (1, "standard_price", FieldType::Keyword),
            (1, "standard_price_fen", FieldType::Integer),
            (1, "risk_level", FieldType::Integer),
            (1, "deleted", FieldType::Bool),
        ] {
            assert_eq!(wanted[collection].indexes.get(field), Some(&kind), "{field}");
        }
        assert!(!wanted[0].indexes.contains_key("notes"), "only what is in the payload");
    }
}
