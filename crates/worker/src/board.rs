//! Where a worker notes which query it makes. Its parent looks only when it wants to know, so that a call wakes nobody: a
//! request may make hundreds.
//!
//! A record of fixed size in a file in memory that both have open. Each note writes all of it; its number stands at both
//! ends, so that who reads half a note knows.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::time::{ClockId, clock_gettime};

/// Longest name of a call that is noted, in bytes.
const NAME: usize = 120;

/// Number, calls, begin, subject, length of the name; the name; the number again.
const RECORD: usize = 5 * WORD + NAME + WORD;

/// One field.
const WORD: usize = 8;

/// In place of a subject.
const NO_SUBJECT: u64 = u64::MAX;

/// Times that a record is read before its writer is taken to be at it.
const LOOKS: usize = 3;

/// What a worker does, from when on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// Grows with each note of a worker; the first is 1.
    pub number: u64,
    /// Queries noted so far.
    pub calls: u64,
    /// When it began, by the clock [`ClockId::Monotonic`].
    pub began: Duration,
    /// The query, and what it is about; nothing while the worker works itself.
    pub query: Option<(String, Option<u32>)>,
}

impl Note {
    /// When it began; now for one that says that it is yet to begin.
    pub fn since(&self) -> Option<Instant> {
        Instant::now().checked_sub(monotonic().saturating_sub(self.began))
    }

    fn encode(&self) -> [u8; RECORD] {
        let (name, subject) =
            self.query.as_ref().map_or(("", None), |(name, subject)| (name.as_str(), *subject));
        let name = &name.as_bytes()[..name.floor_char_boundary(NAME)];
        let mut padded = [0; NAME];
        padded[..name.len()].copy_from_slice(name);
        let began = u64::try_from(self.began.as_nanos()).unwrap_or(u64::MAX);
        let subject = subject.map_or(NO_SUBJECT, u64::from);
        let words = [self.number, self.calls, began, subject, name.len() as u64].map(u64::to_le_bytes);
        let end = self.number.to_le_bytes();
        let mut record = [0; RECORD];
        let parts = words.as_flattened().iter().chain(&padded).chain(&end);
        record.iter_mut().zip(parts).for_each(|(byte, part)| *byte = *part);
        record
    }

    /// Nothing for half a note, and for none.
    fn decode(record: &[u8; RECORD]) -> Option<Note> {
        let (words, rest) = record.split_first_chunk::<{ 5 * WORD }>()?;
        let (name, end) = rest.split_at_checked(NAME)?;
        let word = |at: usize| words.as_chunks::<WORD>().0.get(at).map(|word| u64::from_le_bytes(*word));
        let (number, length) = (word(0)?, usize::try_from(word(4)?).ok()?);
        if number == 0 || end != number.to_le_bytes() {
            return None;
        }
        let name = String::from_utf8_lossy(name.get(..length)?).into_owned();
        let subject = u32::try_from(word(3)?).ok();
        let query = (!name.is_empty()).then_some((name, subject));
        Some(Note { number, calls: word(1)?, began: Duration::from_nanos(word(2)?), query })
    }
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Pen {
    file: File,
    number: u64,
    calls: u64,
}

impl Pen {
    /// Writes on the board that is open here.
    pub fn new(board: OwnedFd) -> Pen {
        Pen { file: File::from(board), number: 0, calls: 0 }
    }

    /// Notes the query that comes now, or that the worker works itself.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn note(&mut self, query: Option<(&str, Option<u32>)>) -> io::Result<()> {
        self.number += 1;
        self.calls += u64::from(query.is_some());
        let query = query.map(|(name, subject)| (name.to_owned(), subject));
        let note = Note { number: self.number, calls: self.calls, began: monotonic(), query };
        self.file.write_all_at(&note.encode(), 0)
    }

    /// The number of the last note.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct Board {
    file: File,
    /// The last note that is known, by its number.
    known: u64,
    /// The queries that are counted.
    counted: u64,
}

impl Board {
    /// An empty one.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new() -> io::Result<Board> {
        let file = File::from(rustix::fs::memfd_create(c"worker-board", MemfdFlags::CLOEXEC)?);
        Ok(Board { file, known: 0, counted: 0 })
    }

    /// What the worker gets.
    ///
    /// # Errors
    /// The operating system's.
    pub fn file(&self) -> io::Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from)
    }

    /// What the worker told by other means is newer than its notes up to this one.
    pub fn passed_over(&mut self, number: u64) {
        self.known = self.known.max(number);
    }

    /// Queries that were not counted before, and the note if it is news.
    pub fn look(&mut self) -> (u64, Option<Note>) {
        let Some(note) = (0..LOOKS).find_map(|_| self.read()) else { return (0, None) };
        let calls = note.calls.saturating_sub(self.counted);
        self.counted = note.calls.max(self.counted);
        let is_news = note.number > self.known;
        self.passed_over(note.number);
        (calls, is_news.then_some(note))
    }

    fn read(&self) -> Option<Note> {
        let mut record = [0; RECORD];
        self.file.read_exact_at(&mut record, 0).ok()?;
        Note::decode(&record)
    }
}

fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn both() -> (Board, Pen) {
        let board = Board::new().unwrap();
        let pen = Pen::new(board.file().unwrap());
        (board, pen)
    }

    proptest! {
        #[test]
        fn note_is_read_as_it_was_written(number in 1u64.., calls: u64, began: u64, name in "[a-zA-Zµ_]{0,200}", subject: Option<u32>) {
            let query = (!name.is_empty()).then(|| (name.clone(), subject));
            let note = Note { number, calls, began: Duration::from_nanos(began), query };
            let read = Note::decode(&note.encode()).unwrap();
            prop_assert_eq!((read.number, read.calls, read.began), (number, calls, note.began));
            let (read, subject_read) = read.query.unwrap_or_default();
            prop_assert!(name.starts_with(&read) && (read.len() == name.len() || read.len() + 2 > NAME));
            prop_assert_eq!(subject_read, subject.filter(|_| !name.is_empty()));
        }

        #[test]
        fn half_a_note_is_none_wherever_it_was_cut(cut in 1..RECORD - 7) {
            let note = |number| Note { number, query: Some(("x".repeat(NAME), None)), ..Note::default() };
            let (old, new) = (note(0x0101_0101_0101_0101).encode(), note(0x0202_0202_0202_0202).encode());
            let torn: Vec<u8> = new[..cut].iter().chain(&old[cut..]).copied().collect();
            prop_assert_eq!(Note::decode(torn.as_slice().try_into().unwrap()), None);
        }

        #[test]
        fn any_bytes_are_a_note_or_none(bytes in proptest::collection::vec(any::<u8>(), RECORD)) {
            let _ = Note::decode(bytes.as_slice().try_into().unwrap());
        }
    }

    #[test]
    fn note_is_news_once_and_each_query_counts_once() {
        let (mut board, mut pen) = both();
        assert_eq!(board.look(), (0, None));
        pen.note(Some(("one", None))).unwrap();
        pen.note(Some(("two", Some(7)))).unwrap();
        let (calls, note) = board.look();
        assert_eq!((calls, note.unwrap().query), (2, Some(("two".to_owned(), Some(7)))));
        assert_eq!(board.look(), (0, None));
        pen.note(None).unwrap();
        let (calls, note) = board.look();
        assert_eq!((calls, note.unwrap().query), (0, None));
    }

    #[test]
    fn note_that_was_passed_over_is_no_news_but_counts() {
        let (mut board, mut pen) = both();
        pen.note(Some(("old", None))).unwrap();
        board.passed_over(pen.number());
        assert_eq!(board.look(), (1, None));
        pen.note(Some(("new", None))).unwrap();
        assert_eq!(board.look().1.unwrap().query, Some(("new".to_owned(), None)));
    }

    #[test]
    fn begin_is_an_instant_of_the_same_clock() {
        let before = Instant::now();
        let (mut board, mut pen) = both();
        pen.note(None).unwrap();
        let after = Instant::now();
        let since = board.look().1.unwrap().since().unwrap();
        // Two clocks are read one after the other.
        let slack = Duration::from_millis(50);
        assert!(before <= since + slack && since <= after + slack, "{before:?} {since:?} {after:?}");
    }
}
