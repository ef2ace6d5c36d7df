//! Processes on a GPU. A simulated node runs none yet, so each list is empty and its memory untouched.

use nvml_sim::{Call, Code};
use nvml_wrapper_sys::bindings::*;

use super::{device as device_of, exports};
use crate::from_c::Out;

fn none(call: &Call<'_>, device: &Out<nvmlDevice_st>, count: &Out<u32>) -> Result<(), Code> {
    device_of(call, device)?;
    count.put(0)
}

exports! {
    fn nvmlDeviceGetComputeRunningProcesses(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlProcessInfo_v1_t
    ) => |call| none(call, &device, &count);
    fn nvmlDeviceGetComputeRunningProcesses_v2(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlProcessInfo_v2_t
    ) => |call| none(call, &device, &count);
    fn nvmlDeviceGetComputeRunningProcesses_v3(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlProcessInfo_t
    ) => |call| none(call, &device, &count);
    fn nvmlDeviceGetGraphicsRunningProcesses(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlProcessInfo_v1_t
    ) => |call| none(call, &device, &count);
    fn nvmlDeviceGetGraphicsRunningProcesses_v2(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlProcessInfo_v2_t
    ) => |call| none(call, &device, &count);
    fn nvmlDeviceGetGraphicsRunningProcesses_v3(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlProcessInfo_t
    ) => |call| none(call, &device, &count);
    fn nvmlDeviceGetMPSComputeRunningProcesses(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlProcessInfo_v1_t
    ) => |call| none(call, &device, &count);
    fn nvmlDeviceGetMPSComputeRunningProcesses_v2(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlProcessInfo_v2_t
    ) => |call| none(call, &device, &count);
    fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlProcessInfo_t
    ) => |call| none(call, &device, &count);
}
