//! THeader frames: what carries a message over the connection.
//!
//! `u32 length of what follows | 0x0FFF | u16 flags | u32 sequence | u16 words of header | header | payload`, big-endian. The
//! header holds two variable-length numbers (protocol: 2 = compact; number of transforms: 0) and zeros up to four bytes: what
//! every current official client sends. What a peer announces beyond the bounds here is refused before it is read.

use super::ProtocolError;
use super::compact::Reader;

/// Bytes of the length itself.
pub(super) const LENGTH_BYTES: usize = 4;
/// Magic, flags, sequence, words.
const FIXED_BYTES: usize = 10;
const MAGIC: [u8; 2] = [0x0F, 0xFF];
const COMPACT: u64 = 2;
/// Protocol 2, no transforms, two bytes of padding.
const HEADER: [u8; 4] = [2, 0, 0, 0];

/// Starts a frame in `out`, which must be empty; the message follows.
pub(super) fn begin(sequence: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&1_u16.to_be_bytes());
    out.extend_from_slice(&HEADER);
}

/// Puts the length where it belongs. Fails for a message that no frame of the ordinary kind can hold.
pub(super) fn end(out: &mut [u8]) -> Result<(), ProtocolError> {
    // Larger lengths have another form, which means nothing to us.
    const LENGTH_MAX: usize = 0x3FFF_FFFF;
    let length = out.len() - LENGTH_BYTES;
    if length > LENGTH_MAX {
        return Err(ProtocolError::new("the message is too long for a frame"));
    }
    out[..LENGTH_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}

/// The length of the frame that begins so, or an error if it is longer than `bytes_max`.
pub(super) fn length(bytes: [u8; LENGTH_BYTES], bytes_max: usize) -> Result<usize, ProtocolError> {
    let length = u32::from_be_bytes(bytes) as usize;
    if length > bytes_max {
        return Err(ProtocolError::owned(format!("a frame of {length} bytes was announced, {bytes_max} are allowed")));
    }
    Ok(length)
}

/// The message within a frame (its length already taken off).
pub(super) fn payload(frame: &[u8]) -> Result<&[u8], ProtocolError> {
    if frame.len() < FIXED_BYTES || frame[..2] != MAGIC {
        return Err(ProtocolError::new("this is no THeader frame"));
    }
    let header_bytes = usize::from(u16::from_be_bytes([frame[8], frame[9]])) * 4;
    let rest = &frame[FIXED_BYTES..];
    let (Some(header), Some(payload)) = (rest.get(..header_bytes), rest.get(header_bytes..)) else {
        return Err(ProtocolError::new("a frame is shorter than its header"));
    };
    let mut header = Reader::new(header);
    if header.varint()? != COMPACT {
        return Err(ProtocolError::new("a frame carries another protocol than compact"));
    }
    if header.varint()? != 0 {
        return Err(ProtocolError::new("a frame is transformed, which nobody asked for"));
    }
    Ok(payload)
}
