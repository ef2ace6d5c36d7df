//! The caller's pointers, checked once: a null pointer or a wrong version word becomes an error, and the
//! exported functions themselves need no `unsafe`.
#![expect(unsafe_code, reason = "reads and writes memory that a C caller hands over")]

use std::any::TypeId;
use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::{ptr, slice};

use nvml_sim::{Code, garbage};
use nvml_wrapper_sys::bindings::{nvmlDevice_st, nvmlUUIDValue_t};

use crate::spoil::{is_number, spoil};

/// How a C parameter becomes a value that is safe to use.
pub trait Parameter {
    /// That value.
    type Value;

    /// The handle's number, where this is the handle of a GPU.
    fn device(&self) -> Option<u64> {
        None
    }

    /// Whether the function answers there.
    fn is_answer(&self) -> bool {
        false
    }

    /// Takes the parameter.
    ///
    /// # Safety
    /// A pointer is null, an opaque handle, or valid for what its function's documentation says.
    unsafe fn take(self) -> Self::Value;
}

/// Memory that the function may read and write, or an opaque handle; and whether it has been read. What was read says how
/// much room the caller has, so a fault never spoils what is written back there.
pub struct Out<T>(*mut T, Cell<bool>);

/// Memory that the function may read.
pub struct In<T>(*const T, PhantomData<T>);

impl<T: 'static> Parameter for *mut T {
    type Value = Out<T>;

    fn device(&self) -> Option<u64> {
        (TypeId::of::<T>() == TypeId::of::<nvmlDevice_st>()).then(|| self.addr() as u64)
    }

    // Handles are pointers to what has no size.
    fn is_answer(&self) -> bool {
        size_of::<T>() > 0
    }

    unsafe fn take(self) -> Out<T> {
        Out(self, Cell::new(false))
    }
}

impl<T> Parameter for *const T {
    type Value = In<T>;

    unsafe fn take(self) -> In<T> {
        In(self, PhantomData)
    }
}

macro_rules! plain {
    ($($type:ty)*) => {$(
        impl Parameter for $type {
            type Value = $type;

            unsafe fn take(self) -> $type {
                self
            }
        }
    )*};
}

plain!(u32 i32 u64);

/// Whether a function answers in more than one place, of which one can then be a count of another's.
pub fn has_counts(are_answers: &[bool]) -> bool {
    are_answers.iter().filter(|is_answer| **is_answer).count() > 1
}

/// The first GPU among a call's parameters.
pub fn first_device(parameters: &[Option<u64>]) -> Option<u64> {
    parameters.iter().find_map(|parameter| *parameter)
}

/// A handle as C has it.
pub fn handle<T>(number: u64) -> *mut T {
    ptr::without_provenance_mut(number as usize)
}

impl<T> Out<T> {
    /// The handle's number, where this is an opaque handle. Never dereferenced.
    pub fn number(&self) -> u64 {
        self.0.addr() as u64
    }

    /// Whether the caller gave no memory.
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// An array of the caller's to which a struct of this type points; null where it does not.
    pub fn array<E>(&self, start: *mut E) -> Out<E> {
        Out(start, Cell::new(false))
    }

    /// Fails on a null pointer, for parameters that are checked before work begins.
    pub fn present(&self) -> Result<&Self, Code> {
        if self.0.is_null() { Err(Code::INVALID_ARGUMENT) } else { Ok(self) }
    }
}

impl<T: 'static> Out<T> {
    /// Writes the answer.
    pub fn put(&self, value: T) -> Result<(), Code> {
        self.present()?;
        // SAFETY: not null, and by `take` valid for writes of T.
        unsafe { self.write(0, &raw const value, size_of::<T>()) };
        Ok(())
    }

    /// Writes the first `bytes` of an answer, for functions that are older than the end of its struct.
    pub fn put_beginning(&self, value: T, bytes: usize) -> Result<(), Code> {
        self.present()?;
        // SAFETY: not null, valid for at least `bytes` by the old function's documentation; T is at least as long.
        unsafe { self.write(0, &raw const value, bytes.min(size_of::<T>())) };
        Ok(())
    }

    /// Writes the first two numbers of a struct of which versions differ behind them.
    pub fn put_two(&self, one: i32, other: u32) -> Result<(), Code> {
        self.present()?;
        const { assert!(size_of::<T>() >= 8) };
        // SAFETY: not null, and by `take` valid for writes of every version of the struct, which all begin so.
        unsafe {
            ptr::write_unaligned(self.0.cast::<i32>(), one);
            ptr::write_unaligned(self.0.cast::<u32>().add(1), other);
        }
        Ok(())
    }

    /// Writes answers one after another: the caller's array has at least as many places.
    pub fn put_all(&self, values: impl IntoIterator<Item = T>) -> Result<(), Code> {
        self.present()?;
        for (index, value) in values.into_iter().enumerate() {
            // SAFETY: the caller's array has this many places, by the contract of this function.
            unsafe { self.write(index, &raw const value, size_of::<T>()) };
        }
        Ok(())
    }

    /// Writes the first `bytes` of an answer to a place of the caller's array, and nonsense over them if a fault has struck
    /// this call. Unaligned memory of a careless caller works.
    ///
    /// # Safety
    /// The place is valid for `bytes`, and so is the answer.
    unsafe fn write<L>(&self, index: usize, answer: *const L, bytes: usize) {
        // SAFETY: by this function's contract.
        let to = unsafe { self.0.add(index) }.cast::<u8>();
        if self.1.get() || garbage::draw().is_none() {
            // SAFETY: both are valid for `bytes`, and the answer is a value of our own.
            return unsafe { ptr::copy_nonoverlapping(answer.cast::<u8>(), to, bytes) };
        }
        // SAFETY: valid for `bytes`; what another program has there are bytes, whatever it has written.
        let before = unsafe { slice::from_raw_parts(to, bytes) }.to_vec();
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(answer.cast::<u8>(), to, bytes) };
        // SAFETY: valid for `bytes`, and the caller waits meanwhile.
        spoil(unsafe { slice::from_raw_parts_mut(to, bytes) }, &before, is_number::<T>());
    }
}

impl<T: Copy + 'static> Out<T> {
    /// Writes one of the places of the caller's array; `index` is below the length that the caller gave.
    pub fn put_at(&self, index: usize, value: T) -> Result<(), Code> {
        self.present()?;
        // SAFETY: not null, and the caller's array has this place by the contract of this function.
        unsafe { self.write(index, &raw const value, size_of::<T>()) };
        Ok(())
    }

    /// Reads what the caller wrote there.
    pub fn get(&self) -> Result<T, Code> {
        self.present()?;
        self.1.set(true);
        // SAFETY: not null, and by `take` valid for reads of T.
        Ok(unsafe { ptr::read_unaligned(self.0) })
    }

    /// Reads one of the places of the caller's array; `index` is below the length that the caller gave.
    pub fn get_at(&self, index: usize) -> Result<T, Code> {
        self.present()?;
        // SAFETY: not null, and the caller's array has this place by the contract of this function.
        Ok(unsafe { ptr::read_unaligned(self.0.add(index)) })
    }
}

impl<T> Out<T> {
    /// The version word with which the caller's struct begins: size in the low, version in the high byte.
    pub fn version(&self) -> Result<u32, Code> {
        self.present()?;
        // SAFETY: not null, and every versioned struct begins with its 32-bit version word.
        Ok(unsafe { ptr::read_unaligned(self.0.cast::<u32>()) })
    }

    /// Fails unless the caller's struct is of this version and its own size.
    pub fn expect_version(&self, version: u32) -> Result<u32, Code> {
        let word = self.version()?;
        if word == version_word::<T>(version) { Ok(word) } else { Err(Code::ARGUMENT_VERSION_MISMATCH) }
    }
}

impl<T: 'static> Out<T> {
    /// The caller's memory as another version of its struct, if its version word says so; and that word.
    pub fn of_version<V>(&self, version: u32) -> Result<(Out<V>, u32), Code> {
        let other = Out::<V>(self.0.cast(), Cell::new(false));
        let word = other.expect_version(version)?;
        Ok((other, word))
    }

    /// Writes an answer of which the caller's struct is the beginning.
    pub fn put_beginning_of<L>(&self, value: L) -> Result<(), Code> {
        self.present()?;
        let bytes = size_of::<T>().min(size_of::<L>());
        // SAFETY: not null, and by `take` valid for writes of T; L is at least as long as what is copied.
        unsafe { self.write(0, &raw const value, bytes) };
        Ok(())
    }
}

impl<T> Out<T> {
    /// The same memory as the beginning of its struct, for structs that newer headers have made longer.
    pub fn beginning<B>(&self) -> Out<B> {
        const { assert!(size_of::<B>() <= size_of::<T>()) };
        Out(self.0.cast(), Cell::new(false))
    }

    /// The array behind the beginning of a struct; null where the struct is.
    pub fn behind<B, E>(&self) -> Out<E> {
        let bytes = if self.0.is_null() { 0 } else { size_of::<B>() };
        Out(self.0.cast::<u8>().wrapping_add(bytes).cast(), Cell::new(false))
    }
}

/// The version word of a struct.
pub fn version_word<T>(version: u32) -> u32 {
    (size_of::<T>() as u32) | version << 24
}

impl Out<c_char> {
    /// Writes text and its end into a buffer of `length` bytes.
    pub fn put_text(&self, length: u32, text: &str) -> Result<(), Code> {
        self.present()?;
        if text.len() >= length as usize {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        self.put_all(text.bytes().chain([0]).map(|byte| byte as c_char))
    }
}

impl<T: Copy> In<T> {
    /// Reads what the caller wrote there.
    pub fn get(&self) -> Result<T, Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not null, and by `take` valid for reads of T.
        Ok(unsafe { ptr::read_unaligned(self.0) })
    }
}

impl In<c_char> {
    /// The caller's text.
    pub fn text(&self) -> Result<String, Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not null, and by `take` a string with an end.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(str::to_owned).map_err(|_| Code::INVALID_ARGUMENT)
    }
}

/// Text in a fixed array of a struct, cut to fit with its end.
pub fn text_array<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    for (place, byte) in array.iter_mut().zip(text.bytes().take(N.saturating_sub(1))) {
        *place = byte as c_char;
    }
    array
}

/// The sixteen bytes of a UUID that is given in binary.
pub fn uuid_bytes(value: &nvmlUUIDValue_t) -> [u8; 16] {
    // SAFETY: plain bytes, whichever member the caller filled.
    unsafe { value.bytes }
}

/// The text of a UUID that is given as text, up to its end.
pub fn uuid_text(value: &nvmlUUIDValue_t) -> String {
    // SAFETY: plain bytes, whichever member the caller filled.
    let text = unsafe { value.str_ };
    text.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte as u8)).collect()
}
