use std::io::{self, Read};

use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Event, RECORD_BYTES_MAX, SplitError, Splitter};

/// Gives the bytes in pieces of the given sizes, over and over.
struct Pieces<'b> {
    rest: &'b [u8],
    sizes: Vec<usize>,
    turn: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.turn % self.sizes.len()].min(out.len()).min(self.rest.len());
        self.turn += 1;
        out[..size].copy_from_slice(&self.rest[..size]);
        self.rest = &self.rest[size..];
        Ok(size)
    }
}

fn split_in(bytes: &[u8], sizes: Vec<usize>) -> Result<Vec<String>, String> {
    let mut splitter = Splitter::new(Pieces { rest: bytes, sizes, turn: 0 });
    let mut seen = Vec::new();
    loop {
        match splitter.next_event().map_err(|error| error.to_string())? {
            Event::Envelope { name, value } => seen.push(format!("{name}={value}")),
            Event::Record { index, offset, bytes: record } => {
                assert_eq!(&bytes[offset as usize..][..record.len()], record);
                seen.push(format!("{index}:{}", String::from_utf8_lossy(record)));
            }
            Event::TooLarge { index, offset, length } => seen.push(format!("{index}:large {offset}+{length}")),
            Event::End => break,
        }
    }
    assert_eq!(splitter.digest(), (Sha256::digest(bytes).into(), bytes.len() as u64));
    Ok(seen)
}

fn split(text: &str) -> Result<Vec<String>, String> {
    split_in(text.as_bytes(), vec![7])
}

#[test]
fn records_of_an_array() {
    assert_eq!(split("[]").unwrap(), Vec::<String>::new());
    assert_eq!(
        split(" [ {\"a\": \"]}\\\"\"} , 1,\"x\", null , [[]] ]\n").unwrap(),
        ["0:{\"a\": \"]}\\\"\"}", "1:1", "2:\"x\"", "3:null", "4:[[]]"]
    );
}

#[test]
fn an_envelope_wherever_its_fields_stand() {
    let expected = ["operation=\"INSERT\"", "0:{}", "1:{}", "timestamp=null"];
    assert_eq!(split("{\"operation\": \"INSERT\", \"data\": [{}, {}], \"timestamp\": null}").unwrap(), expected);
    let first = split("{\"d\\u0061ta\":[{}],\"operation\":{\"a\":[1]}}").unwrap();
    assert_eq!(first, ["0:{}", "operation={\"a\":[1]}"]);
}

#[test]
fn a_byte_order_mark_is_accepted() {
    assert_eq!(split("\u{feff}[1]").unwrap(), ["0:1"]);
    assert_eq!(split_in("\u{feff}[1]".as_bytes(), vec![1]).unwrap(), ["0:1"]);
}

#[test]
fn what_is_malformed_is_named_with_its_place() {
    let table = [
        ("", "the file is empty at line 1, column 1"),
        ("\u{feff}", "the file is empty at line 1, column 4"),
        ("7", "expected `[` or `{` at line 1, column 1"),
        ("[1,]", "expected a record at line 1, column 4"),
        ("[1 2]", "expected `,` or `]` at line 1, column 4"),
        ("[1]\n[2]", "expected the end of the file at line 2, column 1"),
        ("[\n {\"a\": 1,\n", "the file ends too early: expected a record at line 3, column 1"),
        ("{\"a\":1}", "the envelope has no `data` at line 1, column 8"),
        ("{\"data\":{}}", "`data` must be an array of records at line 1, column 9"),
        ("{\"data\":[],\"data\":[]}", "the envelope has two fields `data` at line 1, column 18"),
        ("{\"a\":\n trx,\"data\":[]}", "expected ident at line 2, column 4"),
        ("{\"a\" 1}", "expected `:` at line 1, column 6"),
        ("{,}", "expected a field name or `}` at line 1, column 2"),
    ];
    for (text, problem) in table {
        assert_eq!(split(text).unwrap_err(), problem, "{text}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let mut bytes = b"[\"a\",\n\"".to_vec();
    bytes.extend([0xC4, 0xE3]);
    bytes.extend(b"\"]");
    let error = split_in(&bytes, vec![3]).unwrap_err();
    assert_eq!(error, "not UTF-8 at line 2, column 2; save the file as UTF-8");
}

#[test]
fn a_huge_string_is_passed_over_in_little_memory() {
    let head = b"[{\"n\":1},{\"text\":\"".as_slice();
    let tail = b"\"},{\"n\":3}]".as_slice();
    let huge = io::repeat(b'x').take(100_000_000);
    let mut splitter = Splitter::new(head.chain(huge).chain(tail));
    assert!(matches!(splitter.next_event().unwrap(), Event::Record { index: 0, .. }));
    let large = splitter.next_event().unwrap();
    assert_eq!(large, Event::TooLarge { index: 1, offset: 9, length: 100_000_011 });
    assert!(matches!(splitter.next_event().unwrap(), Event::Record { index: 2, bytes: b"{\"n\":3}", .. }));
    assert!(matches!(splitter.next_event().unwrap(), Event::End));
    assert!(splitter.buffer.capacity() < 4 * RECORD_BYTES_MAX, "{}", splitter.buffer.capacity());
}

#[test]
fn the_limit_is_the_same_in_any_chunking() {
    for (extra, large) in [(0, false), (1, true)] {
        let text = format!("[\"{}\"]", "y".repeat(RECORD_BYTES_MAX - 2 + extra));
        for sizes in [vec![usize::MAX], vec![99_991]] {
            let seen = split_in(text.as_bytes(), sizes).unwrap();
            assert_eq!(seen[0].starts_with("0:large"), large);
        }
    }
}

#[test]
fn deep_nesting_is_only_brackets() {
    let deep = format!("[{}{}, 1]", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(split(&deep).unwrap().len(), 2);
}

#[test]
fn a_failing_reader_is_no_malformed_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    assert!(matches!(Splitter::new(Broken).next_event(), Err(SplitError::Read(_))));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[\"\\\\\\[\\]{}:,a医\u{1}\n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"]{0,3}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn any_chunking_gives_the_records(values in prop::collection::vec(json_value(), 0..8), pretty in any::<bool>(),
        envelope in any::<bool>(), sizes in prop::collection::vec(1usize..40, 1..4)) {
        let whole = if envelope { json!({"a": 1, "data": values, "z": {"data": [1]}}) } else { json!(values) };
        let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) }.unwrap();
        let seen = split_in(text.as_bytes(), sizes).unwrap();
        let records: Vec<Value> = seen
            .iter()
            .filter_map(|event| event.split_once(':'))
            .filter(|(index, _)| index.parse::<u64>().is_ok())
            .map(|(_, record)| serde_json::from_str(record).unwrap())
            .collect();
        prop_assert_eq!(records, values);
    }

    #[test]
    fn any_bytes_are_split_alike_or_refused_alike(text in "[\\[\\]{}\":,a1 \n\\\\]{0,30}", sizes in prop::collection::vec(1usize..5, 1..4)) {
        let whole = split_in(text.as_bytes(), vec![usize::MAX]);
        prop_assert_eq!(split_in(text.as_bytes(), sizes), whole);
    }
}
