//! Text of statements: the one place where names and values are quoted.
//!
//! Everything that is not ours goes through [`Name`] or [`push_text`]; nothing else in this crate puts a quote around anything.
//! Names stand in backticks and are plain identifiers, so no reserved word and no character of a name means anything to the
//! server. In a literal every character that its scanner treats apart is escaped: a raw line break would end the scan, and a raw
//! NUL would lose what follows it.

use std::fmt;

/// A name that may stand in backticks: `[A-Za-z_][A-Za-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Box<str>);

impl Name {
    /// `None` for anything but a plain identifier: what else backticks might hold is not agreed on between versions.
    pub(crate) fn try_new(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (begins && goes_on).then(|| Self(text.into()))
    }

    /// One of ours.
    pub(crate) fn fixed(text: &'static str) -> Self {
        Self::try_new(text).expect("names in this program are plain identifiers")
    }

    /// Without the backticks.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`", self.0)
    }
}

/// Appends a text literal.
pub(crate) fn push_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\u0000"),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A text literal.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::new();
    push_text(text, &mut out);
    out
}

/// `USE`.
pub(crate) fn use_space(space: &Name) -> String {
    format!("USE {space}")
}

/// Names, parted by commas.
pub(crate) fn list<'n>(names: impl IntoIterator<Item = &'n Name>) -> String {
    let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
    names.join(",")
}

#[cfg(test)]
mod tests;
