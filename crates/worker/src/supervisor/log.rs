//! A worker's standard error as log lines of the parent: bounded in length and in number.

use std::io::Read;
use std::time::Instant;

/// Longest line, in bytes; the rest of a longer one becomes lines of its own.
const MAX_LINE: usize = 1024;

/// Lines that may come at once.
const BURST: u64 = 50;

/// Milliseconds after which one more line may come.
const REFILL_MS: u128 = 200;

pub(super) struct Lines {
    role: &'static str,
    pid: u32,
    rest: Vec<u8>,
    tokens: u64,
    refilled: Instant,
    dropped: u64,
}

impl Lines {
    pub fn new(role: &'static str, pid: u32) -> Lines {
        Lines { role, pid, rest: Vec::new(), tokens: BURST, refilled: Instant::now(), dropped: 0 }
    }

    /// Logs what `source` has now; `false` when it will have no more.
    pub fn drain(&mut self, mut source: impl Read) -> bool {
        let mut chunk = [0; 2048];
        // Bounded, so that a worker that writes without end does not keep its supervisor here.
        for _ in 0..16 {
            match source.read(&mut chunk) {
                Ok(0) => {
                    self.end();
                    return false;
                }
                Ok(count) => self.take(&chunk[..count]),
                Err(error) if super::is_not_now(&error) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.rest.push(byte);
            }
            if byte == b'\n' || self.rest.len() >= MAX_LINE {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.rest);
        let line = clean(&line);
        if line.is_empty() {
            return;
        }
        let refill = self.refilled.elapsed().as_millis() / REFILL_MS;
        if refill > 0 {
            self.tokens = BURST.min(self.tokens.saturating_add(u64::try_from(refill).unwrap_or(BURST)));
            self.refilled = Instant::now();
        }
        if self.tokens == 0 {
            self.dropped += 1;
            return;
        }
        self.tokens -= 1;
        let dropped = std::mem::take(&mut self.dropped);
        tracing::info!(role = self.role, pid = self.pid, dropped_before = dropped, "{line}");
    }
}

fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_with_control_characters_and_bad_utf8_is_logged_readable() {
        assert_eq!(clean(b"a\x1b[31mb\xff \r"), "a [31mb\u{fffd}");
    }

    #[test]
    fn lines_beyond_the_burst_are_counted_and_dropped() {
        let mut lines = Lines::new("test", 1);
        lines.take("x\n".repeat(200).as_bytes());
        assert!(lines.dropped >= 200 - BURST - 5, "{}", lines.dropped);
    }

    #[test]
    fn line_without_an_end_holds_no_more_than_the_bound() {
        let mut lines = Lines::new("test", 1);
        lines.take(&vec![b'x'; MAX_LINE * 3 + 1]);
        assert_eq!(lines.rest.len(), 1);
    }
}
