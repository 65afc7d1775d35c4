//! Configuration: one optional file, the environment over it, every key in one reference table.
//!
//! Three steps. [`mod@load`] reads the file, the environment and the files that hold secrets into a [`raw::Raw`]: text by path, with
//! the place that it came from. [`mod@valid`] is pure and turns that into a [`Configuration`], or into the list of everything that is
//! wrong with it. Nothing is opened here. [`mod@reference`] is the table that both judge by, and that `config schema` and
//! `docs/configuration.md` print.

pub(crate) mod load;
pub(crate) mod raw;
pub(crate) mod reference;
pub(crate) mod stores;
pub(crate) mod valid;

pub(crate) use load::load;
pub(crate) use valid::Configuration;

use std::fmt;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// `tidemark.toml:3`, `TIDEMARK__HTTP__LISTEN`; empty when it stands nowhere (a key that is missing).
    pub(crate) place: String,
    /// Path of the key: `http.listen`; empty when the file as a whole is wrong.
    pub(crate) path: String,
    /// What is wrong and what to do.
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.path] {
            if !part.is_empty() {
                write!(out, "{part}: ")?;
            }
        }
        out.write_str(&self.text)
    }
}

/// Everything that is wrong, one problem a line.
#[derive(Debug, thiserror::Error)]
#[error("the configuration does not hold:\n{}", .0.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

#[cfg(test)]
mod tests;
