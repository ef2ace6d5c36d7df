//! Text that a C library writes, of which nothing is believed: it ends with its buffer if not before,
//! may be no UTF-8, and loses its control characters.

use std::ffi::{c_char, c_uint};

/// A buffer of `N` bytes for the library to write to.
pub(super) struct Text<const N: usize>([c_char; N]);

impl<const N: usize> Text<N> {
    pub fn new() -> Self {
        Text([0; N])
    }

    pub fn pointer(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }

    pub fn size(&self) -> c_uint {
        c_uint::try_from(N).unwrap_or(0)
    }

    /// What the library wrote.
    pub fn read(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().map(|c| c.cast_unsigned()).take_while(|byte| *byte != 0).collect();
        let replaced = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        String::from_utf8_lossy(&bytes).trim().chars().map(replaced).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: [u8; 6]) -> String {
        Text(bytes.map(u8::cast_signed)).read()
    }

    #[test]
    fn text_ends_at_its_nul_or_with_its_buffer() {
        assert_eq!(text(*b"ab\0cde"), "ab");
        assert_eq!(text(*b"abcdef"), "abcdef");
        assert_eq!(text([0; 6]), "");
    }

    #[test]
    fn text_that_is_no_utf8_or_has_control_characters_stays_readable() {
        assert_eq!(text(*b"a\xff\x1bb\n\0"), "a\u{fffd}\u{fffd}b");
    }
}
