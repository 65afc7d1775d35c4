//! The escaper against the scanner's rules, written down a second time here as a reader.

use proptest::prelude::*;

use super::{Name, text};

/// Reads one literal at the beginning of a statement by the rules of the server's scanner; gives its bytes and what follows it.
/// `None` where the scanner would stop or lose something.
fn scan(statement: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = statement.strip_prefix(b"\"")?;
    let mut bytes = Vec::new();
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((bytes, rest)),
            b'\n' | 0 => return None,
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                rest = after;
                match escaped {
                    b'n' => bytes.push(b'\n'),
                    b't' => bytes.push(b'\t'),
                    b'r' => bytes.push(b'\r'),
                    b'b' => bytes.push(8),
                    b'f' => bytes.push(12),
                    b'u' | b'U' | b'x' | b'X' => {
                        let digits = std::str::from_utf8(rest.get(..4)?).ok()?;
                        rest = &rest[4..];
                        let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    b'0'..=b'7' => {
                        let digits = 1 + rest.iter().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                        let whole = &statement[statement.len() - rest.len() - 1..][..digits];
                        bytes.push(u8::from_str_radix(std::str::from_utf8(whole).ok()?, 8).ok()?);
                        rest = &rest[digits - 1..];
                    }
                    b'8' | b'9' => return None,
                    other => bytes.push(other),
                }
            }
            other => bytes.push(other),
        }
    }
}

proptest! {
    #[test]
    fn what_is_escaped_is_scanned_as_it_was(content in "\\PC*|[\"\\\\\n\r\t\0$`#/*'0-9nux😀医]{0,40}", after in "[ ,;)\"\\\\a-z]{0,5}") {
        let statement = format!("{}{after}", text(&content));
        let (bytes, rest) = scan(statement.as_bytes()).unwrap();
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), content);
        prop_assert_eq!(rest, after.as_bytes());
    }

    #[test]
    fn a_name_is_an_identifier_or_nothing(content in "\\PC{0,6}|[a-zA-Z0-9_`.\\\\ ]{0,6}") {
        let plain = !content.is_empty()
            && content.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
            && !content.starts_with(|character: char| character.is_ascii_digit());
        let name = Name::try_new(&content).map(|name| name.to_string());
        prop_assert_eq!(name, plain.then(|| format!("`{content}`")));
    }
}

/// All reserved words of 3.8 go as names, in backticks: there the scanner knows no keyword.
#[test]
fn reserved_words_are_names_like_others() {
    let words = "GO AS TO USE SET FROM WHERE MATCH INSERT YIELD RETURN DESCRIBE DESC VERTEX EDGE EDGES UPDATE UPSERT WHEN DELETE \
                 FIND LOOKUP ALTER STEPS STEP OVER UPTO REVERSELY INDEX INDEXES REBUILD BOOL INT8 INT16 INT32 INT64 INT FLOAT DOUBLE \
                 STRING FIXED_STRING TIMESTAMP DATE TIME DATETIME TAG TAGS UNION INTERSECT MINUS NO OVERWRITE SHOW ADD CREATE DROP \
                 REMOVE IF NOT EXISTS WITH CHANGE GRANT REVOKE ON BY IN NOT_IN DOWNLOAD GET OF ORDER INGEST COMPACT FLUSH SUBMIT ASC \
                 ASCENDING DESCENDING DISTINCT FETCH PROP BALANCE STOP LIMIT OFFSET IS NULL RECOVER EXPLAIN PROFILE FORMAT CASE UNWIND \
                 SKIP OPTIONAL GEOGRAPHY DURATION PATH LIST MAP AND OR XOR TRUE FALSE";
    for word in words.split_whitespace() {
        for word in [word.to_owned(), word.to_lowercase()] {
            assert_eq!(Name::try_new(&word).unwrap().to_string(), format!("`{word}`"));
        }
    }
}

#[test]
fn what_would_leave_its_quotes_does_not() {
    assert_eq!(text("x\"); DROP SPACE `s`; #"), "\"x\\\"); DROP SPACE `s`; #\"");
    assert_eq!(text("a\\"), "\"a\\\\\"");
    assert_eq!(text("a\nb\r\tc\0"), "\"a\\nb\\r\\tc\\u0000\"");
    for hostile in ["", "1a", "a`b", "a b", "a.b", "a\\b", "医", "a\n"] {
        assert_eq!(Name::try_new(hostile), None, "{hostile:?}");
    }
}
