//! Avro's primitive encodings: zigzag varints, length-prefixed bytes, blocks.
//!
//! Writing appends to a `Vec<u8>`. Reading advances over a borrowed buffer and gives back slices of it; every length is
//! checked against what is left before it is believed.

use super::DecodeError;

/// Capacity taken on an array's word; longer ones grow as their items really come.
pub(super) const CAPACITY_TRUSTED: usize = 64;

/// Appends a `long` (or `int`).
#[inline]
pub(super) fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    if rest < 0x80 {
        out.push(rest as u8);
        return;
    }
    let mut buffer = [0_u8; 10];
    let mut length = 0;
    while rest >= 0x80 {
        buffer[length] = (rest as u8) | 0x80;
        rest >>= 7;
        length += 1;
    }
    buffer[length] = rest as u8;
    out.extend_from_slice(&buffer[..=length]);
}

/// Appends `bytes` or a `string`.
#[inline]
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// Appends a nullable text.
pub(super) fn put_optional_text(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        None => out.push(NULL),
        Some(text) => {
            out.push(VALUE);
            put_bytes(text.as_bytes(), out);
        }
    }
}

/// Branch 0 of `["null", X]`, as it stands on the wire.
pub(super) const NULL: u8 = 0x00;
/// Branch 1.
pub(super) const VALUE: u8 = 0x02;

/// Appends a two's-complement number with no more bytes than it needs, length-prefixed: what a decimal's unscaled value is.
#[inline]
pub(super) fn put_unscaled(value: i128, out: &mut Vec<u8>) {
    let significant = if value < 0 { !value } else { value };
    let length = (128 - significant.leading_zeros() as usize) / 8 + 1;
    out.push((length as u8) << 1);
    out.extend_from_slice(&value.to_be_bytes()[16 - length..]);
}

/// What is wrong with the bytes. One pointer wide, so that the results of the innermost readers fit into registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Damage(pub(super) &'static &'static str);

impl From<Damage> for DecodeError {
    #[cold]
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage.0)
    }
}

/// What is left to read.
#[derive(Debug)]
pub(crate) struct Input<'b> {
    bytes: &'b [u8],
}

impl<'b> Input<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn expect_end(&self) -> Result<(), Damage> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Damage(&"bytes after its end")) }
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Damage> {
        let (first, rest) = self.bytes.split_first().ok_or(ENDS_EARLY)?;
        self.bytes = rest;
        Ok(*first)
    }

    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Damage> {
        let first = self.byte()?;
        let mut value = u64::from(first & 0x7f);
        if first >= 0x80 {
            let mut shift = 7;
            loop {
                let byte = self.byte()?;
                if shift == 63 && byte > 1 {
                    return Err(Damage(&"a number is too long"));
                }
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
                shift += 7;
            }
        }
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, Damage> {
        i32::try_from(self.long()?).map_err(|_| Damage(&"an int is out of range"))
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, Damage> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damage(&"a boolean is neither 0 nor 1")),
        }
    }

    /// Whether branch 1 of `["null", X]` follows.
    #[inline]
    pub(super) fn is_value(&mut self) -> Result<bool, Damage> {
        match self.byte()? {
            NULL => Ok(false),
            VALUE => Ok(true),
            _ => Err(Damage(&"a union has no such branch")),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'b [u8], Damage> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'b [u8], Damage> {
        let length = usize::try_from(self.long()?).map_err(|_| Damage(&"a negative length"))?;
        self.take(length)
    }

    #[inline]
    pub(super) fn text(&mut self) -> Result<&'b str, Damage> {
        utf8(self.bytes()?).ok_or(Damage(&"a text is not UTF-8"))
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<&'b str>, Damage> {
        if self.is_value()? { self.text().map(Some) } else { Ok(None) }
    }

    /// A decimal's unscaled value.
    #[inline]
    pub(super) fn unscaled(&mut self) -> Result<i128, Damage> {
        let bytes = self.bytes()?;
        if bytes.is_empty() || bytes.len() > 16 {
            return Err(Damage(&"a decimal has no digits or too many"));
        }
        let negative = bytes[0] >= 0x80;
        let mut buffer = [if negative { 0xff } else { 0 }; 16];
        buffer[16 - bytes.len()..].copy_from_slice(bytes);
        Ok(i128::from_be_bytes(buffer))
    }

    /// The number of items in the next block of an array or map; 0 ends it.
    pub(super) fn block(&mut self) -> Result<usize, Damage> {
        let mut count = self.long()?;
        if count < 0 {
            // A negative count is followed by the block's size in bytes, which only a reader that skips needs.
            self.long()?;
            count = count.checked_neg().ok_or(Damage(&"a block has too many items"))?;
        }
        let count = usize::try_from(count).map_err(|_| Damage(&"a block has too many items"))?;
        // Every item of ours takes at least one byte.
        if count > self.left() {
            return Err(ENDS_EARLY);
        }
        Ok(count)
    }
}

/// Not inlined so that pointer and length come back in registers: read from memory right after they were stored, as the
/// standard function gives them, they take a third of the time that a row takes.
#[inline(never)]
fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

const ENDS_EARLY: Damage = Damage(&"it ends early");
