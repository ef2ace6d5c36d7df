//! A wall clock that a test sets: a C library that is loaded before the others (`LD_PRELOAD`), and moves what a program
//! takes for the time of day by the seconds that a file says, and says anew whenever the test rewrites it.
//!
//! ```text
//!   LD_PRELOAD=…/libclock_shim.so CLOCK_SHIM_FILE=/tmp/seconds PROGRAM
//! ```
//!
//! It moves `CLOCK_REALTIME` in `clock_gettime`, `gettimeofday` and `time`, and nothing else: neither the monotonic clock nor
//! the times of files, which are the kernel's. A program that asks the kernel past the C library has the real time, too.
//! It knows no program. Only tests load it (`sim_node::Builder::own_clock`); nothing links it.
#![expect(unsafe_code, reason = "it stands in for functions of the C library")]

use std::ffi::{CString, c_int, c_void};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use libc::{CLOCK_REALTIME, CLOCK_REALTIME_COARSE, clockid_t, time_t, timespec, timeval};
use rustix::fs::{Mode, OFlags};

/// Names the file whose text is the seconds that the wall clock is off by.
pub const FILE_VARIABLE: &str = "CLOCK_SHIM_FILE";

/// Most bytes of the file that are read: more than any number of seconds has.
const LONGEST: usize = 32;

/// How far the wall clock is off, in seconds; not at all where no file says so.
fn offset() -> i64 {
    static FILE: OnceLock<Option<CString>> = OnceLock::new();
    let named = || CString::new(std::env::var_os(FILE_VARIABLE)?.into_vec()).ok();
    let Some(path) = FILE.get_or_init(named) else { return 0 };
    let Ok(file) = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return 0 };
    let mut text = [0; LONGEST];
    let Ok(length) = rustix::io::read(&file, &mut text) else { return 0 };
    let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// As the C library's.
///
/// # Safety
/// `time` is a place for the answer, or the kernel refuses it.
// SAFETY: it has the type that C programs expect of this name, and does what they do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the kernel checks the place itself.
    let failed = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } != 0;
    if failed {
        return -1;
    }
    if matches!(clock, CLOCK_REALTIME | CLOCK_REALTIME_COARSE) {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += offset() };
    }
    0
}

/// As the C library's.
///
/// # Safety
/// `time` is null or a place for the answer, as is `zone`, or the kernel refuses them.
// SAFETY: it has the type that C programs expect of this name, and does what they do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut timeval, zone: *mut c_void) -> c_int {
    // SAFETY: the kernel checks the places itself.
    let failed = unsafe { libc::syscall(libc::SYS_gettimeofday, time, zone) } != 0;
    if failed {
        return -1;
    }
    if !time.is_null() {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += offset() };
    }
    0
}

/// As the C library's.
///
/// # Safety
/// `answer` is null or a place for the answer.
// SAFETY: it has the type that C programs expect of this name, and does what they do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(answer: *mut time_t) -> time_t {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a place for the answer.
    unsafe { clock_gettime(CLOCK_REALTIME, &raw mut now) };
    if !answer.is_null() {
        // SAFETY: the caller says that it is a place for the answer.
        unsafe { *answer = now.tv_sec };
    }
    now.tv_sec
}
