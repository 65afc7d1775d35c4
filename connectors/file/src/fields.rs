//! A record's text taken apart into fields that borrow from it: names unescaped, values left as raw JSON.
//!
//! Guarantees: numbers stay text (nothing passes through a float), order is kept, a name that stands twice is a problem. Values
//! are not looked into, so depth does not matter. Relies on `serde_json` for the grammar.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::Problem;

/// One field of an object.
#[derive(Debug, Clone)]
pub(crate) struct Field<'r> {
    /// Unescaped.
    pub(crate) name: Cow<'r, str>,
    /// Raw JSON, blanks around it taken off.
    pub(crate) value: &'r str,
}

/// What kind of JSON value a raw text is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

/// The kind of a raw value.
pub(crate) fn kind(raw: &str) -> Kind {
    match raw.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// How many fields are compared one by one; beyond, a set finds the doubles.
const PAIRWISE_MAX: usize = 40;

/// Puts the fields of an object into `fields` (emptied first). `path` names it in problems, empty for the record itself.
pub(crate) fn object<'r>(raw: &'r str, path: &str, fields: &mut Vec<Field<'r>>) -> Result<(), Problem> {
    fields.clear();
    let mut input = serde_json::Deserializer::from_str(raw);
    let read = input.deserialize_map(Collect(fields)).and_then(|()| input.end());
    if read.is_err() {
        return Err(match path {
            "" => Problem::new("not_an_object", "the record is not an object; write {\"field\": value, …}"),
            _ => Problem::new("bad_object", format!("`{path}` is not an object; write {{\"field\": value, …}}")),
        });
    }
    match double(fields) {
        Some(name) => Err(Problem::new("duplicate_field", format!("`{}` stands twice in one object", join(path, name)))),
        None => Ok(()),
    }
}

/// The raw items of an array; `None` when it is none.
pub(crate) fn array(raw: &str) -> Option<Vec<&str>> {
    struct Items;
    impl<'r> Visitor<'r> for Items {
        type Value = Vec<&'r str>;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'r>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(item) = items.next_element::<&RawValue>()? {
                found.push(item.get());
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(raw).deserialize_seq(Items).ok()
}

/// A JSON string's text, borrowed where it has no escapes; `None` when it is no string or holds half a surrogate pair.
pub(crate) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

/// `path.name`, or the name alone at the top.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn double<'f>(fields: &'f [Field<'_>]) -> Option<&'f str> {
    if fields.len() > PAIRWISE_MAX {
        let mut seen = HashSet::with_capacity(fields.len());
        return fields.iter().map(|field| field.name.as_ref()).find(|name| !seen.insert(*name));
    }
    let earlier = |index: usize, name: &str| fields[..index].iter().any(|other| other.name == name);
    fields.iter().enumerate().find(|(index, field)| earlier(*index, &field.name)).map(|(_, field)| field.name.as_ref())
}

struct Collect<'v, 'r>(&'v mut Vec<Field<'r>>);

impl<'r> Visitor<'r> for Collect<'_, 'r> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'r>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let value = map.next_value::<&RawValue>()?.get();
            self.0.push(Field { name, value });
        }
        Ok(())
    }
}

struct Name;

impl<'r> DeserializeSeed<'r> for Name {
    type Value = Cow<'r, str>;

    fn deserialize<D: Deserializer<'r>>(self, input: D) -> Result<Cow<'r, str>, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'r> Visitor<'r> for Name {
    type Value = Cow<'r, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'r str) -> Result<Cow<'r, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'r, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Kind, array, kind, object, text};

    fn names(raw: &str) -> Result<Vec<(String, String)>, &'static str> {
        let mut fields: Vec<Field<'_>> = Vec::new();
        object(raw, "", &mut fields).map_err(|problem| problem.reason)?;
        Ok(fields.into_iter().map(|field| (field.name.into_owned(), field.value.to_owned())).collect())
    }

    #[test]
    fn values_stay_as_they_stand() {
        let found = names(r#"{ "a\u0062" : 1.50e1 , "c":{"x": [1]}, "医": "\"" }"#).unwrap();
        let expected = [("ab", "1.50e1"), ("c", r#"{"x": [1]}"#), ("医", r#""\"""#)];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_name_that_stands_twice_is_a_problem() {
        assert_eq!(names(r#"{"a":1,"\u0061":2}"#), Err("duplicate_field"));
        let many: Vec<String> = (0..100).map(|number| format!("\"n{}\":0", number % 99)).collect();
        assert_eq!(names(&format!("{{{}}}", many.join(","))), Err("duplicate_field"));
    }

    #[test]
    fn what_is_no_object_is_a_problem() {
        for raw in ["1", "[]", "\"x\"", "null", "{\"a\":}", "{} {}"] {
            assert_eq!(names(raw), Err("not_an_object"), "{raw}");
        }
    }

    #[test]
    fn depth_does_not_matter() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(names(&deep).unwrap().len(), 1);
    }

    #[test]
    fn kinds_texts_and_arrays() {
        let table =
            [("null", Kind::Null), ("true", Kind::Boolean), ("-1", Kind::Number), ("[", Kind::Array), ("{", Kind::Object)];
        for (raw, expected) in table {
            assert_eq!(kind(raw), expected);
        }
        assert_eq!(text("\"医\\n\"").unwrap(), "医\n");
        assert_eq!(text("\"\\ud800\""), None);
        assert_eq!(text("7"), None);
        assert_eq!(array("[1, \"a\", [2]]").unwrap(), ["1", "\"a\"", "[2]"]);
        assert_eq!(array("{}"), None);
    }
}
