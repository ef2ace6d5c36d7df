//! Nonsense for a call that a fault has struck: a source of numbers that look random, for the thread that makes the call.
//! It knows neither answers nor memory; who writes an answer asks here whether it is to be spoiled.

use std::cell::Cell;

use crate::faults::spread;

thread_local! {
    /// Seed and draws so far, while a struck call answers.
    static SOURCE: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// Ends the nonsense, whichever way the call ends.
struct Struck;

impl Drop for Struck {
    fn drop(&mut self) {
        SOURCE.set(None);
    }
}

/// Runs what answers a struck call.
pub fn answering<T>(seed: u64, answer: impl FnOnce() -> T) -> T {
    SOURCE.set(Some((seed, 0)));
    let _struck = Struck;
    answer()
}

/// A number for nonsense, if this thread's call is struck.
pub fn draw() -> Option<u64> {
    let (seed, drawn) = SOURCE.get()?;
    SOURCE.set(Some((seed, drawn + 1)));
    Some(spread(seed, drawn))
}

/// A whole number that nobody would give: the highest and lowest ones of its widths, or any other.
pub fn number(drawn: u64) -> u64 {
    let any = spread(drawn, 1) | 1 << 40;
    match drawn % 4 {
        0 => u64::MAX,
        1 => 0x7FFF_FFFF_7FFF_FFFF,
        2 => 0x8000_0000_8000_0000,
        _ => any,
    }
}

/// A byte that no text begins with, and that makes a number large or negative; never 0.
pub fn byte(drawn: u64) -> u8 {
    0xF8 | (drawn % 8) as u8
}
