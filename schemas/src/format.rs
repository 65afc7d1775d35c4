//! Formats of codes: whether a text has the shape that attribute `format` of a field asks for.
//!
//! A format is literal text with holes: `<institution>` (one or more characters, the institution's code), `<digits>` (one or
//! more ASCII digits), `<yyyymmdd>` (eight digits that are a date); `|` parts alternatives. Pure text work: it knows no
//! institutions, it only says which part of the text names one.

/// A text that has the shape of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'t> {
    /// What stands in the hole `<institution>`, if the format has one.
    pub institution: Option<&'t str>,
}

/// Whether `text` as a whole has the shape of `format`, and which institution it names.
pub fn matches<'t>(format: &str, text: &'t str) -> Option<Match<'t>> {
    format.split('|').find_map(|alternative| match_rest(alternative, text, Match { institution: None }))
}

/// What is wrong with the format itself.
pub fn check(format: &str) -> Result<(), String> {
    for alternative in format.split('|') {
        if alternative.is_empty() {
            return Err("an alternative is empty".to_owned());
        }
        let mut rest = alternative;
        while let Some(start) = rest.find('<') {
            let Some((hole, after)) = HOLES.iter().find_map(|hole| Some((hole, rest[start..].strip_prefix(*hole)?))) else {
                return Err(format!("unknown hole in `{alternative}`; known are {}", HOLES.join(", ")));
            };
            if *hole == INSTITUTION && after.starts_with('<') {
                return Err(format!("`{INSTITUTION}` needs literal text after it in `{alternative}`"));
            }
            rest = after;
        }
    }
    Ok(())
}

const INSTITUTION: &str = "<institution>";
const DIGITS: &str = "<digits>";
const DATE: &str = "<yyyymmdd>";
const HOLES: [&str; 3] = [INSTITUTION, DIGITS, DATE];

fn match_rest<'t>(format: &str, text: &'t str, found: Match<'t>) -> Option<Match<'t>> {
    if format.is_empty() {
        return text.is_empty().then_some(found);
    }
    if let Some(rest) = format.strip_prefix(INSTITUTION) {
        // Codes of institutions hold dashes themselves, so the longest one that lets the rest match is it.
        let ends = text.char_indices().map(|(index, character)| index + character.len_utf8());
        return ends.rev().find_map(|end| match_rest(rest, &text[end..], Match { institution: Some(&text[..end]) }));
    }
    if let Some(rest) = format.strip_prefix(DIGITS) {
        let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        return (end > 0).then(|| match_rest(rest, &text[end..], found)).flatten();
    }
    if let Some(rest) = format.strip_prefix(DATE) {
        let digits = text.get(..8).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        jiff::civil::Date::strptime("%Y%m%d", digits).ok()?;
        return match_rest(rest, &text[8..], found);
    }
    let literal = format.find('<').unwrap_or(format.len());
    match_rest(&format[literal..], text.strip_prefix(&format[..literal])?, found)
}

#[cfg(test)]
mod tests {
    use super::{Match, check, matches};

    const ORDER: &str = "<institution>-ORD-<yyyymmdd>-<digits>|<institution>-R<digits>";

    #[test]
    fn codes_of_the_seeds_match() {
        let found = Some(Match { institution: Some("BJ-HA-001") });
        assert_eq!(matches("<institution>-C<digits>", "BJ-HA-001-C0001"), found);
        assert_eq!(matches(ORDER, "BJ-HA-001-ORD-20260110-0001"), found);
        assert_eq!(matches(ORDER, "BJ-HA-001-R17"), found);
        assert_eq!(matches("<institution>-C<digits>", "北京-C-C1"), Some(Match { institution: Some("北京-C") }));
    }

    #[test]
    fn malformed_codes_do_not_match() {
        for text in ["", "-C1", "BJ-C", "BJ-C1x", "BJ-c1", "BJ-C１", "C1"] {
            assert_eq!(matches("<institution>-C<digits>", text), None, "{text}");
        }
        for text in ["BJ-ORD-20260230-1", "BJ-ORD-2026011-1", "BJ-ORD-20260110-", "BJ-R", "BJ-ORD-二零二六零一一零-1"] {
            assert_eq!(matches(ORDER, text), None, "{text}");
        }
    }

    #[test]
    fn unknown_holes_are_refused() {
        assert!(check(ORDER).is_ok());
        assert!(check("<institute>-C<digits>").unwrap_err().contains("unknown hole"));
        assert!(check("A<digits>|").is_err());
        assert!(check("<institution><digits>").is_err());
    }
}
