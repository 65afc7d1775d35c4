//! UTF-8 checked chunk by chunk: a character may be cut by the end of a chunk.

/// What is left over between chunks.
#[derive(Debug, Default)]
pub(super) struct Utf8Check {
    carry: [u8; 4],
    carried: usize,
}

impl Utf8Check {
    /// Checks the next chunk. The error is the index in `chunk` of the first byte that cannot belong to a character; 0 also when
    /// the character began in an earlier chunk.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Result<(), usize> {
        let mut start = 0;
        while self.carried > 0 && start < chunk.len() {
            self.carry[self.carried] = chunk[start];
            self.carried += 1;
            start += 1;
            match std::str::from_utf8(&self.carry[..self.carried]) {
                Ok(_) => self.carried = 0,
                // Four bytes always are a character or an error, so the carry never overflows.
                Err(error) if error.error_len().is_some() => return Err(start - 1),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(&chunk[start..]) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(start + error.valid_up_to()),
            Err(error) => {
                let tail = &chunk[start + error.valid_up_to()..];
                self.carry[..tail.len()].copy_from_slice(tail);
                self.carried = tail.len();
                Ok(())
            }
        }
    }

    /// Whether everything fed so far ends at the end of a character.
    pub(super) fn is_complete(&self) -> bool {
        self.carried == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Utf8Check;

    proptest! {
        #[test]
        fn any_chunking_judges_like_the_whole(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0xE0u8..0xF5, 0x80u8..0xC0], 0..24), size in 1usize..6) {
            let mut check = Utf8Check::default();
            let fed = bytes.chunks(size).try_for_each(|chunk| check.feed(chunk));
            prop_assert_eq!(fed.is_ok() && check.is_complete(), std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn text_passes_in_any_chunking(text in "\\PC{0,20}", size in 1usize..6) {
            let mut check = Utf8Check::default();
            prop_assert!(text.as_bytes().chunks(size).try_for_each(|chunk| check.feed(chunk)).is_ok());
            prop_assert!(check.is_complete());
        }
    }
}
