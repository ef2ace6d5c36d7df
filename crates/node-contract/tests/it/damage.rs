//! Documents with bytes changed, added and taken away.

use proptest::prelude::*;

/// One change: where, with which byte, and how.
pub type Change = (prop::sample::Index, u8, usize);

/// A few changes.
pub fn changes() -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..3), 1..4)
}

/// `content` after them.
pub fn damaged(mut content: Vec<u8>, changes: Vec<Change>) -> Vec<u8> {
    for (at, byte, how) in changes {
        let at = at.index(content.len());
        match how {
            0 => content[at] = byte,
            1 => content.insert(at, byte),
            _ => drop(content.remove(at)),
        }
    }
    content
}
