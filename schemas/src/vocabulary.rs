//! Vocabularies: code lists with aliases, as data in `schemas/vocabularies/*.json`.
//!
//! Guarantees: one arrived text means one code (a list in which it could mean two does not load); case and surrounding
//! blanks do not matter. An unknown code is no error here: whoever asks keeps it as it stands and counts a warning.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// One code list.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// `vip_level`.
    pub name: String,
    /// Chinese name: `会员等级`.
    pub title: String,
    /// The codes, in the order of the file.
    pub codes: Vec<Code>,
    /// Lower-cased code or alias → index into `codes`.
    meanings: HashMap<String, usize>,
}

/// One code of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Canonical: `GOLD`.
    pub code: String,
    /// Chinese: `金卡会员`.
    pub title: String,
    /// What else it is called in files.
    #[serde(default)]
    pub aliases: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VocabularyFile {
    name: String,
    title: String,
    codes: Vec<Code>,
}

impl Vocabulary {
    /// Reads a vocabulary file's text. The error says what is wrong and what to do.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: VocabularyFile = serde_json::from_str(text)
            .map_err(|error| format!("{error}; a vocabulary is {{name, title, codes: [{{code, title, aliases}}]}}"))?;
        if file.codes.is_empty() {
            return Err("has no codes; list at least one".to_owned());
        }
        let mut meanings = HashMap::new();
        for (index, code) in file.codes.iter().enumerate() {
            for word in std::iter::once(&code.code).chain(&code.aliases) {
                let known = meanings.insert(fold_case(word), index);
                if let Some(other) = known
                    && other != index
                {
                    let other = &file.codes[other].code;
                    return Err(format!("`{word}` means both {other} and {}; leave it to one of them", code.code));
                }
            }
        }
        Ok(Self { name: file.name, title: file.title, codes: file.codes, meanings })
    }

    /// The canonical code of what arrived (a code in any case, or an alias, blanks around it ignored); `None` = not in the
    /// list.
    pub fn canonical(&self, arrived: &str) -> Option<&str> {
        let trimmed = arrived.trim();
        // A code as it stands is the usual case and costs no allocation.
        if let Some(code) = self.codes.iter().find(|code| code.code == trimmed) {
            return Some(&code.code);
        }
        let index = self.meanings.get(&fold_case(trimmed))?;
        Some(&self.codes[*index].code)
    }
}

fn fold_case(word: &str) -> String {
    word.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::Vocabulary;

    const LEVELS: &str = r#"{"name": "level", "title": "等级", "codes": [
        {"code": "GOLD", "title": "金卡", "aliases": ["金卡", "Au"]}, {"code": "SILVER", "title": "银卡"}]}"#;

    #[test]
    fn a_code_in_any_case_or_an_alias_is_found() {
        let levels = Vocabulary::parse(LEVELS).unwrap();
        for arrived in ["GOLD", "gold", " Gold ", "金卡", "AU", "\u{3000}金卡"] {
            assert_eq!(levels.canonical(arrived), Some("GOLD"), "{arrived}");
        }
        assert_eq!(levels.canonical("BRONZE"), None);
        assert_eq!(levels.canonical(""), None);
    }

    #[test]
    fn an_alias_of_two_codes_is_refused() {
        let text = LEVELS.replace(r#""title": "银卡"}"#, r#""title": "银卡", "aliases": ["au"]}"#);
        assert_eq!(Vocabulary::parse(&text).unwrap_err(), "`au` means both GOLD and SILVER; leave it to one of them");
    }

    #[test]
    fn an_unknown_attribute_is_refused() {
        let text = LEVELS.replace("\"title\": \"银卡\"", "\"label\": \"银卡\"");
        assert!(Vocabulary::parse(&text).unwrap_err().contains("unknown field `label`"));
    }
}
