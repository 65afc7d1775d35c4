//! Keys: one text for a record, the same in every topic and store.

use std::fmt;

/// The key of a record: the parts of its key fields joined by `|`, with `\` before a `|` or `\` inside a part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

impl Key {
    /// Joins the parts. One part without `|` and `\` is the key as it stands.
    pub fn join<'p>(parts: impl IntoIterator<Item = &'p str>) -> Self {
        let mut text = String::new();
        for (number, part) in parts.into_iter().enumerate() {
            if number > 0 {
                text.push('|');
            }
            Self::write_part(part, &mut text);
        }
        Self(text.into_boxed_str())
    }

    /// Writes one part as it stands in a key.
    pub fn write_part(part: &str, out: &mut String) {
        if !part.contains(['|', '\\']) {
            out.push_str(part);
            return;
        }
        for character in part.chars() {
            if matches!(character, '|' | '\\') {
                out.push('\\');
            }
            out.push(character);
        }
    }

    /// Takes a text that already is a key (read from a topic or a store).
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The parts that were joined; the inverse of [`Key::join`] for any text (a `\\` at the very end stands for itself).
    pub fn parts(&self) -> Vec<String> {
        let mut parts = vec![String::new()];
        let mut characters = self.0.chars();
        while let Some(character) = characters.next() {
            let literal = match character {
                '|' => {
                    parts.push(String::new());
                    continue;
                }
                '\\' => characters.next().unwrap_or('\\'),
                other => other,
            };
            if let Some(part) = parts.last_mut() {
                part.push(literal);
            }
        }
        parts
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Key;

    #[test]
    fn a_plain_part_is_the_key_as_it_stands() {
        assert_eq!(Key::join(["BJ-HA-001-C0001"]).as_str(), "BJ-HA-001-C0001");
        assert_eq!(Key::join(["PROJECT", "A|B", "C\\"]).as_str(), "PROJECT|A\\|B|C\\\\");
    }

    proptest! {
        #[test]
        fn parts_undo_join(parts in prop::collection::vec("[a|\\\\é医]{0,6}", 1..5)) {
            let key = Key::join(parts.iter().map(String::as_str));
            prop_assert_eq!(key.parts(), parts);
        }

        #[test]
        fn different_parts_make_different_keys(one in prop::collection::vec("[a|\\\\]{0,3}", 1..4), other in prop::collection::vec("[a|\\\\]{0,3}", 1..4)) {
            let keys = [&one, &other].map(|parts| Key::join(parts.iter().map(String::as_str)));
            prop_assert_eq!(keys[0] == keys[1], one == other);
        }
    }
}
