//! The compact protocol, as fbthrift writes it: variable-length numbers, fields by the distance of their ids, big-endian doubles.
//!
//! Pure. The reader never panics and never allocates more than what it is given: every count is held against the bytes that are
//! left, and nesting is bounded.

use super::ProtocolError;

/// Deepest nesting of structs and containers that is read: NebulaGraph's own values nest to about ten; more is an attack on the
/// stack.
const DEPTH_MAX: u32 = 64;

/// Type codes on the wire.
pub(super) mod kind {
    pub(in crate::client) const STOP: u8 = 0;
    pub(in crate::client) const TRUE: u8 = 1;
    pub(in crate::client) const FALSE: u8 = 2;
    pub(in crate::client) const BYTE: u8 = 3;
    pub(in crate::client) const I16: u8 = 4;
    pub(in crate::client) const I32: u8 = 5;
    pub(in crate::client) const I64: u8 = 6;
    pub(in crate::client) const DOUBLE: u8 = 7;
    pub(in crate::client) const BINARY: u8 = 8;
    pub(in crate::client) const LIST: u8 = 9;
    pub(in crate::client) const SET: u8 = 10;
    pub(in crate::client) const MAP: u8 = 11;
    pub(in crate::client) const STRUCT: u8 = 12;
    pub(in crate::client) const FLOAT: u8 = 13;
}

/// Writes at the end of a buffer.
pub(super) struct Writer<'o> {
    pub(super) out: &'o mut Vec<u8>,
    last: i16,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, last: 0 }
    }

    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    pub(super) fn zigzag(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    pub(super) fn field(&mut self, id: i16, kind: u8) {
        let distance = id - self.last;
        if (1..=15).contains(&distance) {
            self.out.push(((distance as u8) << 4) | kind);
        } else {
            self.out.push(kind);
            self.zigzag(id.into());
        }
        self.last = id;
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn binary_field(&mut self, id: i16, bytes: &[u8]) {
        self.field(id, kind::BINARY);
        self.bytes(bytes);
    }

    pub(super) fn long_field(&mut self, id: i16, value: i64) {
        self.field(id, kind::I64);
        self.zigzag(value);
    }

    pub(super) fn byte_field(&mut self, id: i16, value: u8) {
        self.field(id, kind::BYTE);
        self.out.push(value);
    }

    /// The head of a list or a set.
    pub(super) fn items(&mut self, kind: u8, count: usize) {
        if count < 15 {
            self.out.push(((count as u8) << 4) | kind);
        } else {
            self.out.push(0xF0 | kind);
            self.varint(count as u64);
        }
    }

    /// The head of a map.
    pub(super) fn entries(&mut self, key: u8, value: u8, count: usize) {
        self.varint(count as u64);
        if count > 0 {
            self.out.push((key << 4) | value);
        }
    }

    /// A struct whose fields `write` writes, without the field that holds it.
    pub(super) fn body(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut inner = Writer { out: self.out, last: 0 };
        write(&mut inner);
        inner.out.push(kind::STOP);
    }

    pub(super) fn struct_field(&mut self, id: i16, write: impl FnOnce(&mut Writer<'_>)) {
        self.field(id, kind::STRUCT);
        self.body(write);
    }
}

/// Reads from a slice.
#[derive(Debug, Clone)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
    depth: u32,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'b [u8], ProtocolError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(ProtocolError::new("a reply ends too early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, ProtocolError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn varint(&mut self) -> Result<u64, ProtocolError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtocolError::new("a number has too many bytes"))
    }

    pub(super) fn zigzag(&mut self) -> Result<i64, ProtocolError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(super) fn int(&mut self) -> Result<i32, ProtocolError> {
        i32::try_from(self.zigzag()?).map_err(|_| ProtocolError::new("a number is too large"))
    }

    pub(super) fn double(&mut self) -> Result<f64, ProtocolError> {
        let bytes = self.take(8)?;
        Ok(f64::from_be_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    pub(super) fn bytes(&mut self) -> Result<&'b [u8], ProtocolError> {
        let count = self.count()?;
        self.take(count)
    }

    /// A count of things that take at least a byte each.
    fn count(&mut self) -> Result<usize, ProtocolError> {
        let count = self.varint()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() => Ok(count),
            _ => Err(ProtocolError::new("a count is larger than the reply")),
        }
    }

    /// The head of a list or a set: (type, count).
    pub(super) fn items(&mut self) -> Result<(u8, usize), ProtocolError> {
        let head = self.byte()?;
        let count = match head >> 4 {
            0xF => self.count()?,
            count => usize::from(count),
        };
        Ok((head & 0xF, count))
    }

    /// The head of a map: (type of keys, type of values, count).
    pub(super) fn entries(&mut self) -> Result<(u8, u8, usize), ProtocolError> {
        let count = self.count()?;
        let kinds = if count > 0 { self.byte()? } else { 0 };
        Ok((kinds >> 4, kinds & 0xF, count))
    }

    /// Every field of a struct; `read` must take the value of the field that it is called for, or [`Self::skip`] it.
    pub(super) fn fields(
        &mut self,
        mut read: impl FnMut(&mut Self, i16, u8) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        self.nested(|reader| {
            let mut last = 0_i16;
            loop {
                let head = reader.byte()?;
                if head == kind::STOP {
                    return Ok(());
                }
                let id = match head >> 4 {
                    0 => i16::try_from(reader.zigzag()?).map_err(|_| ProtocolError::new("a field id is too large"))?,
                    distance => last.wrapping_add(i16::from(distance)),
                };
                read(reader, id, head & 0xF)?;
                last = id;
            }
        })
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ProtocolError>) -> Result<T, ProtocolError> {
        if self.depth == DEPTH_MAX {
            return Err(ProtocolError::new("a reply is nested too deeply"));
        }
        self.depth += 1;
        let outcome = read(self);
        self.depth -= 1;
        outcome
    }

    /// Passes over a field's value. A boolean field's value is its type.
    pub(super) fn skip(&mut self, of: u8) -> Result<(), ProtocolError> {
        match of {
            kind::TRUE | kind::FALSE => Ok(()),
            kind::BYTE => self.take(1).map(|_| ()),
            kind::I16 | kind::I32 | kind::I64 => self.varint().map(|_| ()),
            kind::DOUBLE => self.take(8).map(|_| ()),
            kind::FLOAT => self.take(4).map(|_| ()),
            kind::BINARY => self.bytes().map(|_| ()),
            kind::STRUCT => self.fields(|reader, _, kind| reader.skip(kind)),
            kind::LIST | kind::SET => {
                let (item, count) = self.items()?;
                self.nested(|reader| (0..count).try_for_each(|_| reader.skip_item(item)))
            }
            kind::MAP => {
                let (key, value, count) = self.entries()?;
                self.nested(|reader| {
                    (0..count).try_for_each(|_| {
                        reader.skip_item(key)?;
                        reader.skip_item(value)
                    })
                })
            }
            other => Err(ProtocolError::owned(format!("a reply holds a value of unknown type {other}"))),
        }
    }

    /// Within containers a boolean takes a byte.
    fn skip_item(&mut self, of: u8) -> Result<(), ProtocolError> {
        match of {
            kind::TRUE | kind::FALSE => self.take(1).map(|_| ()),
            other => self.skip(other),
        }
    }
}
