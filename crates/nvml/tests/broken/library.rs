//! An NVML library that lacks most functions and answers nonsense, as `BROKEN` in its environment says:
//! `count`, `uuid`, `no-nul`, `imex`, `fabric`,
//! `confidential`, `switches` or `mig`. Built as a C library for the tests beside it.
#![expect(unsafe_code, reason = "a C library")]

use std::ffi::{c_char, c_uint, c_void};

const SUCCESS: c_uint = 0;

/// The length that our binding gives for a version; the wrapper's own question, which believes in a NUL,
/// gives 80.
const OUR_VERSION_SIZE: c_uint = 96;

fn is_broken(what: &str) -> bool {
    std::env::var("BROKEN").is_ok_and(|broken| broken == what)
}

/// Writes `words` and a NUL, or fills the whole buffer.
fn write(text: *mut c_char, length: c_uint, words: &str, fill: bool) -> c_uint {
    for at in 0..length as usize {
        let byte = if fill { b'x' } else { words.as_bytes().get(at).copied().unwrap_or(0) };
        // SAFETY: the caller says that there is room for `length` bytes.
        unsafe { text.add(at).write(byte.cast_signed()) };
    }
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> c_uint {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetDriverVersion(text: *mut c_char, length: c_uint) -> c_uint {
    write(text, length, "580.0", is_broken("no-nul") && length == OUR_VERSION_SIZE)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetNVMLVersion(text: *mut c_char, length: c_uint) -> c_uint {
    write(text, length, "13.580.0", is_broken("no-nul"))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> c_uint {
    // SAFETY: the caller gives a place for a number.
    unsafe { count.write(if is_broken("count") { 257 } else { 1 }) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByIndex_v2(_index: c_uint, handle: *mut *mut c_void) -> c_uint {
    // SAFETY: the caller gives a place for a handle.
    unsafe { handle.write(std::ptr::without_provenance_mut(8)) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetUUID(gpu: *mut c_void, text: *mut c_char, length: c_uint) -> c_uint {
    let uuid = match gpu.addr() {
        MIG_DEVICE => "MIG-00000000-0000-0000-0000-000000000002",
        _ if is_broken("uuid") => "GPU-none",
        _ => "GPU-00000000-0000-0000-0000-000000000001",
    };
    write(text, length, uuid, false)
}

/// `nvmlFieldValue_t`.
#[repr(C)]
struct FieldValue {
    field: c_uint,
    scope: c_uint,
    timestamp: i64,
    latency_usec: i64,
    value_type: c_uint,
    nvml_return: c_uint,
    value: u64,
}

/// `NVML_VALUE_TYPE_UNSIGNED_INT`.
const UNSIGNED_INT: c_uint = 1;

/// `NVML_ERROR_NOT_SUPPORTED`.
const NOT_SUPPORTED: c_uint = 3;

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetFieldValues(_gpu: *mut c_void, _count: i32, values: *mut FieldValue) -> c_uint {
    // SAFETY: the caller asks for one field, and gives it.
    let value = unsafe { &mut *values };
    if is_broken("imex") && value.field == 230 {
        // The upper half is not the library's to write: an unsigned int has four bytes.
        value.value = 5 | 0xdead_beef << 32;
        (value.value_type, value.nvml_return) = (UNSIGNED_INT, SUCCESS);
    } else {
        value.nvml_return = NOT_SUPPORTED;
    }
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetName(_gpu: *mut c_void, text: *mut c_char, length: c_uint) -> c_uint {
    write(text, length, "A GPU", is_broken("no-nul"))
}

/// `nvmlGpuFabricInfo_t`.
#[repr(C)]
struct FabricInfo {
    cluster: [u8; 16],
    status: c_uint,
    clique: c_uint,
    state: u8,
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuFabricInfo(_gpu: *mut c_void, info: *mut FabricInfo) -> c_uint {
    if !is_broken("fabric") {
        return NOT_SUPPORTED;
    }
    // SAFETY: the caller gives a place for it. There is no state 4.
    unsafe { info.write(FabricInfo { cluster: [7; 16], status: 0, clique: 1, state: 4 }) };
    SUCCESS
}

/// `nvmlConfComputeSystemState_t`.
#[repr(C)]
struct ConfidentialState {
    environment: c_uint,
    feature: c_uint,
    tools: c_uint,
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetConfComputeState(state: *mut ConfidentialState) -> c_uint {
    let feature = match (is_broken("confidential"), is_broken("switches")) {
        (true, _) => 1,
        (_, true) => NEITHER,
        _ => return NOT_SUPPORTED,
    };
    // SAFETY: the caller gives a place for it.
    unsafe { state.write(ConfidentialState { environment: 2, feature, tools: 0 }) };
    SUCCESS
}

/// Neither on nor off; and among NVML's codes that of what is not supported.
const NEITHER: c_uint = NOT_SUPPORTED;

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEccMode(_gpu: *mut c_void, now: *mut c_uint, next: *mut c_uint) -> c_uint {
    switch(now, next)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGspFirmwareMode(
    _gpu: *mut c_void,
    on: *mut c_uint,
    default: *mut c_uint,
) -> c_uint {
    switch(on, default)
}

fn switch(first: *mut c_uint, second: *mut c_uint) -> c_uint {
    if !is_broken("switches") {
        return NOT_SUPPORTED;
    }
    // SAFETY: the caller gives places for two numbers.
    unsafe {
        first.write(NEITHER);
        second.write(NEITHER);
    }
    SUCCESS
}

/// The handle of the only MIG device.
const MIG_DEVICE: usize = 16;

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigMode(_gpu: *mut c_void, now: *mut c_uint, next: *mut c_uint) -> c_uint {
    if !is_broken("mig") {
        return NOT_SUPPORTED;
    }
    // SAFETY: the caller gives places for two numbers.
    unsafe {
        now.write(1);
        next.write(1);
    }
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMaxMigDeviceCount(_gpu: *mut c_void, count: *mut c_uint) -> c_uint {
    // SAFETY: the caller gives a place for a number.
    unsafe { count.write(1) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    _gpu: *mut c_void,
    _index: c_uint,
    handle: *mut *mut c_void,
) -> c_uint {
    // SAFETY: the caller gives a place for a handle.
    unsafe { handle.write(std::ptr::without_provenance_mut(MIG_DEVICE)) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstanceId(_device: *mut c_void, id: *mut c_uint) -> c_uint {
    // SAFETY: the caller gives a place for a number.
    unsafe { id.write(0) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetComputeInstanceId(_device: *mut c_void, id: *mut c_uint) -> c_uint {
    // SAFETY: the caller gives a place for a number.
    unsafe { id.write(0) };
    SUCCESS
}

/// `nvmlDeviceAttributes_t`: multiprocessors, five kinds of engines, two of slices, MiB.
#[repr(C)]
struct Attributes {
    multiprocessors: c_uint,
    engines: [c_uint; 5],
    slices: [c_uint; 2],
    memory_mib: u64,
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetAttributes_v2(_device: *mut c_void, attributes: *mut Attributes) -> c_uint {
    let engines = [1, c_uint::MAX, 0, 0, 0];
    // SAFETY: the caller gives a place for them.
    unsafe {
        attributes.write(Attributes { multiprocessors: 14, engines, slices: [1; 2], memory_mib: 4864 })
    };
    SUCCESS
}
