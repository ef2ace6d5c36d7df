//! What boards for a desk let programs do: clock offsets, PowerMizer, an acoustic limit; and their coolers.

use nvml_sim::{ClockKind, Code, POWER_MIZER_MODES};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

/// The P-state that the older functions mean, which name none (assumed).
const FASTEST: u32 = 0;
/// `nvmlTemperatureThresholds_t`: the acoustic limit that is set, and the last number.
const ACOUSTIC: u32 = 5;
const LAST_THRESHOLD: u32 = 7;
/// `nvmlCoolerControl_t` and `nvmlCoolerTarget_t`: a fan of any speed, which cools all of the board (assumed).
const VARIABLE: nvmlCoolerControl_t = 2;
const ALL_OF_THE_BOARD: nvmlCoolerTarget_t = 14;

exports! {
    fn nvmlDeviceGetClockOffsets(device: nvmlDevice_t, info: *mut nvmlClockOffset_t) => |call| {
        let version = info.expect_version(1)?;
        let view = gpu(call, &device)?;
        let nvmlClockOffset_t { type_: kind, pstate, .. } = info.get()?;
        let offset = view.clock_offset(ClockKind::of(kind)?, pstate)?;
        info.put(nvmlClockOffset_t {
            version,
            type_: kind,
            pstate,
            clockOffsetMHz: offset.set,
            minClockOffsetMHz: offset.min,
            maxClockOffsetMHz: offset.max,
        })
    };
    fn nvmlDeviceSetClockOffsets(device: nvmlDevice_t, info: *mut nvmlClockOffset_t) => |call| {
        info.expect_version(1)?;
        let view = gpu(call, &device)?;
        let nvmlClockOffset_t { type_: kind, pstate, clockOffsetMHz: mhz, .. } = info.get()?;
        call.library.set_clock_offset(view, ClockKind::of(kind)?, pstate, mhz)
    };
    fn nvmlDeviceGetGpcClkVfOffset(device: nvmlDevice_t, offset: *mut i32) => |call| {
        offset.put(gpu(call, &device)?.clock_offset(ClockKind::Graphics, FASTEST)?.set)
    };
    fn nvmlDeviceGetMemClkVfOffset(device: nvmlDevice_t, offset: *mut i32) => |call| {
        offset.put(gpu(call, &device)?.clock_offset(ClockKind::Memory, FASTEST)?.set)
    };
    fn nvmlDeviceGetGpcClkMinMaxVfOffset(device: nvmlDevice_t, low: *mut i32, high: *mut i32) => |call| {
        let offset = gpu(call, &device)?.clock_offset(ClockKind::Graphics, FASTEST)?;
        high.present()?;
        low.put(offset.min)?;
        high.put(offset.max)
    };
    fn nvmlDeviceGetMemClkMinMaxVfOffset(device: nvmlDevice_t, low: *mut i32, high: *mut i32) => |call| {
        let offset = gpu(call, &device)?.clock_offset(ClockKind::Memory, FASTEST)?;
        high.present()?;
        low.put(offset.min)?;
        high.put(offset.max)
    };
    fn nvmlDeviceSetGpcClkVfOffset(device: nvmlDevice_t, mhz: i32) => |call| {
        call.library.set_clock_offset(gpu(call, &device)?, ClockKind::Graphics, FASTEST, mhz)
    };
    fn nvmlDeviceSetMemClkVfOffset(device: nvmlDevice_t, mhz: i32) => |call| {
        call.library.set_clock_offset(gpu(call, &device)?, ClockKind::Memory, FASTEST, mhz)
    };
    fn nvmlDeviceGetPowerMizerMode_v1(device: nvmlDevice_t, modes: *mut nvmlDevicePowerMizerModes_v1_t) => |call| {
        let view = gpu(call, &device)?;
        let asked = modes.get()?;
        let supported = POWER_MIZER_MODES.iter().fold(0, |mask, mode| mask | 1 << mode);
        modes.put(nvmlDevicePowerMizerModes_v1_t {
            currentMode: view.power_mizer_mode()?,
            mode: asked.mode,
            supportedPowerMizerModes: supported,
        })
    };
    fn nvmlDeviceSetPowerMizerMode_v1(device: nvmlDevice_t, modes: *mut nvmlDevicePowerMizerModes_v1_t) => |call| {
        call.library.set_power_mizer(gpu(call, &device)?, modes.get()?.mode)
    };
    // The hardware's own limits are nobody's to set (assumed).
    fn nvmlDeviceSetTemperatureThreshold(device: nvmlDevice_t, threshold: u32, celsius: *mut i32) => |call| {
        let view = gpu(call, &device)?;
        let wanted = celsius.get()?;
        match threshold {
            ACOUSTIC => call.library.set_acoustic_limit(view, wanted),
            0..=LAST_THRESHOLD => Err(Code::NOT_SUPPORTED),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    };
    fn nvmlDeviceGetCoolerInfo(device: nvmlDevice_t, info: *mut nvmlCoolerInfo_t) => |call| {
        let version = info.expect_version(1)?;
        let view = gpu(call, &device)?;
        let index = view.fan(info.get()?.index)?;
        info.put(nvmlCoolerInfo_t { version, index, signalType: VARIABLE, target: ALL_OF_THE_BOARD })
    };
}
