//! Where GPUs sit: near CPUs and NUMA nodes, and what they have in common.

use nvml_sim::{AffinityScope, Call, Code, Gpu};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::from_c::{Out, handle};

/// `nvmlGpuP2PStatus_t`.
const P2P_OK: u32 = 0;
const P2P_NOT_SUPPORTED: u32 = 5;
/// `nvmlGpuP2PCapsIndex_t`: NVLink, and the number that stands for no capability, behind all that are.
const P2P_NVLINK: u32 = 2;
const P2P_UNKNOWN: u32 = 5;

/// Writes handles as NVML's lists do: with room, all of them; without, their number and an error.
fn give_all<'a>(
    call: &Call<'_>,
    count: &Out<u32>,
    devices: &Out<nvmlDevice_t>,
    gpus: impl Iterator<Item = &'a Gpu>,
) -> Result<(), Code> {
    let handles: Vec<nvmlDevice_t> = gpus.map(|gpu| handle(call.handle_of(gpu))).collect();
    let room = count.get()? as usize;
    count.put(handles.len() as u32)?;
    match handles.len() {
        // A client that asks with no room only wants the number.
        _ if room == 0 => Ok(()),
        needed if needed > room => Err(Code::INSUFFICIENT_SIZE),
        _ => devices.put_all(handles),
    }
}

exports! {
    fn nvmlDeviceGetCpuAffinity(device: nvmlDevice_t, words: u32, mask: *mut u64) => |call| {
        mask.put_all(gpu(call, &device)?.cpu_affinity(words, AffinityScope::Node)?)
    };
    fn nvmlDeviceGetCpuAffinityWithinScope(device: nvmlDevice_t, words: u32, mask: *mut u64, scope: u32) => |call| {
        mask.put_all(gpu(call, &device)?.cpu_affinity(words, AffinityScope::from_number(scope)?)?)
    };
    fn nvmlDeviceGetMemoryAffinity(device: nvmlDevice_t, words: u32, mask: *mut u64, scope: u32) => |call| {
        mask.put_all(gpu(call, &device)?.memory_affinity(words, AffinityScope::from_number(scope)?)?)
    };
    fn nvmlDeviceSetCpuAffinity(device: nvmlDevice_t) => |call| gpu(call, &device)?.bind_thread();
    fn nvmlDeviceClearCpuAffinity(device: nvmlDevice_t) => |call| gpu(call, &device)?.unbind_thread();
    // Only where a GPU's memory is a NUMA node of its own.
    fn nvmlDeviceGetNumaNodeId(device: nvmlDevice_t, node: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        node.present()?.put(view.gpu.memory_numa.ok_or(Code::NOT_SUPPORTED)?)
    };
    fn nvmlDeviceGetTopologyCommonAncestor(one: nvmlDevice_t, other: nvmlDevice_t, level: *mut u32) => |call| {
        level.put(gpu(call, &one)?.common_ancestor(gpu(call, &other)?.gpu) as u32)
    };
    fn nvmlDeviceGetTopologyNearestGpus(
        device: nvmlDevice_t, level: u32, count: *mut u32, devices: *mut nvmlDevice_t
    ) => |call| {
        let view = gpu(call, &device)?;
        let snapshot = call.snapshot()?;
        let near = snapshot.node.gpus.iter().filter(|other| {
            other.index != view.gpu.index && view.common_ancestor(other) as u32 == level
        });
        give_all(call, &count, &devices, near)
    };
    fn nvmlSystemGetTopologyGpuSet(cpu: u32, count: *mut u32, devices: *mut nvmlDevice_t) => |call| {
        give_all(call, &count, &devices, call.snapshot()?.gpus_near_cpu(cpu))
    };
    fn nvmlDeviceOnSameBoard(one: nvmlDevice_t, other: nvmlDevice_t, same: *mut i32) => |call| {
        same.put((gpu(call, &one)?.gpu.index == gpu(call, &other)?.gpu.index).into())
    };
    fn nvmlDeviceGetP2PStatus(one: nvmlDevice_t, other: nvmlDevice_t, index: u32, status: *mut u32) => |call| {
        let (one, other) = (gpu(call, &one)?, gpu(call, &other)?);
        match index {
            P2P_UNKNOWN.. => Err(Code::INVALID_ARGUMENT),
            P2P_NVLINK if !one.is_linked_to(other.gpu) => status.put(P2P_NOT_SUPPORTED),
            _ => status.put(P2P_OK),
        }
    };
}
