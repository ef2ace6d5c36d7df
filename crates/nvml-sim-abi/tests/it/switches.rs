//! What programs switch on a GPU beside its common modes, and the fabric, as people set it.

use std::ffi::CStr;

use nvml_sim::Code;
use nvml_sim_abi::structs::nvmlHostname_v1_t;
use nvml_wrapper_sys::bindings::*;

use crate::sim::{in_child, in_child_on, nvml, own_folder};

/// A Blackwell GPU with NVLinks of a rack, and one of Hopper beside it.
const RACK: &str = "driver: {version: 580.95.05, cuda: \"13.0\"}\nseed: rack\n\
    nvswitches: [\"0000:05:00.0\"]\nfabric: {cluster-uuid: 01020304-0506-0708-090a-0b0c0d0e0f10, clique: 7}\n\
    gpus:\n- {model: H100-SXM5-80GB, pci: \"0000:01:00.0\", overrides: {architecture: blackwell}}\n\
    - {model: H100-SXM5-80GB, pci: \"0000:02:00.0\"}\n";

/// What a change gives: it is root's.
fn for_root(code: u32) -> u32 {
    if rustix::process::geteuid().is_root() { code } else { Code::NO_PERMISSION.0 }
}

fn word<T>(version: u32) -> u32 {
    size_of::<T>() as u32 | version << 24
}

#[test]
fn application_clocks_are_roots_until_root_frees_them() {
    in_child("switches::application_clocks_are_roots_until_root_frees_them", "t4", || {
        let restricted = |kind| {
            let nvml = nvml();
            let get = *nvml.lib().nvmlDeviceGetAPIRestriction.as_ref().unwrap();
            let mut answer = 9;
            // SAFETY: `answer` is valid for writes.
            (unsafe { get(nvml.device_by_index(0).unwrap().handle(), kind, &mut answer) }, answer)
        };
        assert_eq!(restricted(0), (0, 1));
        let set = |kind, to| {
            let nvml = nvml();
            let set = *nvml.lib().nvmlDeviceSetAPIRestriction.as_ref().unwrap();
            // SAFETY: no pointers.
            unsafe { set(nvml.device_by_index(0).unwrap().handle(), kind, to) }
        };
        assert_eq!(set(0, 0), for_root(0));
        assert_eq!(restricted(0), (0, (for_root(0) != 0).into()));
        assert_eq!(set(0, 2), Code::INVALID_ARGUMENT.0);
        assert_eq!((set(1, 0), restricted(1).0), (Code::NOT_SUPPORTED.0, Code::NOT_SUPPORTED.0));
        own_folder().reload(None).unwrap();
        assert_eq!(restricted(0), (0, 1), "a driver that was just loaded restricts them");
    });
}

#[test]
fn nvlink_modes_are_set_within_their_range_from_blackwell_on() {
    in_child_on("switches::nvlink_modes_are_set_within_their_range_from_blackwell_on", RACK, || {
        let nvml = nvml();
        let lib = nvml.lib();
        let (get, set) = (
            *lib.nvmlDeviceGetNvlinkBwMode.as_ref().unwrap(),
            *lib.nvmlDeviceSetNvlinkBwMode.as_ref().unwrap(),
        );
        let threshold = *lib.nvmlDeviceSetNvLinkDeviceLowPowerThreshold.as_ref().unwrap();
        let (system, set_system) = (
            *lib.nvmlSystemGetNvlinkBwMode.as_ref().unwrap(),
            *lib.nvmlSystemSetNvlinkBwMode.as_ref().unwrap(),
        );
        let gpu = |index| {
            // SAFETY: the handle lives as long as the library.
            unsafe { nvml.device_by_index(index).unwrap().handle() }
        };
        let read = |index| {
            let mut mode = nvmlNvlinkGetBwMode_v1_t {
                version: word::<nvmlNvlinkGetBwMode_v1_t>(1),
                bIsBest: 9,
                bwMode: 9,
            };
            // SAFETY: `mode` is valid for reads and writes.
            (unsafe { get(gpu(index), &mut mode) }, mode.bIsBest, mode.bwMode)
        };
        let write = |best, mode| {
            let version = word::<nvmlNvlinkSetBwMode_v1_t>(1);
            // SAFETY: the struct is valid for reads.
            unsafe { set(gpu(0), &mut nvmlNvlinkSetBwMode_v1_t { version, bSetBest: best, bwMode: mode }) }
        };
        assert_eq!(read(0), (0, 1, 0));
        assert_eq!(read(1).0, Code::NOT_SUPPORTED.0);
        assert_eq!(write(0, 5), Code::INVALID_ARGUMENT.0);
        assert_eq!(write(0, 3), for_root(0));
        if for_root(0) == 0 {
            assert_eq!(read(0), (0, 0, 3));
            assert_eq!((write(1, 0), read(0)), (0, (0, 1, 0)));
        }
        // SAFETY: valid for reads and writes.
        unsafe {
            let after = |units| threshold(gpu(1), &mut nvmlNvLinkPowerThres_t { lowPwrThreshold: units });
            assert_eq!(after(0), Code::INVALID_ARGUMENT.0);
            assert_eq!(after(0x2000), Code::INVALID_ARGUMENT.0);
            assert_eq!(after(0x1FFF), for_root(0));
            assert_eq!(after(u32::MAX), for_root(0));
            let mut mode = 9;
            assert_eq!(set_system(5), Code::INVALID_ARGUMENT.0);
            assert_eq!(set_system(2), for_root(0));
            assert_eq!(system(&mut mode), for_root(0));
            assert_eq!(mode, if for_root(0) == 0 { 2 } else { 9 });
        }
    });
}

#[test]
fn host_name_is_kept_until_the_driver_is_loaded_anew() {
    in_child_on("switches::host_name_is_kept_until_the_driver_is_loaded_anew", RACK, || {
        type HostName = unsafe extern "C" fn(nvmlDevice_t, *mut nvmlHostname_v1_t) -> nvmlReturn_t;
        let name_of = |index| {
            let nvml = nvml();
            let mut name = nvmlHostname_v1_t { value: [1; 64] };
            // SAFETY: the function has this type, and `name` is valid for writes, which end it.
            unsafe {
                let get = *nvml.lib().__library.get::<HostName>(b"nvmlDeviceGetHostname_v1\0").unwrap();
                let code = get(nvml.device_by_index(index).unwrap().handle(), &mut name);
                (
                    code,
                    CStr::from_ptr(name.value.as_ptr())
                        .to_str()
                        .map(str::to_owned)
                        .ok()
                        .filter(|_| code == 0),
                )
            }
        };
        let give = |text: &str| {
            let nvml = nvml();
            let value = std::array::from_fn(|at| text.as_bytes().get(at).copied().unwrap_or(0) as _);
            // SAFETY: the function has this type and reads the struct.
            unsafe {
                let set = *nvml.lib().__library.get::<HostName>(b"nvmlDeviceSetHostname_v1\0").unwrap();
                set(nvml.device_by_index(0).unwrap().handle(), &mut nvmlHostname_v1_t { value })
            }
        };
        assert_eq!(name_of(0), (0, Some(String::new())));
        assert_eq!(name_of(1).0, Code::NOT_SUPPORTED.0);
        assert_eq!(give("no spaces"), Code::INVALID_ARGUMENT.0);
        assert_eq!(give("gpu-0.rack"), for_root(0));
        if for_root(0) == 0 {
            assert_eq!(name_of(0), (0, Some("gpu-0.rack".to_owned())));
        }
    });
}

#[test]
fn fabric_is_told_as_far_as_the_gpu_has_joined_it() {
    in_child_on("switches::fabric_is_told_as_far_as_the_gpu_has_joined_it", RACK, || {
        let nvml = nvml();
        let get = *nvml.lib().nvmlDeviceGetGpuFabricInfoV.as_ref().unwrap();
        let device = nvml.device_by_index(1).unwrap();
        let read = || {
            // SAFETY: C structs of numbers.
            let mut info: nvmlGpuFabricInfo_v3_t = unsafe { std::mem::zeroed() };
            info.version = word::<nvmlGpuFabricInfo_v3_t>(3);
            // SAFETY: `info` is valid for reads and writes.
            assert_eq!(unsafe { get(device.handle(), &mut info) }, 0);
            (
                info.state,
                info.status,
                info.cliqueId,
                info.clusterUuid[15],
                info.healthMask,
                info.healthSummary,
            )
        };
        let set = |key, value| own_folder().set("1", key, value).unwrap();
        const WELL: u32 = 0x1AA;
        assert_eq!(read(), (3, 0, 7, 0x10, WELL, 1));
        set("fabric-health", "route-unhealthy");
        assert_eq!(read(), (3, 0, 7, 0x10, 0x19A, 2));
        set("fabric-state", "in-progress");
        assert_eq!(read(), (2, 0, 0, 0, 0, 0));
        set("fabric-state", "failed");
        assert_eq!(read(), (3, Code::UNKNOWN.0, 0, 0, 0, 0));
    });
}

#[test]
fn set_of_system_events_waits_until_its_time_is_over() {
    in_child("switches::set_of_system_events_waits_until_its_time_is_over", "t4", || {
        let nvml = nvml();
        let lib = nvml.lib();
        let create = *lib.nvmlSystemEventSetCreate.as_ref().unwrap();
        let register = *lib.nvmlSystemRegisterEvents.as_ref().unwrap();
        let wait = *lib.nvmlSystemEventSetWait.as_ref().unwrap();
        let free = *lib.nvmlSystemEventSetFree.as_ref().unwrap();
        // SAFETY: all pointers are valid for what the functions read and write; no handle is followed.
        unsafe {
            let mut made: nvmlSystemEventSetCreateRequest_v1_t = std::mem::zeroed();
            assert_eq!(create(&mut made), Code::ARGUMENT_VERSION_MISMATCH.0);
            made.version = word::<nvmlSystemEventSetCreateRequest_v1_t>(1);
            assert_eq!(create(&mut made), 0);
            let mut wanted: nvmlSystemRegisterEventRequest_v1_t = std::mem::zeroed();
            wanted.version = word::<nvmlSystemRegisterEventRequest_v1_t>(1);
            (wanted.set, wanted.eventTypes) = (made.set, 3);
            assert_eq!(register(&mut wanted), 0);
            wanted.eventTypes = 4;
            assert_eq!(register(&mut wanted), Code::NOT_SUPPORTED.0);
            let mut waited: nvmlSystemEventSetWaitRequest_v1_t = std::mem::zeroed();
            waited.version = word::<nvmlSystemEventSetWaitRequest_v1_t>(1);
            (waited.set, waited.timeoutms, waited.numEvent) = (made.set, 1, 9);
            assert_eq!((wait(&mut waited), waited.numEvent), (Code::TIMEOUT.0, 0));
            let mut freed: nvmlSystemEventSetFreeRequest_v1_t = std::mem::zeroed();
            (freed.version, freed.set) = (word::<nvmlSystemEventSetFreeRequest_v1_t>(1), made.set);
            assert_eq!(free(&mut freed), 0);
            assert_eq!(free(&mut freed), Code::INVALID_ARGUMENT.0);
            assert_eq!(wait(&mut waited), Code::INVALID_ARGUMENT.0);
        }
    });
}

#[test]
fn thread_is_bound_to_the_cpus_near_a_gpu_and_freed_again() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cpu = (0..1024).find(|cpu| allowed.is_set(*cpu)).unwrap();
    let yaml = format!(
        "driver: {{version: 580.95.05, cuda: \"13.0\"}}\nseed: bound\ncpus: {{0: \"{cpu}\"}}\n\
         gpus: [{{model: T4, pci: \"0000:00:1e.0\", numa: 0}}]\n"
    );
    in_child_on("switches::thread_is_bound_to_the_cpus_near_a_gpu_and_freed_again", &yaml, || {
        let nvml = nvml();
        let lib = nvml.lib();
        let (bind, free) = (
            *lib.nvmlDeviceSetCpuAffinity.as_ref().unwrap(),
            *lib.nvmlDeviceClearCpuAffinity.as_ref().unwrap(),
        );
        let device = nvml.device_by_index(0).unwrap();
        let cpus = || {
            let set = rustix::thread::sched_getaffinity(None).unwrap();
            (0..1024).filter(|cpu| set.is_set(*cpu)).collect::<Vec<_>>()
        };
        let before = cpus();
        // SAFETY: no pointers.
        assert_eq!((unsafe { bind(device.handle()) }, cpus()), (0, vec![cpu]));
        // SAFETY: no pointers.
        assert_eq!(unsafe { free(device.handle()) }, 0);
        assert!(before.iter().all(|cpu| cpus().contains(cpu)));
    });
}
