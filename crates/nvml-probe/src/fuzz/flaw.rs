//! How a flaw is put into a call that is laid out, and which codes it may get then. It knows NVML's rules for misuse,
//! not the library.

use super::step::Flaw;
use crate::call::{Call, Form};
use crate::code::Code;
use crate::ffi::{Behind, Block};
use crate::layout::{Kind, number};
use crate::table::{Argument, Getter};

/// Functions that give as much of a list or text as there is room for, as their documentation says.
const GIVES_WHAT_FITS: &[&str] = &["nvmlDeviceGetSamples", "nvmlSystemGetProcessName"];

/// Functions that do something to the machine, which may refuse: a node that is simulated has other CPUs.
const MAY_FAIL: &[&str] = &["nvmlDeviceSetCpuAffinity", "nvmlDeviceClearCpuAffinity"];

/// Whether a code is that of a library which went wrong.
pub fn is_failure(getter: &Getter, code: Code) -> bool {
    code == Code::UNKNOWN && !MAY_FAIL.contains(&getter.name)
}

/// The codes that a call may give.
pub type Allowed = Vec<Code>;

/// Where the words of a getter are that are handles; a text by which a GPU is known stands for one.
fn handle_words(getter: &Getter) -> Vec<usize> {
    words_of(getter, |argument| {
        matches!(
            argument,
            Argument::Gpu | Argument::OtherGpu | Argument::GpuInstance | Argument::ComputeInstance
        )
    })
}

fn words_of(getter: &Getter, is_wanted: impl Fn(&Argument) -> bool) -> Vec<usize> {
    let mut word = 0;
    let mut found = Vec::new();
    for argument in getter.arguments {
        if is_wanted(argument) {
            found.push(word);
        }
        word += argument.words();
    }
    found
}

/// Puts a flaw into a call; `control` is the same call without it, made just before, and its code. Gives the codes that
/// are right then, or nothing if the flaw does not fit the function. `handles` are all that were ever given, `same_kind` those
/// of living things that the function is about.
pub fn put(
    call: &mut Call,
    getter: &Getter,
    flaw: Flaw,
    (handles, same_kind): (&[u64], &[u64]),
    control: (&Call, Code),
) -> Option<Allowed> {
    let (same, code) = control;
    let wrong = match flaw {
        Flaw::None => return Some(vec![code]),
        Flaw::Null(which) => null(call, usize::from(which))?,
        Flaw::Handle(handle) => {
            let words = handle_words(getter);
            let word = *words.get(handle as usize % words.len().max(1))?;
            // Small numbers choose among known handles, of which those of another kind are wrong, too.
            let own = *call.words.get(word)?;
            let known = handles.get(handle as usize).copied().unwrap_or(handle);
            let wrong = if known == own { !own } else { known };
            *call.words.get_mut(word)? = wrong;
            if same_kind.contains(&wrong) {
                // Then it is right, of another GPU or instance.
                vec![Code::INVALID_ARGUMENT, Code::SUCCESS, Code::NOT_FOUND, Code::NOT_SUPPORTED, code]
            } else {
                vec![Code::INVALID_ARGUMENT]
            }
        }
        Flaw::Version(version) => {
            let slot = call.slots.iter_mut().find(|slot| matches!(slot.form, Form::Struct(_)))?;
            let word = slot.block.bytes_mut().get_mut(..4)?;
            let size = number(word, 4) as u32 & 0x00FF_FFFF;
            // Below 8 another version of the same size, which newer functions may know; above, any word.
            let other = if version < 8 { size | version << 24 } else { version };
            let is_known = version_may_be_known(getter, other);
            word.copy_from_slice(&other.to_ne_bytes());
            if is_known {
                vec![code, Code::ARGUMENT_VERSION_MISMATCH]
            } else {
                vec![Code::ARGUMENT_VERSION_MISMATCH]
            }
        }
        Flaw::Short(room) => {
            let mut allowed = short(call, same, code, usize::from(room))?;
            if GIVES_WHAT_FITS.contains(&getter.name) {
                // With no room at all a call is wrong.
                allowed.extend([Code::SUCCESS, Code::INVALID_ARGUMENT]);
            }
            allowed
        }
        Flaw::Huge => huge(call, same, code)?,
        Flaw::Number(number) => {
            let words = words_of(getter, |argument| argument.range().is_some());
            let word = *words.get(number as usize % words.len().max(1))?;
            *call.words.get_mut(word)? = number.into();
            vec![Code::INVALID_ARGUMENT, Code::NOT_FOUND, Code::SUCCESS, code]
        }
    };
    Some(wrong.into_iter().chain(refused(code)).collect())
}

/// A call that fails without the flaw may tell that reason first.
fn refused(code: Code) -> Option<Code> {
    (code != Code::SUCCESS).then_some(code)
}

fn version_may_be_known(getter: &Getter, word: u32) -> bool {
    getter.arguments.iter().any(|argument| match argument {
        Argument::Versioned(_, versions) => {
            versions.iter().any(|(layout, version)| crate::call::version_word(layout.size, *version) == word)
        }
        _ => false,
    })
}

fn null(call: &mut Call, which: usize) -> Option<Allowed> {
    let count = call.slots.len();
    let slot = call.slots.get(which.checked_rem(count)?)?;
    let (word, form) = (slot.word, slot.form);
    *call.words.get_mut(word)? = 0;
    Some(match form {
        // Without memory for a list some functions tell its length, and where there is nothing none is needed.
        Form::Many(..) | Form::One(Kind::Array(..)) => {
            vec![Code::INVALID_ARGUMENT, Code::SUCCESS, Code::INSUFFICIENT_SIZE]
        }
        _ => vec![Code::INVALID_ARGUMENT],
    })
}

/// Takes room away from text or a list: the memory ends there.
fn short(call: &mut Call, same: &Call, code: Code, room: usize) -> Option<Allowed> {
    for index in 0..call.slots.len() {
        let slot = call.slots.get(index)?;
        match slot.form {
            Form::Text if call.words.get(slot.word + 1) == Some(&(slot.block.bytes().len() as u64)) => {
                let needed =
                    same.slots.get(index)?.block.bytes().iter().take_while(|byte| **byte != 0).count() + 1;
                let room = room.checked_rem(needed + 1)?;
                set_room(call, index, room)?;
                let word = call.slots.get(index)?.word + 1;
                *call.words.get_mut(word)? = room as u64;
                let fits = room >= needed || code != Code::SUCCESS;
                return Some(if fits { vec![code] } else { vec![Code::INSUFFICIENT_SIZE] });
            }
            Form::Many(kind, count) => {
                let (is_before, there) = (count < index, list_length(same, count, code));
                // Where the count comes behind the list, the caller must have room for all there can be.
                let room = if is_before { room.checked_rem(there + 2)? } else { there };
                set_room(call, index, room * kind.size())?;
                set_count(call, count, room as u32)?;
                return Some(match room {
                    _ if code != Code::SUCCESS => vec![code, Code::INVALID_ARGUMENT],
                    room if room >= there => vec![code],
                    // A client that asks with no room may only want the number; samples need room where there is memory.
                    0 => vec![Code::SUCCESS, Code::INSUFFICIENT_SIZE, Code::INVALID_ARGUMENT],
                    _ => vec![Code::INSUFFICIENT_SIZE],
                });
            }
            _ => {}
        }
    }
    None
}

/// Says that there is more room than there is, while what is there fits all that the library has to write.
fn huge(call: &mut Call, same: &Call, code: Code) -> Option<Allowed> {
    for index in 0..call.slots.len() {
        let slot = call.slots.get(index)?;
        match slot.form {
            Form::Text if call.words.get(slot.word + 1) == Some(&(slot.block.bytes().len() as u64)) => {
                let word = slot.word + 1;
                let needed =
                    same.slots.get(index)?.block.bytes().iter().take_while(|byte| **byte != 0).count() + 1;
                set_room(call, index, needed)?;
                *call.words.get_mut(word)? = u32::MAX.into();
                return Some(vec![code]);
            }
            Form::Many(kind, count) => {
                let there = list_length(same, count, code);
                set_room(call, index, there * kind.size())?;
                set_count(call, count, u32::MAX)?;
                return Some(vec![code, Code::INVALID_ARGUMENT]);
            }
            Form::Mask => {
                // Words that no machine has, and no memory for them.
                let word = slot.word.checked_sub(1)?;
                *call.words.get_mut(word)? = u32::MAX.into();
                return Some(vec![Code::INVALID_ARGUMENT, code])
                    .filter(|_| code != Code::SUCCESS)
                    .or(Some(vec![Code::INVALID_ARGUMENT]));
            }
            _ => {}
        }
    }
    None
}

fn list_length(same: &Call, count: usize, code: Code) -> usize {
    if code != Code::SUCCESS {
        return 0;
    }
    same.slots.get(count).map_or(0, |slot| number(slot.block.bytes(), 4) as usize)
}

fn set_room(call: &mut Call, slot: usize, bytes: usize) -> Option<()> {
    let slot = call.slots.get_mut(slot)?;
    slot.block = Block::new(bytes, Behind::Guard)?;
    let (word, address) = (slot.word, slot.block.address());
    *call.words.get_mut(word)? = address;
    Some(())
}

fn set_count(call: &mut Call, slot: usize, count: u32) -> Option<()> {
    let bytes = call.slots.get_mut(slot)?.block.bytes_mut();
    bytes.get_mut(..4)?.copy_from_slice(&count.to_ne_bytes());
    Some(())
}
