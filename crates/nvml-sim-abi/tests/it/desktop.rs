//! What programs change on boards for a desk, workload power profiles, and what watches over clocks.

use std::ffi::CStr;

use nvml_sim::Code;
use nvml_sim_abi::structs::nvmlWorkloadPowerProfileUpdateProfiles_v1_t;
use nvml_wrapper_sys::bindings::*;

use crate::sim::{in_child, nvml, own_folder};

const NOT_SUPPORTED: u32 = Code::NOT_SUPPORTED.0;
const INVALID: u32 = Code::INVALID_ARGUMENT.0;
const MISMATCH: u32 = Code::ARGUMENT_VERSION_MISMATCH.0;

/// A call through the C interface on the handle of GPU 0.
macro_rules! ask {
    ($function:ident $(, $argument:expr)*) => {{
        let nvml = nvml();
        // SAFETY: the arguments are numbers, null, or valid for reads and writes.
        unsafe {
            let gpu = nvml.device_by_index(0).unwrap().handle();
            nvml.lib().$function.as_ref().unwrap()(gpu $(, $argument)*)
        }
    }};
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a change gives: it is root's.
fn for_root(code: u32) -> u32 {
    if is_root() { code } else { Code::NO_PERMISSION.0 }
}

fn word<T>(version: u32) -> u32 {
    size_of::<T>() as u32 | version << 24
}

fn offset_of(kind: u32, pstate: u32, mhz: i32) -> nvmlClockOffset_t {
    nvmlClockOffset_t {
        version: word::<nvmlClockOffset_t>(1),
        type_: kind,
        pstate,
        clockOffsetMHz: mhz,
        minClockOffsetMHz: 0,
        maxClockOffsetMHz: 0,
    }
}

fn set_offset(kind: u32, pstate: u32, mhz: i32) -> u32 {
    ask!(nvmlDeviceSetClockOffsets, &mut offset_of(kind, pstate, mhz))
}

fn offset(kind: u32, pstate: u32) -> (u32, i32) {
    let mut info = offset_of(kind, pstate, 9);
    (ask!(nvmlDeviceGetClockOffsets, &mut info), info.clockOffsetMHz)
}

/// Graphics and memory clock at this moment, and the highest of each.
fn clocks() -> [u32; 4] {
    let mut clocks = [9; 4];
    let [graphics, memory, graphics_max, memory_max] = &mut clocks;
    assert_eq!(ask!(nvmlDeviceGetClockInfo, 0, graphics), 0);
    assert_eq!(ask!(nvmlDeviceGetClockInfo, 2, memory), 0);
    assert_eq!(ask!(nvmlDeviceGetMaxClockInfo, 0, graphics_max), 0);
    assert_eq!(ask!(nvmlDeviceGetMaxClockInfo, 2, memory_max), 0);
    clocks
}

#[test]
fn clock_offsets_move_clocks_until_the_driver_is_loaded_anew() {
    in_child("desktop::clock_offsets_move_clocks_until_the_driver_is_loaded_anew", "rtx-4090", || {
        own_folder().freeze_clock().unwrap();
        own_folder().set("0", "utilization-gpu", "100").unwrap();
        own_folder().set("0", "power", "200").unwrap();
        let before = clocks();
        assert_eq!((set_offset(0, 0, 1001), set_offset(2, 0, -2001)), (INVALID, INVALID));
        assert_eq!(
            (set_offset(0, 5, 1), set_offset(4, 0, 1), set_offset(1, 0, 1)),
            (INVALID, INVALID, NOT_SUPPORTED)
        );
        let mut old = offset_of(0, 0, 1);
        old.version += 1;
        assert_eq!(ask!(nvmlDeviceSetClockOffsets, &mut old), MISMATCH);
        assert_eq!(ask!(nvmlDeviceGetClockOffsets, &mut old), MISMATCH);
        assert_eq!(ask!(nvmlDeviceGetClockOffsets, std::ptr::null_mut()), INVALID);

        assert_eq!((set_offset(0, 0, 100), set_offset(2, 0, 3000)), (for_root(0), for_root(0)));
        if !is_root() {
            return assert_eq!((offset(0, 0), clocks()), ((0, 0), before));
        }
        assert_eq!((offset(0, 0), offset(2, 0), offset(0, 8)), ((0, 100), (0, 3000), (0, 0)));
        let after = clocks();
        assert_eq!(
            after.map(i64::from),
            [before[0] + 100, before[1] + 1500, before[2] + 100, before[3] + 1500].map(i64::from)
        );
        let mut text = nvmlDeviceCurrentClockFreqs_t {
            version: word::<nvmlDeviceCurrentClockFreqs_t>(1),
            str_: [0; 2048],
        };
        assert_eq!(ask!(nvmlDeviceGetCurrentClockFreqs, &mut text), 0);
        // SAFETY: the library ended the text.
        let text = unsafe { CStr::from_ptr(text.str_.as_ptr()) }.to_str().unwrap();
        let told = format!("nvclock={}, ", after[0]);
        assert!(text.starts_with("perf=1, ") && text.contains(&told), "{text}");
        assert!(text.contains(&format!("memtransferrate={}, ", after[1] * 2)), "{text}");

        // The older functions are of the fastest P-state.
        assert_eq!(ask!(nvmlDeviceSetGpcClkVfOffset, -50), 0);
        assert_eq!(ask!(nvmlDeviceSetMemClkVfOffset, 6001), INVALID);
        let (mut graphics, mut memory) = (9, 9);
        assert_eq!(ask!(nvmlDeviceGetGpcClkVfOffset, &mut graphics), 0);
        assert_eq!(ask!(nvmlDeviceGetMemClkVfOffset, &mut memory), 0);
        assert_eq!((graphics, memory, clocks()[0]), (-50, 3000, before[0] - 50));
        let mut reasons = u64::MAX;
        assert_eq!(ask!(nvmlDeviceGetCurrentClocksEventReasons, &mut reasons), 0);
        assert_eq!(reasons & 2, 0, "no one asked for clocks");
        own_folder().reload(None).unwrap();
        assert_eq!((offset(0, 0), offset(2, 0), clocks()[2..] == before[2..]), ((0, 0), (0, 0), true));
    });
}

#[test]
fn acoustic_limit_and_power_mizer_are_kept_within_their_ranges() {
    in_child("desktop::acoustic_limit_and_power_mizer_are_kept_within_their_ranges", "rtx-4090", || {
        let set = |threshold, mut celsius| ask!(nvmlDeviceSetTemperatureThreshold, threshold, &mut celsius);
        let limit = || {
            let mut celsius = 9;
            (ask!(nvmlDeviceGetTemperatureThreshold, 5, &mut celsius), celsius)
        };
        let own = limit();
        assert_eq!((set(5, 64), set(5, 200), set(5, -1)), (INVALID, INVALID, INVALID));
        assert_eq!((set(0, 90), set(4, 70), set(8, 70)), (NOT_SUPPORTED, NOT_SUPPORTED, INVALID));
        assert_eq!(ask!(nvmlDeviceSetTemperatureThreshold, 5, std::ptr::null_mut()), INVALID);
        assert_eq!(set(5, 70), for_root(0));
        assert_eq!(limit(), if is_root() { (0, 70) } else { own });

        let mizer = |mode| {
            let mut modes =
                nvmlDevicePowerMizerModes_v1_t { currentMode: 9, mode, supportedPowerMizerModes: 9 };
            let set = ask!(nvmlDeviceSetPowerMizerMode_v1, &mut modes);
            (
                set,
                ask!(nvmlDeviceGetPowerMizerMode_v1, &mut modes),
                modes.currentMode,
                modes.supportedPowerMizerModes,
            )
        };
        assert_eq!(mizer(3), (INVALID, 0, 2, 7));
        assert_eq!(mizer(1), (for_root(0), 0, if is_root() { 1 } else { 2 }, 7));
        own_folder().reload(None).unwrap();
        assert_eq!(limit(), own);
        assert_eq!(mizer(9), (INVALID, 0, 2, 7));
    });
}

#[test]
fn requested_power_profiles_are_in_force_unless_they_conflict() {
    in_child("desktop::requested_power_profiles_are_in_force_unless_they_conflict", "gb200-nvl72", || {
        let mask = |first| nvmlMask255_t { mask: [first, 0, 0, 0, 0, 0, 0, 0] };
        let masks = || {
            let mut current = nvmlWorkloadPowerProfileCurrentProfiles_t {
                version: word::<nvmlWorkloadPowerProfileCurrentProfiles_t>(1),
                perfProfilesMask: mask(0),
                requestedProfilesMask: mask(0),
                enforcedProfilesMask: mask(0),
            };
            assert_eq!(ask!(nvmlDeviceWorkloadPowerProfileGetCurrentProfiles, &mut current), 0);
            (current.requestedProfilesMask.mask[0], current.enforcedProfilesMask.mask[0])
        };
        let wanted = |first| nvmlWorkloadPowerProfileRequestedProfiles_t {
            version: word::<nvmlWorkloadPowerProfileRequestedProfiles_t>(1),
            requestedProfilesMask: mask(first),
        };
        let add = |first| ask!(nvmlDeviceWorkloadPowerProfileSetRequestedProfiles, &mut wanted(first));
        let clear = |first| ask!(nvmlDeviceWorkloadPowerProfileClearRequestedProfiles, &mut wanted(first));
        let update = |operation, first| {
            type Update = unsafe extern "C" fn(
                nvmlDevice_t,
                *mut nvmlWorkloadPowerProfileUpdateProfiles_v1_t,
            ) -> nvmlReturn_t;
            let nvml = nvml();
            let mut update =
                nvmlWorkloadPowerProfileUpdateProfiles_v1_t { operation, updateProfilesMask: mask(first) };
            // SAFETY: the function has this type and reads the struct.
            unsafe {
                let name = b"nvmlDeviceWorkloadPowerProfileUpdateProfiles_v1\0";
                let function = *nvml.lib().__library.get::<Update>(name).unwrap();
                function(nvml.device_by_index(0).unwrap().handle(), &mut update)
            }
        };
        assert_eq!((add(1 << 20), update(3, 1), update(0, 1 << 31)), (INVALID, INVALID, INVALID));
        assert_eq!(ask!(nvmlDeviceWorkloadPowerProfileSetRequestedProfiles, std::ptr::null_mut()), INVALID);
        let mut old = wanted(1);
        old.version += 1;
        assert_eq!(ask!(nvmlDeviceWorkloadPowerProfileSetRequestedProfiles, &mut old), MISMATCH);
        assert_eq!(add(0b1010), for_root(0));
        if !is_root() {
            return assert_eq!(masks(), (0, 0));
        }
        assert_eq!(masks(), (0b1010, 0b1010));
        assert_eq!((update(1, 0b1), masks()), (0, (0b1011, 0b1001)), "the lower of two that conflict");
        assert_eq!((clear(0b1), masks()), (0, (0b1010, 0b1010)));
        assert_eq!((update(2, 0b100), masks()), (0, (0b100, 0b100)));
        assert_eq!((update(0, 0b100), masks()), (0, (0, 0)));
    });
}

#[test]
fn clock_monitor_is_roots_and_knows_no_fault() {
    in_child("desktop::clock_monitor_is_roots_and_knows_no_fault", "dgx-a100", || {
        let none = nvmlClkMonFaultInfo_t { clkApiDomain: 9, clkDomainFaultMask: 9 };
        let mut status = nvmlClkMonStatus_t { bGlobalStatus: 9, clkMonListSize: 9, clkMonList: [none; 32] };
        assert_eq!(ask!(nvmlDeviceGetClkMonStatus, std::ptr::null_mut()), INVALID);
        assert_eq!(ask!(nvmlDeviceGetClkMonStatus, &mut status), for_root(0));
        assert_eq!((status.bGlobalStatus, status.clkMonListSize), if is_root() { (0, 0) } else { (9, 9) });
    });
}
