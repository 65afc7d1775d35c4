//! Canonical JSON rows: without nulls, so that absent and null are one thing, as they are in a row of cells.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The value without null members and without objects that have nothing else.
pub fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept: Map<String, Value> = members
                .iter()
                .map(|(name, value)| (name.clone(), without_nulls(value)))
                .filter(|(_, value)| !value.is_null() && value != &Value::Object(Map::new()))
                .collect();
            Value::Object(kept)
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// The row after the patch: dotted path → value, null clears.
pub fn patched(row: &Value, patch: &BTreeMap<String, Value>) -> Value {
    let mut row = row.clone();
    for (path, value) in patch {
        let mut place = &mut row;
        for name in path.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[name];
        }
        *place = value.clone();
    }
    without_nulls(&row)
}

/// The patch that leads from one row to the other: nested objects member by member.
pub fn difference(before: &Value, after: &Value) -> BTreeMap<String, Value> {
    let before = leaves(before);
    let after = leaves(after);
    let gone = before.keys().filter(|path| !after.contains_key(*path)).map(|path| (path.clone(), Value::Null));
    let new = after.iter().filter(|(path, value)| before.get(*path) != Some(*value));
    gone.chain(new.map(|(path, value)| (path.clone(), value.clone()))).collect()
}

/// Dotted path → value of everything that is no object.
pub fn leaves(row: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect(row, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(value, &path, found);
            }
        }
        Value::Null => {}
        other => {
            found.insert(path.to_owned(), other.clone());
        }
    }
}

/// The parts of a composite key as one text.
pub fn join_key(parts: &[&str]) -> String {
    let escaped: Vec<String> = parts.iter().map(|part| part.replace('\\', "\\\\").replace('|', "\\|")).collect();
    escaped.join("|")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{difference, join_key, patched, without_nulls};

    #[test]
    fn a_difference_leads_from_one_row_to_the_other() {
        let before = json!({"code": "A", "person": {"name": "张", "phone": "1"}, "tags": ["x"]});
        let after = json!({"code": "A", "person": {"name": "王"}, "tags": ["x", "y"]});
        assert_eq!(patched(&before, &difference(&before, &after)), after);
        assert_eq!(difference(&before, &before).len(), 0);
    }

    #[test]
    fn absent_and_null_are_one_thing() {
        assert_eq!(without_nulls(&json!({"a": null, "b": {"c": null}, "d": [{"e": null}]})), json!({"d": [{}]}));
        assert_eq!(join_key(&["PROJECT", "A|B", "C\\"]), "PROJECT|A\\|B|C\\\\");
    }
}
