//! S-class units, of which a simulated node has none, and GPUs that a driver was told to leave out, of which it has none
//! either. So no handle and no index is one.

use nvml_sim::Code;
use nvml_wrapper_sys::bindings::*;

use super::exports;

/// No unit, no excluded GPU.
const NONE: Result<(), Code> = Err(Code::INVALID_ARGUMENT);

exports! {
    fn nvmlUnitGetCount(count: *mut u32) => |_| {
        count.put(0)
    };
    fn nvmlUnitGetHandleByIndex(_index: u32, _unit: *mut nvmlUnit_t) => |_| NONE;
    fn nvmlUnitGetUnitInfo(_unit: nvmlUnit_t, _info: *mut nvmlUnitInfo_t) => |_| NONE;
    fn nvmlUnitGetLedState(_unit: nvmlUnit_t, _state: *mut nvmlLedState_t) => |_| NONE;
    fn nvmlUnitGetPsuInfo(_unit: nvmlUnit_t, _supply: *mut nvmlPSUInfo_t) => |_| NONE;
    fn nvmlUnitGetTemperature(_unit: nvmlUnit_t, _kind: u32, _celsius: *mut u32) => |_| NONE;
    fn nvmlUnitGetFanSpeedInfo(_unit: nvmlUnit_t, _fans: *mut nvmlUnitFanSpeeds_t) => |_| NONE;
    fn nvmlUnitGetDevices(_unit: nvmlUnit_t, _count: *mut u32, _devices: *mut nvmlDevice_t) => |_| NONE;
    fn nvmlUnitSetLedState(_unit: nvmlUnit_t, _color: nvmlLedColor_t) => |_| NONE;
    fn nvmlGetExcludedDeviceCount(count: *mut u32) => |_| {
        count.put(0)
    };
    fn nvmlGetExcludedDeviceInfoByIndex(_index: u32, _info: *mut nvmlExcludedDeviceInfo_t) => |_| NONE;
}
