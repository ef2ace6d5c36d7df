//! Callers whose `:authority` is no host name.
//!
//! A client of grpc-go that is given a socket's bare path, as NVIDIA's device plugin gives it, sends that path,
//! percent-encoded, as `:authority`. The real kubelet (grpc-go, too) takes it; h2 ends the call with a protocol error
//! before anybody is asked. So it is replaced in what h2 reads, and nothing else is: this knows frames (RFC 9113) and
//! header fields (RFC 7541) as far as that needs.

use std::{
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
};
use tokio_stream::{Stream, StreamExt, wrappers::UnixListenerStream};
use tonic::transport::server::Connected;

/// What a client sends first.
const PREFACE_LENGTH: usize = 24;
const FRAME_HEAD: usize = 9;
/// The frame type HEADERS and those of its flags that put something before the header fields, or after.
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_LENGTH: usize = 5;
/// A longer frame than h2 takes is left for it to refuse.
const LONGEST_FRAME: usize = 16_384;
/// Index of `:authority` in the static table.
const AUTHORITY: usize = 1;
/// As a literal without Huffman coding: what grpc-go sends for `unix:PATH`.
const LOCALHOST: &[u8] = b"\x09localhost";
/// Bytes that are read at once.
const PIECE: usize = 4096;

/// The connections that a listener accepts.
pub(crate) fn accepted(listener: UnixListener) -> impl Stream<Item = io::Result<Line>> {
    UnixListenerStream::new(listener).map(|stream| {
        let stream = stream?;
        Ok(Line { stream, incoming: Incoming { passing: PREFACE_LENGTH, ..Incoming::default() } })
    })
}

/// A connection from a client, with an authority that h2 takes.
pub(crate) struct Line {
    stream: UnixStream,
    incoming: Incoming,
}

/// What a client sends.
#[derive(Default)]
struct Incoming {
    /// So many bytes are of a frame that is passed on as it is.
    passing: usize,
    /// The beginning of a frame.
    held: Vec<u8>,
    /// To be read.
    ready: Vec<u8>,
}

impl Incoming {
    fn push(&mut self, mut bytes: &[u8]) {
        loop {
            let (passed, rest) = bytes.split_at(self.passing.min(bytes.len()));
            self.ready.extend_from_slice(passed);
            self.passing -= passed.len();
            if rest.is_empty() {
                return;
            }
            let wanted = match self.held.first_chunk() {
                Some(head) => FRAME_HEAD + payload_length(head),
                None => FRAME_HEAD,
            };
            let (taken, rest) = rest.split_at(rest.len().min(wanted - self.held.len()));
            self.held.extend_from_slice(taken);
            bytes = rest;
            self.let_go();
        }
    }

    /// Passes on what is known well enough.
    fn let_go(&mut self) {
        let Some(head) = self.held.first_chunk() else { return };
        let length = payload_length(head);
        if head[3] != HEADERS || length > LONGEST_FRAME {
            self.passing = length;
        } else if self.held.len() < FRAME_HEAD + length {
            return;
        } else {
            replace_authority(&mut self.held);
        }
        self.ready.append(&mut self.held);
    }

    /// The end: nothing more belongs to what is held.
    fn finish(&mut self) {
        self.ready.append(&mut self.held);
    }
}

fn payload_length(head: &[u8; FRAME_HEAD]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

/// Replaces the value of `:authority` in a HEADERS frame that has it as a literal.
fn replace_authority(frame: &mut Vec<u8>) {
    let Some(value) = authority(frame) else { return };
    frame.splice(value, LOCALHOST.iter().copied());
    let length = (frame.len() - FRAME_HEAD).to_be_bytes();
    frame[..3].copy_from_slice(&length[length.len() - 3..]);
}

/// Where that value stands, with its length before it. Fields before it may be of any kind; whatever cannot be read is
/// left as it is.
fn authority(frame: &[u8]) -> Option<Range<usize>> {
    let (flags, mut at, mut end) = (*frame.get(4)?, FRAME_HEAD, frame.len());
    if flags & PADDED != 0 {
        end = end.checked_sub(usize::from(*frame.get(at)?))?;
        at += 1;
    }
    if flags & PRIORITY != 0 {
        at += PRIORITY_LENGTH;
    }
    while at < end {
        // An indexed field; a literal that is to be indexed; a new size of the table; other literals.
        let (prefix, is_literal) = match frame[at] {
            0x80.. => (7, false),
            0x40..=0x7f => (6, true),
            0x20..=0x3f => (5, false),
            _ => (4, true),
        };
        let (name, after) = integer(frame, at, prefix)?;
        at = after;
        if !is_literal {
            continue;
        }
        if name == 0 {
            at = string_end(frame, at)?;
        }
        let value_end = string_end(frame, at).filter(|value_end| *value_end <= end)?;
        if name == AUTHORITY {
            return Some(at..value_end);
        }
        at = value_end;
    }
    None
}

/// The end of a string that begins at `at` with its length.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (length, at) = integer(bytes, at, 7)?;
    at.checked_add(length)
}

/// An integer that begins in the last `prefix` bits of a byte, and where it ends.
fn integer(bytes: &[u8], mut at: usize, prefix: u32) -> Option<(usize, usize)> {
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(*bytes.get(at)?) & most;
    at += 1;
    if value < most {
        return Some((value, at));
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(*bytes.get(at)?);
        at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Line { stream, incoming } = self.get_mut();
        let mut bytes = [0; PIECE];
        while incoming.ready.is_empty() {
            let mut piece = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                incoming.finish();
                break;
            }
            incoming.push(piece.filled());
        }
        let count = incoming.ready.len().min(buffer.remaining());
        buffer.put_slice(&incoming.ready[..count]);
        incoming.ready.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl Connected for Line {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Indexed, literals of both kinds with names of both kinds, `:authority`, and what follows it.
    const FIELDS: &[u8] = b"\x83\x3f\xe1\x1f\x00\x01n\x02vv\x45\x01p\x41\x83abc\xc1";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn read(pieces: &[&[u8]]) -> Vec<u8> {
        let mut incoming = Incoming::default();
        pieces.iter().for_each(|piece| incoming.push(piece));
        incoming.finish();
        incoming.ready
    }

    #[test]
    fn authority_is_replaced_wherever_it_stands_and_all_else_is_passed_on() {
        let replaced = b"\x83\x3f\xe1\x1f\x00\x01n\x02vv\x45\x01p\x41\x09localhost\xc1";
        for (flags, before, after) in [
            (0x4, &b""[..], &b""[..]),
            (0x4 | PADDED, b"\x02", b"\0\0"),
            (0x4 | PRIORITY, b"\0\0\0\0\x07", b""),
            (0x4 | PRIORITY | PADDED, b"\x01\0\0\0\0\x07", b"\0"),
        ] {
            let sent = frame(HEADERS, flags, &[before, FIELDS, after].concat());
            assert_eq!(read(&[&sent]), frame(HEADERS, flags, &[before, replaced, after].concat()));
        }
        let data = frame(0, 1, FIELDS);
        assert_eq!(read(&[&data]), data);
    }

    proptest! {
        #[test]
        fn what_arrives_is_the_same_in_whatever_pieces_it_comes(at in 0..100usize, more in 0..100usize) {
            let all = [frame(4, 0, b""), frame(HEADERS, 4, FIELDS), frame(0, 1, FIELDS), b"\0\0\x09".to_vec()].concat();
            let (first, rest) = all.split_at(at.min(all.len()));
            let (second, third) = rest.split_at(more.min(rest.len()));
            prop_assert_eq!(read(&[first, second, third]), read(&[&all]));
        }

        #[test]
        fn frame_of_any_bytes_is_passed_on_or_has_another_authority(payload in prop::collection::vec(any::<u8>(), 0..80), flags: u8) {
            let sent = frame(HEADERS, flags, &payload);
            let arrived = read(&[&sent]);
            prop_assert!(arrived == sent || arrived.windows(9).any(|window| window == b"localhost"));
        }
    }
}
