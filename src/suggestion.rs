//! What was probably meant by a name that is not known.

/// The name that differs least from `written`, if it differs little enough to be a typing error.
pub(crate) fn nearest<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let best = names.map(|name| (strsim::damerau_levenshtein(name, written), name)).min()?;
    // A third of the letters wrong is no typing error any more.
    (best.0 * 3 <= written.len()).then_some(best.1)
}
