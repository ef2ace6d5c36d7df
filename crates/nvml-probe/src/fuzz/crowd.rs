//! What the other threads of a process do meanwhile. Which code each call gives depends on the moment; that what is
//! wrong never succeeds, and never writes elsewhere, does not.

use super::flaw;
use super::step::Flaw;
use crate::call::{About, Call};
use crate::code::Code;
use crate::ffi::{Behind, Library, WORDS};
use crate::table::{self, Argument, Getter, Scope};

/// How many threads there are beside the one that changes MIG.
pub const THREADS: u64 = 3;
/// Calls of each.
const CALLS: u32 = 60;

/// What the threads share.
pub struct Crowd {
    /// The library.
    pub library: Library,
    /// The GPUs.
    pub abouts: Vec<About>,
    /// Handles that live or lived.
    pub handles: Vec<u64>,
}

/// Numbers that follow from a seed (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ number >> 31
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get((self.next() as usize).checked_rem(of.len())?)
    }
}

impl Crowd {
    /// One thread's calls.
    pub fn misuse(&self, seed: u64) -> Result<(), String> {
        let mut numbers = Numbers(seed);
        let getters: Vec<&'static Getter> = table::misused().collect();
        for _ in 0..CALLS {
            if numbers.next().is_multiple_of(8) {
                self.begin_and_end()?;
            }
            if let Some(getter) = numbers.pick(&getters).copied() {
                self.ask(getter, &mut numbers)?;
            }
        }
        Ok(())
    }

    /// One initialisation more, and its end: those of others keep the library up.
    fn begin_and_end(&self) -> Result<(), String> {
        for name in ["nvmlInit_v2", "nvmlShutdown"] {
            let function = self.library.function(name).ok_or("no such function")?;
            let code = Code(function.call(&[0; WORDS]));
            if code != Code::SUCCESS {
                return Err(format!("{name} gives {code} in a crowd"));
            }
        }
        Ok(())
    }

    fn ask(&self, getter: &'static Getter, numbers: &mut Numbers) -> Result<(), String> {
        let Some(function) = self.library.function(getter.name) else { return Ok(()) };
        let about = match getter.scope() {
            Scope::Device => numbers.pick(&self.abouts).cloned(),
            _ => numbers.pick(&self.handles).map(|handle| About { handle: *handle, ..About::default() }),
        };
        let Some(about) = about else { return Ok(()) };
        let ranges = getter.arguments.iter().filter_map(Argument::range);
        let choices = ranges.map(|(first, end, _)| first + numbers.next() as u32 % (end - first).max(1));
        let choices: Vec<u32> = choices.collect();
        let flaw = match numbers.next() % 4 {
            0 => Flaw::Null(numbers.next() as u8),
            1 => Flaw::Handle(numbers.next() | 1 << 63),
            2 => Flaw::Version(numbers.next() as u32 | 0x8000_0000),
            _ => Flaw::None,
        };
        let prepare = |behind| Call::prepare(function, getter, &about, &choices, 0, behind);
        let (Some(mut call), Some(same)) = (prepare(Behind::Guard), prepare(Behind::Wall)) else {
            return Ok(());
        };
        let Some(allowed) = flaw::put(&mut call, getter, flaw, (&[], &[]), (&same, Code::INVALID_ARGUMENT))
        else {
            return Ok(());
        };
        let code = call.make();
        let is_wrong = flaw != Flaw::None && !allowed.contains(&Code::SUCCESS);
        let has_failed = flaw::is_failure(getter, code) || code == Code::UNINITIALIZED;
        if has_failed || is_wrong && code == Code::SUCCESS {
            return Err(format!("{} with {flaw:?} gives {code} in a crowd", getter.name));
        }
        if call.is_intact() { Ok(()) } else { Err(format!("{} wrote before its memory", getter.name)) }
    }
}
