//! Initialisation, versions, error texts: what concerns the library and not one GPU.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use nvml_sim::Code;
use nvml_wrapper_sys::bindings::*;

use super::exports;
use crate::from_c::text_array;
use crate::library;

/// `nvmlInitWithFlags`: bits that the headers define (no GPUs, do not attach, force).
const INIT_FLAGS: u32 = 0x7;

exports! {
    fn nvmlInit() => |call| call.init();
    fn nvmlInit_v2() => |call| call.init();
    fn nvmlInitWithFlags(flags: u32) => |call| {
        if flags & !INIT_FLAGS != 0 { Err(Code::INVALID_ARGUMENT) } else { call.init() }
    };
    fn nvmlShutdown() => |call| call.library.shutdown();
    fn nvmlSystemGetDriverVersion(version: *mut c_char, length: u32) => |call| {
        version.put_text(length, &call.snapshot()?.node.driver_version)
    };
    fn nvmlSystemGetNVMLVersion(version: *mut c_char, length: u32) => |call| {
        version.put_text(length, &call.snapshot()?.node.nvml_version)
    };
    fn nvmlSystemGetCudaDriverVersion(version: *mut i32) => |call| {
        version.put(call.snapshot()?.node.cuda_version as i32)
    };
    fn nvmlSystemGetCudaDriverVersion_v2(version: *mut i32) => |call| {
        version.put(call.snapshot()?.node.cuda_version as i32)
    };
    fn nvmlSystemGetDriverBranch(info: *mut nvmlSystemDriverBranchInfo_t, length: u32) => |call| {
        let word = info.expect_version(1)?;
        let version = &call.snapshot()?.node.driver_version;
        let major = version.split('.').next().unwrap_or_default();
        let branch = format!("r{major}_00");
        if branch.len() >= length as usize {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        info.put(nvmlSystemDriverBranchInfo_t { version: word, branch: text_array(&branch) })
    };
    fn nvmlSystemGetHicVersion(count: *mut u32, entries: *mut nvmlHwbcEntry_t) => |_| {
        // No host interface cards: nothing is written to the entries.
        let _ = entries.is_null();
        count.put(0)
    };
    // Root alone may know, by NVML's documentation.
    fn nvmlSystemGetNvlinkBwMode(mode: *mut u32) => |call| {
        mode.present()?;
        let bandwidth = call.snapshot()?.nvlink_bandwidth()?;
        call.needs_root()?;
        mode.put(bandwidth)
    };
    fn nvmlSystemSetNvlinkBwMode(mode: u32) => |call| {
        call.library.set_system_nvlink_bandwidth(call.snapshot()?, mode)
    };
}

/// NVML's `nvmlErrorString`: the one function that returns no code.
#[expect(unsafe_code, reason = "an exported C function")]
// SAFETY: no other library exports this name, and it takes no pointer.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(result: nvmlReturn_t) -> *const c_char {
    static TEXTS: OnceLock<Vec<(u32, CString)>> = OnceLock::new();
    library().call_without_code("nvmlErrorString");
    let texts = TEXTS.get_or_init(|| {
        let numbers = [0].into_iter().chain(Code::ALL.iter().map(|(code, _)| code.0));
        numbers.filter_map(|number| Some((number, CString::new(Code::text(number)).ok()?))).collect()
    });
    let known = texts.iter().find(|(number, _)| *number == result);
    known.map_or(c"Unknown return value".as_ptr(), |(_, text)| text.as_ptr())
}

const _: fn(&mut NvmlLib) = |library| library.nvmlErrorString = Ok(nvmlErrorString);
