//! All that is unsafe here: loading a library, calling one of its functions with machine words, and memory that it may
//! write to, walled so that a write outside of it is found. It knows no function of NVML.
#![expect(unsafe_code, reason = "a C library is loaded, called and given memory")]

use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};

use thiserror::Error;

/// The most words that a function here is called with; NVML's longest prototypes have six parameters. What is too much
/// for a callee is not looked at: in C the caller removes its arguments.
pub const WORDS: usize = 8;

/// What surrounds the payload of a block, and how far.
const WALL: u8 = 0xA5;
const WALL_BYTES: usize = 64;
/// A page of x86-64.
const PAGE: usize = 4096;

/// A library that cannot be loaded.
#[derive(Debug, Error)]
#[error("cannot load {}: {reason}", path.display())]
pub struct OpenLibraryError {
    /// As it was asked for.
    pub path: PathBuf,
    /// As the loader tells it.
    pub reason: String,
}

/// A loaded library. It stays loaded until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Library(NonNull<c_void>);

// SAFETY: a loader's handle may be used by every thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// A C function that takes words and gives a 32-bit code.
#[derive(Clone, Copy, Debug)]
pub struct Function(Words);

type Words = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64) -> u32;

impl Library {
    /// Loads a library: a path with a slash, or a name for which the loader searches.
    pub fn open(path: &Path) -> Result<Library, OpenLibraryError> {
        let fail = |reason: String| OpenLibraryError { path: path.to_owned(), reason };
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| fail(error.to_string()))?;
        // SAFETY: a C string. Initialisers of an NVML library do nothing that this process minds.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        NonNull::new(handle).map(Library).ok_or_else(|| {
            // SAFETY: of this thread's last error of the loader, null or a string.
            let reason = unsafe { libc::dlerror().as_ref().map(|text| CStr::from_ptr(text)) };
            fail(reason.map_or_else(String::new, |text| text.to_string_lossy().into_owned()))
        })
    }

    fn symbol(&self, name: &str) -> Option<NonNull<c_void>> {
        let name = CString::new(name).ok()?;
        // SAFETY: a handle that is never closed, and a C string.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) })
    }

    /// Whether the library has a symbol.
    pub fn has(&self, name: &str) -> bool {
        self.symbol(name).is_some()
    }

    /// A function of the library.
    pub fn function(&self, name: &str) -> Option<Function> {
        let symbol = self.symbol(name)?;
        // SAFETY: NVML's functions take integers and pointers alone, all of which travel as words in this platform's
        // calling convention, and return a 32-bit code. `Function::call` says what else must hold.
        Some(Function(unsafe { std::mem::transmute::<*mut c_void, Words>(symbol.as_ptr()) }))
    }
}

impl Function {
    /// Calls it. The words are numbers, handles that the library must not follow unless it gave them, null, or the
    /// addresses of blocks that live on: who hands over anything else loses this process.
    pub fn call(self, words: &[u64; WORDS]) -> u32 {
        let [a, b, c, d, e, f, g, h] = *words;
        // SAFETY: see above. Whether the library keeps its side is what this program finds out; where it may not, it runs
        // in a process of its own.
        unsafe { (self.0)(a, b, c, d, e, f, g, h) }
    }
}

/// What comes behind the payload of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Bytes that are looked at afterwards.
    Wall,
    /// A page at which a write ends the process: the moment is seen, and whose write it was.
    Guard,
}

/// Memory for a library to write to, of an exact size.
#[derive(Debug)]
pub struct Block {
    map: NonNull<u8>,
    mapped: usize,
    at: usize,
    size: usize,
    behind: Behind,
}

// SAFETY: a block is the only owner of its memory.
unsafe impl Send for Block {}

impl Block {
    /// A block of zeros; nothing where the system has no memory.
    pub fn new(size: usize, behind: Behind) -> Option<Block> {
        let inner = (WALL_BYTES + size).next_multiple_of(PAGE);
        // Before a guard the payload stands at the end of its pages, else behind its wall.
        let (at, mapped) = match behind {
            Behind::Guard => (inner - size, inner + PAGE),
            Behind::Wall => (WALL_BYTES, (WALL_BYTES + size + WALL_BYTES).next_multiple_of(PAGE)),
        };
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory that nothing else has.
        let map = unsafe { libc::mmap(ptr::null_mut(), mapped, protection, flags, -1, 0) };
        if map == libc::MAP_FAILED {
            return None;
        }
        let mut block = Block { map: NonNull::new(map.cast())?, mapped, at, size, behind };
        if behind == Behind::Guard {
            // SAFETY: the last page of the map above.
            let done = unsafe { libc::mprotect(map.byte_add(inner), PAGE, libc::PROT_NONE) };
            (done == 0).then_some(())?;
        }
        block.walled().fill(WALL);
        block.bytes_mut().fill(0);
        Some(block)
    }

    /// The payload with its walls.
    fn walled(&mut self) -> &mut [u8] {
        let after = if self.behind == Behind::Guard { 0 } else { WALL_BYTES };
        let length = WALL_BYTES + self.size + after;
        // SAFETY: `new` left room for walls within the part of the map that can be read and written, and it is borrowed as
        // this block is.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_ptr().add(self.at - WALL_BYTES), length) }
    }

    /// The payload.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: within the map; the library writes only during a call, in which no one reads.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.at), self.size) }
    }

    /// The payload, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_ptr().add(self.at), self.size) }
    }

    /// Where the payload begins.
    pub fn address(&self) -> u64 {
        (self.map.as_ptr() as usize + self.at) as u64
    }

    /// Whether nothing was written outside of the payload.
    pub fn is_intact(&mut self) -> bool {
        let size = self.size;
        let (before, rest) = self.walled().split_at(WALL_BYTES);
        before.iter().chain(rest.iter().skip(size)).all(|byte| *byte == WALL)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nothing points to it any more.
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.mapped) };
    }
}
