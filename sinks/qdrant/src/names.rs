//! Names on the server: what readers ask for, what stands behind it, and what is ours.
//!
//! `customer_profiles` is an alias of a collection `customer_profiles_5f0c92ab`. The eight digits are drawn anew whenever a
//! collection is made, so a name says which one it is: a position that speaks of another is of no use. Whatever is named so, and
//! the store's own `tidemark_meta`, is ours; nothing else is touched. All under the configured prefix.

use uuid::Uuid;

/// Digits of a collection's name that are drawn.
const DRAWN: usize = 8;

#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The collection of the store's own records.
    pub(crate) fn meta(&self) -> String {
        format!("{}tidemark_meta", self.prefix)
    }

    /// What readers call a collection.
    pub(crate) fn alias(&self, collection: &str) -> String {
        format!("{}{collection}", self.prefix)
    }
}

/// A name that was never used.
pub(crate) fn draw(alias: &str) -> String {
    let mut drawn = Uuid::new_v4().simple().to_string();
    drawn.truncate(DRAWN);
    format!("{alias}_{drawn}")
}

/// Whether a collection is one of ours behind this alias.
pub(crate) fn is_behind(alias: &str, physical: &str) -> bool {
    let drawn = physical.strip_prefix(alias).and_then(|rest| rest.strip_prefix('_'));
    drawn.is_some_and(|drawn| drawn.len() == DRAWN && drawn.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::{Names, draw, is_behind};

    #[test]
    fn ours_are_told_from_others() {
        let alias = Names::new("clinic_").alias("customer_profiles");
        assert_eq!(alias, "clinic_customer_profiles");
        let drawn = draw(&alias);
        assert!(is_behind(&alias, &drawn), "{drawn}");
        assert_ne!(drawn, draw(&alias));
        for other in [
            "clinic_customer_profiles",
            "clinic_customer_profiles_",
            "clinic_customer_profiles_2024",
            "clinic_customer_profiles_backup_1",
            "clinic_customer_profiles_0123456g",
            "customer_profiles_01234567",
        ] {
            assert!(!is_behind(&alias, other), "{other}");
        }
    }
}
