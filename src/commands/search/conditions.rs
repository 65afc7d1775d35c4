//! `--where FIELD=VALUE`, as a person writes it, made what stands in the payloads.
//!
//! A field may be named as in the payload, by its dotted path or by an alias; another one is refused, because it would match
//! nothing without a word. A value is brought to its code where the field has a vocabulary, as the connectors do; one that the
//! vocabulary does not know is sought as it stands, since that is how it is stored. Numbers, amounts, dates and truth values are
//! brought to the form that the payload has; one that does not read as the column's type is refused, for it too would match
//! nothing. An empty value finds the points that have none.

use serde_json::Value;
use tidemark_schemas::entity::FieldType;
use tidemark_schemas::json::{cell_from_json, cell_to_json, kind_name};
use tidemark_schemas::{Catalog, Entity};

use crate::exit::UsageError;
use crate::suggestion;

/// What every payload has besides the columns that its schema names.
const ALWAYS: [&str; 3] = ["key", "entity", "tenant"];

/// A field of a collection's payloads.
struct Field<'c> {
    /// As it stands in the payload.
    name: &'c str,
    /// How else it may be named.
    other_names: Vec<&'c str>,
    vocabulary: Option<&'c str>,
    kind: &'c FieldType,
}

/// Field and value as they stand in the payloads of `collection`.
pub(super) fn resolve(
    catalog: &Catalog,
    collection: &str,
    conditions: &[(String, String)],
) -> Result<Vec<(String, String)>, UsageError> {
    let entities: Vec<&Entity> = catalog.entities().iter().map(|entity| &**entity).collect();
    let fields: Vec<Field<'_>> = entities.iter().flat_map(|entity| fields_of(entity, collection)).collect();
    conditions.iter().map(|(written, value)| resolve_one(catalog, collection, &fields, written, value)).collect()
}

fn resolve_one(
    catalog: &Catalog,
    collection: &str,
    fields: &[Field<'_>],
    written: &str,
    value: &str,
) -> Result<(String, String), UsageError> {
    let is_fen = |field: &Field<'_>| written.strip_suffix("_fen") == Some(field.name);
    if ALWAYS.contains(&written) {
        return Ok((written.to_owned(), value.to_owned()));
    }
    if fields.iter().any(is_fen) {
        let stored = stored_as(&FieldType::Int { range: None }, value).map_err(|kind| misfit(written, value, kind))?;
        return Ok((written.to_owned(), stored));
    }
    // The payload's own name counts before what it is also called: two entities of a collection may differ in the latter.
    let by_name: Vec<&Field<'_>> = fields.iter().filter(|field| field.name == written).collect();
    let meant = match by_name.is_empty() {
        true => fields.iter().filter(|field| field.other_names.contains(&written)).collect(),
        false => by_name,
    };
    let Some(first) = meant.first() else { return Err(unknown(collection, fields, written)) };
    let code = meant.iter().find_map(|field| code_of(catalog, field, value));
    if code.is_none() && meant.iter().any(|field| field.vocabulary.is_some()) {
        let known = meant.iter().find_map(|field| catalog.vocabulary(field.vocabulary?));
        let codes: Vec<&str> = known.iter().flat_map(|list| &list.codes).map(|code| code.code.as_str()).collect();
        tracing::warn!(
            field = first.name,
            codes = codes.join(", "),
            "the value is none of the field's codes; it is sought as it stands"
        );
    }
    if let Some(code) = code {
        return Ok((first.name.to_owned(), code.to_owned()));
    }
    // Two entities of a collection may give one name to two types.
    let stored = meant.iter().find_map(|field| stored_as(field.kind, value).ok());
    let stored = stored.ok_or_else(|| misfit(written, value, kind_name(item_of(first.kind))))?;
    Ok((first.name.to_owned(), stored))
}

/// The value as a payload has it; what it should be where it does not read as that.
fn stored_as(kind: &FieldType, value: &str) -> Result<String, &'static str> {
    let kind = item_of(kind);
    let parsed = match kind {
        FieldType::Text { .. } => return Ok(value.to_owned()),
        _ if value.is_empty() => return Ok(String::new()),
        FieldType::Bool | FieldType::Int { .. } => serde_json::from_str(value.trim()).map_err(|_| kind_name(kind))?,
        _ => Value::from(value.trim()),
    };
    let cell = cell_from_json(kind, &parsed).map_err(|_| kind_name(kind))?;
    match cell_to_json(kind, &cell) {
        Value::String(text) => Ok(text),
        Value::Array(_) | Value::Object(_) => Err("one of its parts, which cannot be searched for"),
        scalar => Ok(scalar.to_string()),
    }
}

/// An array has a value when one of its items is it.
fn item_of(kind: &FieldType) -> &FieldType {
    if let FieldType::Array(items) = kind { items } else { kind }
}

fn misfit(written: &str, value: &str, kind: &str) -> UsageError {
    UsageError(format!("--where {written}: `{value}` does not read as {kind}"))
}

/// The code that is stored for a value: of the code in any case, an alias or the label.
fn code_of<'c>(catalog: &'c Catalog, field: &Field<'_>, value: &str) -> Option<&'c str> {
    let vocabulary = catalog.vocabulary(field.vocabulary?)?;
    let labelled = || vocabulary.codes.iter().find(|code| code.title == value.trim()).map(|code| code.code.as_str());
    vocabulary.canonical(value).or_else(labelled)
}

fn fields_of<'c>(entity: &'c Entity, collection: &str) -> Vec<Field<'c>> {
    let Some(vector) = entity.vector.as_ref().filter(|vector| vector.collection == collection) else { return Vec::new() };
    let columns = vector.payload.iter().filter_map(|name| entity.columns.iter().find(|column| column.name == *name));
    columns
        .map(|column| {
            let field = entity.field(column.number);
            let other_names = std::iter::once(&column.path.dotted).chain(&field.aliases).map(String::as_str).collect();
            Field { name: &column.name, other_names, vocabulary: field.vocabulary.as_deref(), kind: &field.kind }
        })
        .collect()
}

fn unknown(collection: &str, fields: &[Field<'_>], written: &str) -> UsageError {
    let mut names: Vec<&str> = fields.iter().map(|field| field.name).chain(ALWAYS).collect();
    names.sort_unstable();
    names.dedup();
    let meant = suggestion::nearest(written, names.iter().copied());
    let meant = meant.map_or_else(String::new, |name| format!("did you mean `{name}`? "));
    UsageError(format!("--where {written}: {meant}The payloads of {collection} have {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(collection: &str, field: &str, value: &str) -> Result<(String, String), String> {
        let conditions = [(field.to_owned(), value.to_owned())];
        let found = resolve(&Catalog::built_in(), collection, &conditions).map_err(|error| error.to_string())?;
        Ok(found.into_iter().next().unwrap())
    }

    #[test]
    fn fields_and_values_are_brought_to_what_is_stored() {
        let stored = |field: &str, value: &str| Ok((field.to_owned(), value.to_owned()));
        for value in ["GOLD", "gold", "金卡", "金卡会员", "黄金"] {
            assert_eq!(resolved("customer_profiles", "vip_level", value), stored("vip_level", "GOLD"));
        }
        assert_eq!(resolved("customer_profiles", "membership_level", "金卡"), stored("vip_level", "GOLD"));
        assert_eq!(resolved("customer_profiles", "person.name", "张"), stored("person_name", "张"));
        assert_eq!(resolved("customer_profiles", "vip_level", "BRONZE"), stored("vip_level", "BRONZE"));
        assert_eq!(resolved("medical_knowledge", "entity", "product"), stored("entity", "product"));
        assert_eq!(resolved("medical_knowledge", "standard_price_fen", "100"), stored("standard_price_fen", "100"));
    }

    #[test]
    fn values_are_brought_to_the_form_of_their_type() {
        for (collection, field, written, expected) in [
            ("medical_knowledge", "standard_price", "3600", "3600.00"),
            ("medical_knowledge", "price", "3600.5", "3600.50"),
            ("medical_knowledge", "standard_price_fen", " 360000", "360000"),
            ("medical_knowledge", "risk_level", "3", "3"),
            ("medical_knowledge", "risk_level", "", ""),
            ("customer_profiles", "first_visit_date", "2026-01-15", "2026-01-15"),
            ("customer_profiles", "tags", "VIP", "VIP"),
        ] {
            let (_, stored) = resolved(collection, field, written).unwrap();
            assert_eq!(stored, expected, "{field}={written}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (collection, field, written, kind) in [
            ("medical_knowledge", "standard_price", "dear", "a decimal"),
            ("medical_knowledge", "standard_price", "3600.001", "a decimal"),
            ("medical_knowledge", "standard_price_fen", "36.5", "a whole number"),
            ("medical_knowledge", "risk_level", "三", "a whole number"),
            ("customer_profiles", "first_visit_date", "x", "a date YYYY-MM-DD"),
            ("customer_profiles", "first_visit_date", "2026-1-5", "a date YYYY-MM-DD"),
        ] {
            let said = resolved(collection, field, written).unwrap_err();
            assert!(said.starts_with(&format!("--where {field}: `{written}` does not read as {kind}")), "{said}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_with_a_suggestion() {
        let said = resolved("customer_profiles", "vip_levle", "GOLD").unwrap_err();
        assert!(said.starts_with("--where vip_levle: did you mean `vip_level`? "), "{said}");
        let said = resolved("medical_knowledge", "vip_level", "GOLD").unwrap_err();
        assert!(said.contains("The payloads of medical_knowledge have ") && said.contains("risk_level"), "{said}");
    }
}
