//! Accounting: what the driver has written down of each process of a GPU.

use nvml_sim::{ACCOUNTING_PROCESSES_MAX, Accounting, Call, Code, GpuView, Percent};
use nvml_wrapper_sys::bindings::*;

use super::processes::give_counted;
use super::{exports, gpu};
use crate::from_c::Out;
use crate::structs::nvmlAccountingStats_v2_t;

/// GPU and accounting; "NOT_SUPPORTED if … accounting mode is disabled", says NVML's documentation.
fn accounting<'a>(
    call: &'a Call<'_>,
    device: &Out<nvmlDevice_st>,
) -> Result<(GpuView<'a>, &'a Accounting), Code> {
    let gpu = gpu(call, device)?;
    Ok((gpu, gpu.accounting().ok_or(Code::NOT_SUPPORTED)?))
}

exports! {
    fn nvmlDeviceGetAccountingMode(device: nvmlDevice_t, mode: *mut u32) => |call| {
        mode.put(gpu(call, &device)?.accounting().is_some().into())
    };
    fn nvmlDeviceSetAccountingMode(device: nvmlDevice_t, mode: u32) => |call| {
        let view = gpu(call, &device)?;
        if mode > 1 { Err(Code::INVALID_ARGUMENT) } else { call.library.set_accounting_mode(view, mode == 1) }
    };
    // Told while accounting is off too, as in listings of real GPUs.
    fn nvmlDeviceGetAccountingBufferSize(device: nvmlDevice_t, count: *mut u32) => |call| {
        gpu(call, &device)?;
        count.put(ACCOUNTING_PROCESSES_MAX)
    };
    fn nvmlDeviceGetAccountingPids(device: nvmlDevice_t, count: *mut u32, pids: *mut u32) => |call| {
        let (view, accounting) = accounting(call, &device)?;
        give_counted(&count, &pids, view.accounted_pids(accounting))
    };
    fn nvmlDeviceGetAccountingStats(device: nvmlDevice_t, pid: u32, stats: *mut nvmlAccountingStats_t) => |call| {
        let (view, accounting) = accounting(call, &device)?;
        stats.present()?;
        let own = view.accounted(accounting, pid).ok_or(Code::NOT_FOUND)?;
        stats.put(nvmlAccountingStats_t {
            gpuUtilization: own.sm.number(),
            memoryUtilization: own.memory_activity.number(),
            maxMemoryUsage: own.memory.0,
            time: own.time_ms,
            startTime: own.start_us,
            isRunning: own.is_running.into(),
            reserved: [0; 5],
        })
    };
    // The process stands in the struct, which has no version word.
    fn nvmlDeviceGetAccountingStats_v2(
        device: nvmlDevice_t, stats: *mut nvmlAccountingStats_v2_t
    ) in "13.3" => |call| {
        let (view, accounting) = accounting(call, &device)?;
        let pid = stats.get()?.pid;
        let own = view.accounted(accounting, pid).ok_or(Code::NOT_FOUND)?;
        let sum = |part: Percent| u64::from(own.samples) * u64::from(part.number()) * 100;
        stats.put(nvmlAccountingStats_v2_t {
            pid,
            isRunning: own.is_running.into(),
            gpuUtilization: own.sm.number(),
            memoryUtilization: own.memory_activity.number(),
            maxMemoryUsage: own.memory.0,
            sampleCount: own.samples,
            sumGpuUtil: sum(own.sm),
            sumFbUtil: sum(own.memory_activity),
            time: own.time_ms,
            startTime: own.start_us,
        })
    };
    fn nvmlDeviceClearAccountingPids(device: nvmlDevice_t) => |call| {
        call.library.clear_accounting(gpu(call, &device)?)
    };
}
