//! No bytes make decoding panic, or take more memory than a small multiple of their length.

use super::*;
use crate::codec::wire::{put_bytes, put_long};

fn header(fingerprint: u64) -> Vec<u8> {
    [&[0xC3, 0x01], fingerprint.to_le_bytes().as_slice()].concat()
}

#[test]
fn bytes_of_something_else_are_named_as_such() {
    let catalog = Catalog::built_in();
    let entity = catalog.entity("institution").unwrap();
    for bytes in [b"".as_slice(), b"{}", b"\xC3\x01short"] {
        assert_eq!(decode_change(&catalog, entity, bytes), Err(DecodeError::Header));
    }
    assert_eq!(decode_change(&catalog, entity, &header(7)), Err(DecodeError::UnknownSchema(7)));
    let state_header = header(entity.state_envelope.fingerprint);
    assert_eq!(
        decode_change(&catalog, entity, &state_header),
        Err(DecodeError::UnknownSchema(entity.state_envelope.fingerprint)),
        "a state is no change"
    );
}

#[test]
fn a_record_that_is_cut_or_followed_by_more_is_damaged() {
    let catalog = Catalog::built_in();
    let entity = catalog.entity("institution").unwrap();
    let bytes = encoded_change(entity, &a_change());
    for length in 10..bytes.len() {
        assert!(matches!(decode_change(&catalog, entity, &bytes[..length]), Err(DecodeError::Damaged(_))), "{length}");
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    assert_eq!(decode_change(&catalog, entity, &longer), Err(DecodeError::Damaged("bytes after its end")));
}

#[test]
fn an_insert_without_a_row_is_damaged() {
    let catalog = Catalog::built_in();
    let entity = catalog.entity("institution").unwrap();
    let bytes = encoded_change(entity, &Change { row: None, ..a_change() });
    assert_eq!(decode_change(&catalog, entity, &bytes), Err(DecodeError::Damaged("an insert or update has no row")));
}

#[test]
fn a_claimed_length_is_not_believed() {
    let catalog = Catalog::built_in();
    let entity = catalog.entity("institution").unwrap();
    for claimed in [i64::MAX, i64::MIN, -1, 1 << 40, i64::from(i32::MAX)] {
        let mut text = header(entity.change_envelope.fingerprint);
        put_long(claimed, &mut text);
        assert!(matches!(decode_change(&catalog, entity, &text), Err(DecodeError::Damaged(_))));
        let mut mask = header(entity.change_envelope.fingerprint);
        put_bytes(b"k", &mut mask);
        mask.push(0);
        put_long(0, &mut mask);
        put_long(claimed, &mut mask);
        put_long(claimed, &mut mask);
        assert!(matches!(decode_change(&catalog, entity, &mask), Err(DecodeError::Damaged(_))));
    }
}

#[test]
fn any_bytes_after_the_header_decode_or_are_refused() {
    let catalog = Catalog::built_in();
    for entity in catalog.entities() {
        let (change, state) = (header(entity.change_envelope.fingerprint), header(entity.state_envelope.fingerprint));
        proptest!(ProptestConfig::with_cases(256), |(body in prop::collection::vec(any::<u8>(), 0..200))| {
            let _ = decode_change(&catalog, entity, &[change.as_slice(), &body].concat());
            let _ = decode_state(&catalog, entity, &[state.as_slice(), &body].concat());
        });
    }
}

#[test]
fn a_record_with_bytes_changed_decodes_or_is_refused() {
    let catalog = Catalog::built_in();
    for entity in catalog.entities() {
        let places = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
        proptest!(ProptestConfig::with_cases(128), |(change in any_change(entity), state in any_state(entity), places in places)| {
            for mut bytes in [encoded_change(entity, &change), encoded_state(entity, &state)] {
                for (place, byte) in &places {
                    let place = 10 + place.index(bytes.len() - 10);
                    bytes[place] = *byte;
                }
                let _ = decode_change(&catalog, entity, &bytes);
                let _ = decode_state(&catalog, entity, &bytes);
            }
        });
    }
}
