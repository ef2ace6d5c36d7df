//! Clocks: what they are, what they can be, and what programs ask for.

use nvml_sim::{ClockKind, Code};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::from_c::Out;

/// `nvmlClockId_t`: current, of applications, their default, and the highest that a customer may set.
const CURRENT: u32 = 0;
const APPLICATION: u32 = 1;
const APPLICATION_DEFAULT: u32 = 2;
const CUSTOMER_MAX: u32 = 3;
/// `nvmlPstates_t`: none.
const PSTATE_UNKNOWN: u32 = 32;
/// `NVML_MAX_GPU_PERF_PSTATES`.
const PSTATES: usize = 16;
/// Adaptive clocking is off (assumed: no listing shows it).
const ADAPTIVE_OFF: u32 = 0;

/// A list into an array of `count` places, which then says how many there are.
fn put_list(list: &[u32], count: &Out<u32>, places: &Out<u32>) -> Result<(), Code> {
    let room = count.get()? as usize;
    count.put(list.len() as u32)?;
    if room < list.len() {
        return Err(Code::INSUFFICIENT_SIZE);
    }
    places.put_all(list.iter().copied())
}

exports! {
    fn nvmlDeviceGetClockInfo(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(gpu(call, &device)?.clock_mhz(ClockKind::of(kind)?))
    };
    fn nvmlDeviceGetMaxClockInfo(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(gpu(call, &device)?.clock_max_mhz(ClockKind::of(kind)?))
    };
    fn nvmlDeviceGetMaxCustomerBoostClock(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(gpu(call, &device)?.clock_max_mhz(ClockKind::of(kind)?))
    };
    fn nvmlDeviceGetClock(device: nvmlDevice_t, kind: u32, which: u32, mhz: *mut u32) => |call| {
        let (view, kind) = (gpu(call, &device)?, ClockKind::of(kind)?);
        mhz.put(match which {
            CURRENT => view.clock_mhz(kind),
            APPLICATION => view.clock_application_mhz(kind),
            APPLICATION_DEFAULT => view.clock_default_mhz(kind),
            CUSTOMER_MAX => view.clock_max_mhz(kind),
            _ => return Err(Code::INVALID_ARGUMENT),
        })
    };
    fn nvmlDeviceGetApplicationsClock(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(gpu(call, &device)?.clock_application_mhz(ClockKind::of(kind)?))
    };
    fn nvmlDeviceGetDefaultApplicationsClock(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(gpu(call, &device)?.clock_default_mhz(ClockKind::of(kind)?))
    };
    fn nvmlDeviceGetSupportedMemoryClocks(device: nvmlDevice_t, count: *mut u32, clocks: *mut u32) => |call| {
        put_list(&gpu(call, &device)?.supported_memory_clocks(), &count, &clocks)
    };
    fn nvmlDeviceGetSupportedGraphicsClocks(
        device: nvmlDevice_t, memory: u32, count: *mut u32, clocks: *mut u32
    ) => |call| {
        put_list(&gpu(call, &device)?.supported_graphics_clocks(memory)?, &count, &clocks)
    };
    // The rest of the array says that there are no more.
    fn nvmlDeviceGetSupportedPerformanceStates(
        device: nvmlDevice_t, states: *mut nvmlPstates_t, bytes: u32
    ) => |call| {
        let known = gpu(call, &device)?.performance_states();
        let room = bytes as usize / size_of::<nvmlPstates_t>();
        if room < known.len() {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        states.put_all(known.iter().copied().chain(std::iter::repeat(PSTATE_UNKNOWN)).take(room.min(PSTATES)))
    };
    fn nvmlDeviceGetMinMaxClockOfPState(
        device: nvmlDevice_t, kind: u32, state: nvmlPstates_t, low: *mut u32, high: *mut u32
    ) => |call| {
        let (least, most) = gpu(call, &device)?.clock_range_mhz(ClockKind::of(kind)?, state)?;
        high.present()?;
        low.put(least)?;
        high.put(most)
    };
    fn nvmlDeviceGetAdaptiveClockInfoStatus(device: nvmlDevice_t, status: *mut u32) => |call| {
        gpu(call, &device)?;
        status.put(ADAPTIVE_OFF)
    };
    fn nvmlDeviceSetGpuLockedClocks(device: nvmlDevice_t, low: u32, high: u32) => |call| {
        call.library.lock_graphics_clocks(gpu(call, &device)?, low, high)
    };
    fn nvmlDeviceResetGpuLockedClocks(device: nvmlDevice_t) => |call| {
        call.library.unlock_graphics_clocks(gpu(call, &device)?)
    };
    fn nvmlDeviceSetMemoryLockedClocks(device: nvmlDevice_t, low: u32, high: u32) => |call| {
        call.library.lock_memory_clocks(gpu(call, &device)?, low, high)
    };
    fn nvmlDeviceResetMemoryLockedClocks(device: nvmlDevice_t) => |call| {
        call.library.unlock_memory_clocks(gpu(call, &device)?)
    };
    fn nvmlDeviceSetApplicationsClocks(device: nvmlDevice_t, memory: u32, graphics: u32) => |call| {
        call.library.set_application_clocks(gpu(call, &device)?, memory, graphics)
    };
    fn nvmlDeviceResetApplicationsClocks(device: nvmlDevice_t) => |call| {
        call.library.reset_application_clocks(gpu(call, &device)?)
    };
}
