//! Processes on a GPU or MIG device: lists of those that run, and what they used lately.

use std::ffi::c_char;

use nvml_sim::{Architecture, Call, Code, GpuView, Process, ProcessKind, ProcessSample};
use nvml_wrapper_sys::bindings::*;

use super::{device as device_of, exports};
use crate::from_c::Out;

/// Where a process runs on a GPU without MIG.
const NO_INSTANCE: u32 = u32::MAX;

/// Gives a list as NVML gives those of processes: to a caller whose list has too few places nothing. Also gives how many
/// are needed.
pub(super) fn give<T: 'static>(places: u32, list: &Out<T>, items: Vec<T>) -> (u32, Result<(), Code>) {
    let needed = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let given = match needed {
        0 => Ok(()),
        needed if needed > places => Err(Code::INSUFFICIENT_SIZE),
        _ => list.put_all(items),
    };
    (needed, given)
}

/// The same where the count is a number of its own: how many places there are, and then how many are needed.
pub(super) fn give_counted<T: 'static>(count: &Out<u32>, list: &Out<T>, items: Vec<T>) -> Result<(), Code> {
    let (needed, given) = give(count.get()?, list, items);
    count.put(needed)?;
    given
}

fn running<T: 'static>(
    call: &Call<'_>,
    device: &Out<nvmlDevice_st>,
    kind: ProcessKind,
    (count, list): (&Out<u32>, &Out<T>),
    of: impl Fn(&Process) -> T,
) -> Result<(), Code> {
    let processes = device_of(call, device)?.processes(kind);
    give_counted(count, list, processes.into_iter().map(of).collect())
}

fn first(process: &Process) -> nvmlProcessInfo_v1_t {
    nvmlProcessInfo_v1_t { pid: process.pid, usedGpuMemory: process.memory.0 }
}

fn second(process: &Process) -> nvmlProcessInfo_v2_t {
    let (gpu_instance, compute_instance) = ids(process);
    nvmlProcessInfo_v2_t {
        pid: process.pid,
        usedGpuMemory: process.memory.0,
        gpuInstanceId: gpu_instance,
        computeInstanceId: compute_instance,
    }
}

fn ids(process: &Process) -> (u32, u32) {
    let ids = process.instance.map(|place| (place.gpu_instance, place.compute_instance));
    ids.unwrap_or((NO_INSTANCE, NO_INSTANCE))
}

/// The GPU of samples. "On MIG-enabled GPUs, querying process utilization is not currently supported", says NVML's
/// documentation.
fn sampled<'a>(call: &'a Call<'_>, device: &Out<nvmlDevice_st>) -> Result<GpuView<'a>, Code> {
    let gpu = device_of(call, device)?.gpu();
    if gpu.is_mig_enabled() { Err(Code::NOT_SUPPORTED) } else { Ok(gpu) }
}

fn samples(gpu: GpuView<'_>, since_us: u64) -> Result<Vec<ProcessSample>, Code> {
    let samples = gpu.process_samples(since_us);
    if samples.is_empty() { Err(Code::NOT_FOUND) } else { Ok(samples) }
}

/// The processes that a list's mode asks for.
fn kind_of(mode: u32) -> Result<ProcessKind, Code> {
    let kinds = [ProcessKind::Compute, ProcessKind::Graphics, ProcessKind::Mps];
    kinds.into_iter().find(|kind| *kind as u32 == mode).ok_or(Code::INVALID_ARGUMENT)
}

exports! {
    fn nvmlDeviceGetComputeRunningProcesses(
        device: nvmlDevice_t, count: *mut u32, list: *mut nvmlProcessInfo_v1_t
    ) => |call| running(call, &device, ProcessKind::Compute, (&count, &list), first);
    fn nvmlDeviceGetComputeRunningProcesses_v2(
        device: nvmlDevice_t, count: *mut u32, list: *mut nvmlProcessInfo_v2_t
    ) => |call| running(call, &device, ProcessKind::Compute, (&count, &list), second);
    fn nvmlDeviceGetComputeRunningProcesses_v3(
        device: nvmlDevice_t, count: *mut u32, list: *mut nvmlProcessInfo_t
    ) => |call| running(call, &device, ProcessKind::Compute, (&count, &list), second);
    fn nvmlDeviceGetGraphicsRunningProcesses(
        device: nvmlDevice_t, count: *mut u32, list: *mut nvmlProcessInfo_v1_t
    ) => |call| running(call, &device, ProcessKind::Graphics, (&count, &list), first);
    fn nvmlDeviceGetGraphicsRunningProcesses_v2(
        device: nvmlDevice_t, count: *mut u32, list: *mut nvmlProcessInfo_v2_t
    ) => |call| running(call, &device, ProcessKind::Graphics, (&count, &list), second);
    fn nvmlDeviceGetGraphicsRunningProcesses_v3(
        device: nvmlDevice_t, count: *mut u32, list: *mut nvmlProcessInfo_t
    ) => |call| running(call, &device, ProcessKind::Graphics, (&count, &list), second);
    fn nvmlDeviceGetMPSComputeRunningProcesses(
        device: nvmlDevice_t, count: *mut u32, list: *mut nvmlProcessInfo_v1_t
    ) => |call| running(call, &device, ProcessKind::Mps, (&count, &list), first);
    fn nvmlDeviceGetMPSComputeRunningProcesses_v2(
        device: nvmlDevice_t, count: *mut u32, list: *mut nvmlProcessInfo_v2_t
    ) => |call| running(call, &device, ProcessKind::Mps, (&count, &list), second);
    fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
        device: nvmlDevice_t, count: *mut u32, list: *mut nvmlProcessInfo_t
    ) => |call| running(call, &device, ProcessKind::Mps, (&count, &list), second);
    // "For Hopper or newer", says NVML's documentation.
    fn nvmlDeviceGetRunningProcessDetailList(device: nvmlDevice_t, list: *mut nvmlProcessDetailList_t) => |call| {
        let word = list.expect_version(1)?;
        let device = device_of(call, &device)?;
        if device.gpu().gpu.model.architecture < Architecture::Hopper {
            return Err(Code::NOT_SUPPORTED);
        }
        let own = list.get()?;
        let processes = device.processes(kind_of(own.mode)?);
        let details = processes.into_iter().map(|process| {
            let (gpu_instance, compute_instance) = ids(process);
            nvmlProcessDetail_v1_t {
                pid: process.pid,
                usedGpuMemory: process.memory.0,
                gpuInstanceId: gpu_instance,
                computeInstanceId: compute_instance,
                // No GPU of a simulated node computes confidentially.
                usedGpuCcProtectedMemory: 0,
            }
        });
        let (needed, given) = give(own.numProcArrayEntries, &list.array(own.procArray), details.collect());
        list.put(nvmlProcessDetailList_t { version: word, numProcArrayEntries: needed, ..own })?;
        given
    };
    fn nvmlDeviceGetProcessUtilization(
        device: nvmlDevice_t, list: *mut nvmlProcessUtilizationSample_t, count: *mut u32, since_us: u64
    ) => |call| {
        let gpu = sampled(call, &device)?;
        count.present()?;
        let samples = samples(gpu, since_us)?.into_iter().map(|sample| nvmlProcessUtilizationSample_t {
            pid: sample.pid,
            timeStamp: sample.time_us,
            smUtil: sample.load.sm.number(),
            memUtil: sample.load.memory_activity.number(),
            encUtil: sample.load.encoder.number(),
            decUtil: sample.load.decoder.number(),
        });
        let places = if list.is_null() { 0 } else { count.get()? };
        let (needed, given) = give(places, &list, samples.collect());
        count.put(needed)?;
        given
    };
    fn nvmlDeviceGetProcessesUtilizationInfo(
        device: nvmlDevice_t, info: *mut nvmlProcessesUtilizationInfo_t
    ) => |call| {
        let version = info.expect_version(1)?;
        let gpu = sampled(call, &device)?;
        let own = info.get()?;
        let samples = samples(gpu, own.lastSeenTimeStamp)?.into_iter().map(|sample| nvmlProcessUtilizationInfo_v1_t {
            timeStamp: sample.time_us,
            pid: sample.pid,
            smUtil: sample.load.sm.number(),
            memUtil: sample.load.memory_activity.number(),
            encUtil: sample.load.encoder.number(),
            decUtil: sample.load.decoder.number(),
            // No simulated process uses these engines.
            jpgUtil: 0,
            ofaUtil: 0,
        });
        let list = info.array(own.procUtilArray);
        let places = if list.is_null() { 0 } else { own.processSamplesCount };
        let (needed, given) = give(places, &list, samples.collect());
        info.put(nvmlProcessesUtilizationInfo_t { version, processSamplesCount: needed, ..own })?;
        given
    };
    // The node's own processes first: one of the machine may have the same pid.
    fn nvmlSystemGetProcessName(pid: u32, name: *mut c_char, length: u32) => |call| {
        name.present()?;
        let cut = |whole: &str| {
            // The real library cuts a long name to the buffer.
            let mut end = whole.len().min(length.saturating_sub(1) as usize);
            while !whole.is_char_boundary(end) {
                end -= 1;
            }
            whole.get(..end).unwrap_or_default().to_owned()
        };
        if length == 0 {
            return Err(Code::INVALID_ARGUMENT);
        }
        if let Some(own) = call.snapshot()?.process_name(pid) {
            return name.put_text(length, &cut(own));
        }
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).map_err(|_| Code::NOT_FOUND)?;
        name.put_text(length, &cut(comm.trim_end()))
    };
}
