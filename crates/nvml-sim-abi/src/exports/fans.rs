//! Fans.

use nvml_sim::FAN_RANGE;
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

exports! {
    fn nvmlDeviceGetNumFans(device: nvmlDevice_t, fans: *mut u32) => |call| {
        fans.put(gpu(call, &device)?.gpu.model.fans)
    };
    fn nvmlDeviceGetFanSpeed(device: nvmlDevice_t, percent: *mut u32) => |call| {
        percent.put(gpu(call, &device)?.fan_percent(0)?)
    };
    fn nvmlDeviceGetFanSpeed_v2(device: nvmlDevice_t, fan: u32, percent: *mut u32) => |call| {
        percent.put(gpu(call, &device)?.fan_percent(fan)?)
    };
    fn nvmlDeviceGetTargetFanSpeed(device: nvmlDevice_t, fan: u32, percent: *mut u32) => |call| {
        percent.put(gpu(call, &device)?.fan_percent(fan)?)
    };
    fn nvmlDeviceGetFanSpeedRPM(device: nvmlDevice_t, info: *mut nvmlFanSpeedInfo_t) => |call| {
        let version = info.expect_version(1)?;
        let view = gpu(call, &device)?;
        let fan = info.get()?.fan;
        info.put(nvmlFanSpeedInfo_t { version, fan, speed: view.fan_rpm(fan)? })
    };
    fn nvmlDeviceGetMinMaxFanSpeed(device: nvmlDevice_t, low: *mut u32, high: *mut u32) => |call| {
        gpu(call, &device)?.fan(0)?;
        high.present()?;
        low.put(FAN_RANGE.0)?;
        high.put(FAN_RANGE.1)
    };
    fn nvmlDeviceGetFanControlPolicy_v2(device: nvmlDevice_t, fan: u32, policy: *mut u32) => |call| {
        policy.put(gpu(call, &device)?.fan_policy(fan)? as u32)
    };
    fn nvmlDeviceSetFanControlPolicy(device: nvmlDevice_t, fan: u32, policy: u32) => |call| {
        call.library.set_fan_policy(gpu(call, &device)?, fan, policy)
    };
    fn nvmlDeviceSetFanSpeed_v2(device: nvmlDevice_t, fan: u32, percent: u32) => |call| {
        call.library.set_fan(gpu(call, &device)?, fan, percent)
    };
    fn nvmlDeviceSetDefaultFanSpeed_v2(device: nvmlDevice_t, fan: u32) => |call| {
        call.library.reset_fan(gpu(call, &device)?, fan)
    };
}
