//! The simulated driver's C library, `libnvidia-ml.so.1`: NVML's functions with their C types, each a few lines
//! into `nvml-sim`.
//!
//! It translates and decides nothing. `unsafe` lives in `from_c` (pointers of the caller) and in the attributes
//! of the exported functions.

mod exports;
mod from_c;
mod refusals;
mod spoil;
pub mod structs;

pub use exports::IMPLEMENTED;
pub use refusals::{KNOWN, REASONS, REFUSED, Reason};

use std::sync::OnceLock;

use nvml_sim::Library;

/// The library in this process.
fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| Library::new(library as fn() -> &'static Library as usize))
}

/// Tells a person with `nm`, and a program with `dlsym`, that this is no real driver.
#[expect(unsafe_code, reason = "an exported symbol")]
// SAFETY: no other library exports this name.
#[unsafe(no_mangle)]
pub static nvmlSimulatedByGantry: u32 = 1;
