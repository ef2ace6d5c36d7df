//! What a board tells of itself: its InfoROM, identifiers, host name and place in a rack.

use std::ffi::{c_char, c_ulong};

use nvml_sim::{Code, InforomObject};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::from_c::text_array;
use crate::structs::{nvmlBBXTimeData_v1_t, nvmlHostname_v1_t};

/// The peers of a GPU in a rack are switches (assumed).
const PEER_IS_SWITCH: u8 = 1;

exports! {
    fn nvmlDeviceGetInforomVersion(
        device: nvmlDevice_t, object: u32, version: *mut c_char, length: u32
    ) => |call| {
        let view = gpu(call, &device)?;
        version.present()?;
        version.put_text(length, view.inforom_version(InforomObject::of(object)?)?)
    };
    fn nvmlDeviceGetInforomConfigurationChecksum(device: nvmlDevice_t, checksum: *mut u32) => |call| {
        checksum.put(gpu(call, &device)?.inforom_checksum())
    };
    fn nvmlDeviceValidateInforom(device: nvmlDevice_t) => |call| gpu(call, &device).map(|_| ());
    // No simulated driver has written its black box yet in this run.
    fn nvmlDeviceGetLastBBXFlushTime(device: nvmlDevice_t, time: *mut u64, span: *mut c_ulong) => |call| {
        gpu(call, &device)?;
        time.present()?;
        span.present()?;
        Err(Code::NOT_READY)
    };
    fn nvmlDeviceGetBBXTimeData_v1(device: nvmlDevice_t, data: *mut nvmlBBXTimeData_v1_t) in "13.3" => |call| {
        data.put(nvmlBBXTimeData_v1_t { timeRun: gpu(call, &device)?.seconds_with_driver() })
    };
    fn nvmlDeviceGetPdi(device: nvmlDevice_t, identifier: *mut nvmlPdi_v1_t) => |call| {
        let version = identifier.expect_version(1)?;
        identifier.put(nvmlPdi_v1_t { version, value: gpu(call, &device)?.device_identifier() })
    };
    // No GPU shares its memory beyond its machine.
    fn nvmlDeviceGetCapabilities(device: nvmlDevice_t, mask: *mut nvmlDeviceCapabilities_v1_t) => |call| {
        let version = mask.expect_version(1)?;
        gpu(call, &device)?;
        mask.put(nvmlDeviceCapabilities_v1_t { version, capMask: 0 })
    };
    fn nvmlDeviceGetPlatformInfo(device: nvmlDevice_t, info: *mut nvmlPlatformInfo_v2_t) => |call| {
        let version = info.version()?;
        let place = gpu(call, &device)?.rack_place();
        // Both versions have one layout; only the names of the members differ.
        let _same: [(); size_of::<nvmlPlatformInfo_v1_t>()] = [(); size_of::<nvmlPlatformInfo_v2_t>()];
        if info.expect_version(1).is_err() {
            info.expect_version(2)?;
        }
        let place = place?;
        info.put(nvmlPlatformInfo_v2_t {
            version,
            ibGuid: place.ib_guid,
            chassisSerialNumber: place.chassis_serial,
            slotNumber: 1,
            trayIndex: 0,
            hostId: 1,
            peerType: PEER_IS_SWITCH,
            moduleId: place.module,
        })
    };
    fn nvmlDeviceGetHostname_v1(device: nvmlDevice_t, name: *mut nvmlHostname_v1_t) in "13.3" => |call| {
        name.put(nvmlHostname_v1_t { value: text_array(gpu(call, &device)?.hostname()?) })
    };
    fn nvmlDeviceSetHostname_v1(device: nvmlDevice_t, name: *mut nvmlHostname_v1_t) in "13.3" => |call| {
        let view = gpu(call, &device)?;
        let name = name.get()?.value;
        let text: String = name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte as u8)).collect();
        call.library.set_hostname(view, &text)
    };
}
