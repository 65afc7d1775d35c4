//! What stands before a record's Avro body, in both framings.
//!
//! Ours is the single-object header: `C3 01`, then the fingerprint of the schema (8 bytes, little endian). A log beside a schema
//! registry keeps its records in that registry's framing: `00`, then the registry's id of the schema (4 bytes, big endian). The
//! bodies are the same, so one is made of the other without a look at the body ([`put_frame`], [`single_object`]).
//! Deliberately not here: which id belongs to which fingerprint. Only the registry's log knows.

use super::DecodeError;
use super::wire::Input;

/// Marker of single-object encoding.
const MARKER: [u8; 2] = [0xC3, 0x01];
/// First byte of a registry's framing.
const MAGIC: u8 = 0;
/// Length of the single-object header.
pub const SINGLE_OBJECT_BYTES: usize = 10;
/// Length of a registry's framing.
pub const FRAME_BYTES: usize = 5;

/// The single-object header for a schema.
pub fn single_object(fingerprint: u64) -> [u8; SINGLE_OBJECT_BYTES] {
    let mut header = [0; SINGLE_OBJECT_BYTES];
    header[..2].copy_from_slice(&MARKER);
    header[2..].copy_from_slice(&fingerprint.to_le_bytes());
    header
}

/// The fingerprint in a single-object header; `None` when the bytes begin with something else.
pub fn fingerprint_of(bytes: &[u8]) -> Option<u64> {
    let (fingerprint, _) = bytes.strip_prefix(&MARKER)?.split_first_chunk::<8>()?;
    Some(u64::from_le_bytes(*fingerprint))
}

/// The id and the body of bytes in a registry's framing; `None` when they begin with something else.
pub fn framed(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (id, body) = bytes.strip_prefix(&[MAGIC])?.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*id), body))
}

/// Turns bytes with a single-object header into framed ones, in place. Returns how many bytes at their start are to be left away.
///
/// # Panics
/// When they are shorter than that header.
pub fn put_frame(bytes: &mut [u8], id: u32) -> usize {
    let unused = SINGLE_OBJECT_BYTES - FRAME_BYTES;
    let frame = &mut bytes[unused..SINGLE_OBJECT_BYTES];
    frame[0] = MAGIC;
    frame[1..].copy_from_slice(&id.to_be_bytes());
    unused
}

/// The fingerprint, and what follows the header.
pub(super) fn take(bytes: &[u8]) -> Result<(u64, Input<'_>), DecodeError> {
    match fingerprint_of(bytes) {
        Some(fingerprint) => Ok((fingerprint, Input::new(&bytes[SINGLE_OBJECT_BYTES..]))),
        None => Err(framed(bytes).map_or(DecodeError::Header, |(id, _)| DecodeError::Framed(id))),
    }
}

#[cfg(test)]
mod tests {
    use super::{fingerprint_of, framed, put_frame, single_object, take};
    use crate::codec::DecodeError;

    #[test]
    fn one_framing_is_made_of_the_other() {
        let mut bytes = single_object(0x0102_0304_0506_0708).to_vec();
        assert_eq!(bytes, [0xC3, 0x01, 8, 7, 6, 5, 4, 3, 2, 1]);
        bytes.extend_from_slice(b"body");
        assert_eq!(fingerprint_of(&bytes), Some(0x0102_0304_0506_0708));
        assert_eq!(framed(&bytes), None);
        let unused = put_frame(&mut bytes, 258);
        assert_eq!(bytes[unused..], [0, 0, 0, 1, 2, b'b', b'o', b'd', b'y']);
        assert_eq!(framed(&bytes[unused..]), Some((258, &b"body"[..])));
        assert_eq!(fingerprint_of(&bytes[unused..]), None);
    }

    #[test]
    fn what_is_neither_is_told_apart_from_what_is_framed() {
        for (bytes, expected) in [
            (&b""[..], DecodeError::Header),
            (b"{}", DecodeError::Header),
            (&[0xC3, 0x01, 1, 2, 3, 4, 5, 6, 7], DecodeError::Header),
            (&[0, 0, 0, 1], DecodeError::Header),
            (&[0, 0, 0, 0, 7], DecodeError::Framed(7)),
        ] {
            assert_eq!(take(bytes).unwrap_err(), expected, "{bytes:?}");
        }
    }
}
