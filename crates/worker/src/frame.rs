//! Frames on the socket between a worker and its parent: a length, a kind, and a payload.
//!
//! It knows bytes only. A length is believed up to [`MAX_PAYLOAD`] and memory grows with what really
//! arrives, so a garbage length costs nothing.

use std::io::{self, Read};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::CallClass;

/// Longest payload in bytes. An inventory of 16 GPUs takes some 10 KiB.
pub(crate) const MAX_PAYLOAD: usize = 16 << 20;

/// Length (u32, little endian) and kind.
const HEADER: usize = 5;

/// Most that is read at once, in bytes.
pub(crate) const CHUNK: usize = 4 << 10;

/// A reader gives back the memory of a frame larger than this.
const KEEP: usize = 16 << 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Parent to worker: the JSON of one request.
    Request,
    /// Worker to parent: [`Entering`], sent before a foreign call that may take longer than a query, and before the first
    /// query after one.
    Entering,
    /// Worker to parent: [`Left`], sent after a pause.
    Left,
    /// Worker to parent: [`Resting`], sent before a pause.
    Resting,
    /// Worker to parent: the JSON that answers the request.
    Reply,
    /// Worker to parent: the JSON of something that happened during the request.
    Event,
}

/// Names the foreign call that a worker is about to make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entering<'a> {
    /// The C function.
    #[serde(borrow)]
    pub call: std::borrow::Cow<'a, str>,
    /// How long it may take.
    pub class: CallClass,
    /// What the call is about, by a number of the role's own.
    pub subject: Option<u32>,
    /// The notes on the board that are older.
    #[serde(default)]
    pub notes: u64,
}

/// Says that no foreign call is running.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Left {
    /// The notes on the board that are older.
    pub notes: u64,
}

/// Says that a worker does nothing for a while, of its own will.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Resting {
    /// Longest time.
    pub at_most: Duration,
}

/// One whole frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: Kind,
    pub payload: Vec<u8>,
}

/// Collects frames from whatever pieces a socket gives.
#[derive(Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Request => b'Q',
            Kind::Entering => b'E',
            Kind::Left => b'L',
            Kind::Resting => b'P',
            Kind::Reply => b'R',
            Kind::Event => b'V',
        }
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Request, Kind::Entering, Kind::Left, Kind::Resting, Kind::Reply, Kind::Event]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

impl Reader {
    /// Takes what `source` has, up to [`CHUNK`]. `Ok(0)` is its end.
    pub fn fill(&mut self, mut source: impl Read) -> io::Result<usize> {
        let mut chunk = [0; CHUNK];
        let count = source.read(&mut chunk)?;
        self.bytes.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    /// The next whole frame; `Ok(None)` needs more bytes.
    pub fn next(&mut self) -> io::Result<Option<Frame>> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, d, kind] = *header;
        let length = u32::from_le_bytes([a, b, c, d]);
        let kind =
            Kind::from_byte(kind).ok_or_else(|| invalid(format!("a frame of unknown kind {kind:#04x}")))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_PAYLOAD {
            return Err(invalid(format!("a frame of {length} bytes, more than {MAX_PAYLOAD}")));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let payload = rest[..length].to_vec();
        self.bytes.drain(..HEADER + length);
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
        Ok(Some(Frame { kind, payload }))
    }
}

/// The bytes of one frame.
pub(crate) fn encode(kind: Kind, payload: &[u8]) -> io::Result<Vec<u8>> {
    let too_long = || invalid(format!("a payload of {} bytes, more than {MAX_PAYLOAD}", payload.len()));
    if payload.len() > MAX_PAYLOAD {
        return Err(too_long());
    }
    let length = u32::try_from(payload.len()).map_err(|_| too_long())?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.push(kind.byte());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_in_any_pieces_arrive_whole(payloads: Vec<Vec<u8>>, piece in 1usize..64) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                bytes.extend(encode(Kind::Reply, payload).unwrap());
            }
            let (mut reader, mut got) = (Reader::default(), Vec::new());
            for part in bytes.chunks(piece) {
                reader.fill(part).unwrap();
                while let Some(frame) = reader.next().unwrap() {
                    got.push(frame.payload);
                }
            }
            prop_assert_eq!(got, payloads);
        }

        #[test]
        fn reader_given_any_bytes_never_panics(bytes: Vec<u8>) {
            let mut reader = Reader::default();
            reader.fill(bytes.as_slice()).unwrap();
            while let Ok(Some(_)) = reader.next() {}
        }
    }

    #[test]
    fn frame_longer_than_the_bound_is_refused_from_its_header() {
        let mut reader = Reader::default();
        reader.fill([0xff, 0xff, 0xff, 0xff, b'R'].as_slice()).unwrap();
        assert!(reader.next().unwrap_err().to_string().contains("4294967295 bytes"));
    }
}
