//! Where a JSON value ends: counts brackets and minds strings, nothing else. No recursion, so depth costs nothing.

use memchr::memchr2;

/// Position inside a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueScan {
    depth: u64,
    in_string: bool,
    escaped: bool,
    scalar: bool,
}

impl ValueScan {
    /// At the value's first byte.
    pub(super) fn at(first: u8) -> Self {
        Self { depth: 0, in_string: false, escaped: false, scalar: !matches!(first, b'{' | b'[' | b'"') }
    }

    /// Goes on through `bytes`; gives the index after the value's last byte, or `None` when the value goes on.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.scalar {
            return bytes.iter().position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
        }
        let mut at = 0;
        while at < bytes.len() {
            if self.escaped {
                self.escaped = false;
                at += 1;
            } else if self.in_string {
                at += memchr2(b'"', b'\\', &bytes[at..])?;
                if bytes[at] == b'\\' {
                    self.escaped = true;
                } else {
                    self.in_string = false;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                at += 1;
            } else {
                at += bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
                match bytes[at] {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    _ => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            return Some(at + 1);
                        }
                    }
                }
                at += 1;
            }
        }
        None
    }
}
