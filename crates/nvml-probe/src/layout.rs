//! How C values lie in memory, and what they are as JSON. It knows sizes and offsets, no function.

use serde_json::{Map, Value};

/// A kind of C value.
#[derive(Debug)]
pub enum Kind {
    /// `unsigned char` as a number.
    U8,
    /// `unsigned int`, and enumerations.
    U32,
    /// `int`.
    I32,
    /// `unsigned long`, `unsigned long long`, and unions of eight bytes.
    U64,
    /// A handle of the library, or another pointer.
    Handle,
    /// A string with its end in an array of so many bytes.
    Chars(usize),
    /// So many bytes that are no text.
    Bytes(usize),
    /// So many values.
    Array(&'static Kind, usize),
    /// A struct.
    Struct(&'static Layout),
}

/// A struct of the C interface.
#[derive(Debug)]
pub struct Layout {
    /// Bytes.
    pub size: usize,
    /// Its members, apart from its version word.
    pub members: &'static [Member],
}

/// A member of a struct.
#[derive(Debug)]
pub struct Member {
    /// As the header calls it.
    pub name: &'static str,
    /// Offset in bytes.
    pub at: usize,
    /// What it is.
    pub kind: Kind,
}

impl Kind {
    /// Bytes.
    pub fn size(&self) -> usize {
        match self {
            Kind::U8 => 1,
            Kind::U32 | Kind::I32 => 4,
            Kind::U64 | Kind::Handle => 8,
            Kind::Chars(bytes) | Kind::Bytes(bytes) => *bytes,
            Kind::Array(kind, count) => kind.size() * count,
            Kind::Struct(layout) => layout.size,
        }
    }

    /// The value that begins these bytes. `name_of` names handles, whose numbers say nothing to anyone else.
    pub fn read(&self, bytes: &[u8], name_of: &dyn Fn(u64) -> Value) -> Value {
        match self {
            Kind::U8 | Kind::U32 | Kind::U64 => number(bytes, self.size()).into(),
            Kind::I32 => (number(bytes, 4) as u32 as i32).into(),
            Kind::Handle => name_of(number(bytes, 8)),
            Kind::Chars(most) => text(bytes, *most).into(),
            Kind::Bytes(count) => hex(bytes.iter().take(*count)).into(),
            Kind::Array(kind, count) => {
                let parts = bytes.chunks_exact(kind.size()).take(*count);
                parts.map(|part| kind.read(part, name_of)).collect()
            }
            Kind::Struct(layout) => {
                let of = |member: &Member| {
                    let value = member.kind.read(bytes.get(member.at..).unwrap_or_default(), name_of);
                    (member.name.trim_end_matches('_').to_owned(), value)
                };
                Value::Object(layout.members.iter().map(of).collect::<Map<_, _>>())
            }
        }
    }
}

/// The number in the first so many bytes, at most eight.
pub fn number(bytes: &[u8], count: usize) -> u64 {
    bytes.iter().take(count).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The text up to its end, in at most so many bytes. What is not UTF-8 is seen to be so.
pub fn text(bytes: &[u8], most: usize) -> String {
    let text: Vec<u8> = bytes.iter().take(most).copied().take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&text).into_owned()
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}
