//! Nonsense in place of an answer, where a fault has struck the call. It knows bytes, not whose they are: it changes only
//! those that the answer has just written, so a caller's memory is as safe as with the answer itself.

use std::any::TypeId;
use std::cell::Cell;
use std::ops::Range;

use nvml_sim::garbage;

/// Where a process on x86-64 Linux has its libraries and stacks. An answer that holds such an address keeps it: whoever
/// follows it would crash by our hand, not by its own trust in a number.
const ADDRESSES: Range<u64> = 0x5500_0000_0000..0x8000_0000_0000;

thread_local! {
    /// Whether a 32-bit answer of this thread's call can be the count of another.
    static HAS_COUNTS: Cell<bool> = const { Cell::new(false) };
}

/// Begins a call.
pub fn begin(has_counts: bool) {
    HAS_COUNTS.set(has_counts);
}

/// Whether a value is one number, which can be replaced as a whole.
pub fn is_number<T: 'static>() -> bool {
    [TypeId::of::<u32>(), TypeId::of::<i32>(), TypeId::of::<u64>()].contains(&TypeId::of::<T>())
}

/// Spoils an answer; `before` is what stood there. A number that can be a count gets no higher. Of anything but a number, a byte that is 0 stays so (texts keep their
/// end), and one that the answer did not change (a version word, an address of the caller's own).
pub fn spoil(answer: &mut [u8], before: &[u8], is_number: bool) {
    let drawn = garbage::draw().unwrap_or_default();
    if is_number {
        let genuine = <[u8; 4]>::try_from(&*answer).ok().filter(|_| HAS_COUNTS.get()).map(u32::from_ne_bytes);
        // Who takes a count for the length of an array must not read beyond what is there.
        let number = genuine
            .map_or_else(|| garbage::number(drawn), |most| drawn % (u64::from(most) + 1))
            .to_ne_bytes();
        answer.iter_mut().zip(number).for_each(|(byte, garbage)| *byte = garbage);
        return;
    }
    for (word, before) in answer.chunks_mut(8).zip(before.chunks(8)) {
        let value = <[u8; 8]>::try_from(&*word).map_or(0, u64::from_ne_bytes);
        if ADDRESSES.contains(&value) {
            continue;
        }
        for (byte, before) in word.iter_mut().zip(before) {
            if *byte != 0 && *byte != *before {
                *byte = garbage::byte(garbage::draw().unwrap_or_default());
            }
        }
    }
}
