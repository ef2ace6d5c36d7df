//! MIG through the C interface: profiles, instances, devices, modes, and what is refused.

use std::ffi::{CStr, CString, c_char};
use std::mem::zeroed;
use std::ptr::null_mut;

use nvml_sim::{Code, Effect, Fault, StateFolder};
use nvml_wrapper::Nvml;
use nvml_wrapper_sys::bindings::*;

use crate::sim::{in_child, nvml, own_folder};

/// Calls a function of the library and gives its code.
macro_rules! call {
    ($nvml:ident.$name:ident($($argument:expr),*)) => {{
        let function = *$nvml.lib().$name.as_ref().unwrap();
        // SAFETY: each pointer is valid for what the function reads and writes there, or a handle.
        unsafe { function($($argument),*) }
    }};
}
pub(crate) use call;

pub fn version_word<T>(version: u32) -> u32 {
    size_of::<T>() as u32 | version << 24
}

pub fn gpu(nvml: &Nvml, index: u32) -> nvmlDevice_t {
    // SAFETY: the handle is a number.
    unsafe { nvml.device_by_index(index).unwrap().handle() }
}

fn text(buffer: &[c_char]) -> String {
    // SAFETY: the library has ended the text.
    unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_str().unwrap().to_owned()
}

fn uuid(nvml: &Nvml, device: nvmlDevice_t) -> String {
    let mut buffer = [0; 96];
    assert_eq!(call!(nvml.nvmlDeviceGetUUID(device, buffer.as_mut_ptr(), 96)), 0);
    text(&buffer)
}

pub fn mig_device(nvml: &Nvml, index: u32) -> Result<nvmlDevice_t, u32> {
    let mut device = null_mut();
    match call!(nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu(nvml, 0), index, &mut device)) {
        0 => Ok(device),
        code => Err(code),
    }
}

/// MIG on, by what needs no rights of root.
pub fn switch_on(folder: &StateFolder, gpu: &str) {
    let _ = folder.change_mig(gpu, |mig, gpu| mig.set_mode(gpu, true)).unwrap();
    reset(folder, gpu);
}

fn reset(folder: &StateFolder, gpu: &str) {
    let steps = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
        mig.reset(gpu);
        Ok(())
    };
    folder.change_mig(gpu, steps).unwrap();
}

/// Makes a GPU instance and in it a compute instance.
pub fn make(folder: &StateFolder, profile: u32, compute: u32) -> (u32, u32) {
    let steps = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
        let instance = mig.create(gpu, profile, None)?;
        Ok((instance, mig.create_compute(gpu, instance, compute, None)?))
    };
    folder.change_mig("0", steps).unwrap()
}

#[test]
fn mig_device_tells_what_it_is_and_whose_part() {
    in_child("mig::mig_device_tells_what_it_is_and_whose_part", "dgx-a100", || {
        let (nvml, folder) = (nvml(), own_folder());
        switch_on(&folder, "0");
        assert_eq!(make(&folder, 9, 0), (2, 0));
        let device = mig_device(&nvml, 0).unwrap();
        let (mut number, mut parent, mut buffer) = (9, null_mut(), [0; 96]);
        assert_eq!(call!(nvml.nvmlDeviceIsMigDeviceHandle(device, &mut number)), 0);
        assert_eq!(number, 1);
        assert_eq!(call!(nvml.nvmlDeviceIsMigDeviceHandle(gpu(&nvml, 0), &mut number)), 0);
        assert_eq!(number, 0);
        assert_eq!(call!(nvml.nvmlDeviceGetGpuInstanceId(device, &mut number)), 0);
        assert_eq!(number, 2);
        assert_eq!(call!(nvml.nvmlDeviceGetComputeInstanceId(device, &mut number)), 0);
        assert_eq!(number, 0);
        assert_eq!(call!(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device, &mut parent)), 0);
        assert_eq!(parent, gpu(&nvml, 0));
        assert_eq!(call!(nvml.nvmlDeviceGetName(device, buffer.as_mut_ptr(), 96)), 0);
        assert_eq!(text(&buffer), "NVIDIA A100-SXM4-80GB MIG 1c.3g.40gb");
        // SAFETY: plain numbers.
        let (mut memory, mut is): (nvmlMemory_t, nvmlDeviceAttributes_t) = unsafe { zeroed() };
        assert_eq!(call!(nvml.nvmlDeviceGetMemoryInfo(device, &mut memory)), 0);
        assert_eq!((memory.total >> 20, memory.free >> 20), (40192, 40192));
        // SAFETY: plain numbers.
        let mut bar1: nvmlBAR1Memory_t = unsafe { zeroed() };
        assert_eq!(call!(nvml.nvmlDeviceGetBAR1MemoryInfo(device, &mut bar1)), 0);
        assert_eq!((bar1.bar1Total >> 20, bar1.bar1Used), (65535, 0));
        assert_eq!(call!(nvml.nvmlDeviceGetIndex(device, &mut number)), 0);
        assert_eq!(number, 0);
        assert_eq!(call!(nvml.nvmlDeviceGetComputeMode(device, &mut number)), 0);
        assert_eq!(call!(nvml.nvmlDeviceGetNumGpuCores(gpu(&nvml, 0), &mut number)), Code::NOT_SUPPORTED.0);
        assert_eq!(call!(nvml.nvmlDeviceGetAttributes_v2(device, &mut is)), 0);
        assert_eq!((is.multiprocessorCount, is.memorySizeMB), (14, 40192));
        assert_eq!((is.gpuInstanceSliceCount, is.computeInstanceSliceCount), (3, 1));
        assert_eq!((is.sharedCopyEngineCount, is.sharedDecoderCount), (3, 2));
        let code = call!(nvml.nvmlDeviceGetAttributes_v2(gpu(&nvml, 0), &mut is));
        assert_eq!(code, Code::NOT_SUPPORTED.0);
        // What a MIG device cannot be asked.
        assert_eq!(call!(nvml.nvmlDeviceGetMinorNumber(device, &mut number)), Code::INVALID_ARGUMENT.0);

        let (uuid, mut found) = (uuid(&nvml, device), null_mut());
        assert!(uuid.starts_with("MIG-") && uuid.len() == 40, "{uuid}");
        let wanted = CString::new(uuid).unwrap();
        assert_eq!(call!(nvml.nvmlDeviceGetHandleByUUID(wanted.as_ptr(), &mut found)), 0);
        assert_eq!(found, device);
        let hex: String = wanted.to_str().unwrap().chars().skip(4).filter(|c| *c != '-').collect();
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap();
        }
        let version = version_word::<nvmlUUID_t>(1);
        let binary = nvmlUUID_t { version, type_: 2, value: nvmlUUIDValue_t { bytes } };
        found = null_mut();
        assert_eq!(call!(nvml.nvmlDeviceGetHandleByUUIDV(&binary, &mut found)), 0);
        assert_eq!(found, device);
        // A fault of the GPU strikes what takes its MIG device.
        let effect = Effect::Return(Code::TIMEOUT.0);
        let function = "nvmlDeviceGetUUID".to_owned();
        let fault = Fault { gpu: Some("0".to_owned()), ..Fault::new(function, effect) };
        folder.add_fault(fault).unwrap();
        let code = call!(nvml.nvmlDeviceGetUUID(device, buffer.as_mut_ptr(), 96));
        assert_eq!(code, Code::TIMEOUT.0);
        folder.lose("0", None).unwrap();
        let lost = call!(nvml.nvmlDeviceGetMemoryInfo(device, &mut memory));
        assert_eq!(lost, Code::GPU_IS_LOST.0);
    });
}

#[test]
fn indexes_have_gaps_and_handles_of_what_is_gone_stay_refused() {
    in_child("mig::indexes_have_gaps_and_handles_of_what_is_gone_stay_refused", "dgx-h100", || {
        let (nvml, folder) = (nvml(), own_folder());
        let mut count = 9;
        assert_eq!(mig_device(&nvml, 0), Err(Code::NOT_FOUND.0));
        switch_on(&folder, "0");
        assert_eq!(call!(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu(&nvml, 0), &mut count)), 0);
        assert_eq!(count, 7);
        let first = make(&folder, 19, 0);
        make(&folder, 19, 0);
        let (gone, stays) = (mig_device(&nvml, 0).unwrap(), mig_device(&nvml, 1).unwrap());
        let (uuid_of_gone, uuid_of_stays) = (uuid(&nvml, gone), uuid(&nvml, stays));
        let end = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
            mig.destroy_compute(gpu, first.0, first.1)?;
            mig.destroy(gpu, first.0)
        };
        folder.change_mig("0", end).unwrap();
        assert_eq!(mig_device(&nvml, 0), Err(Code::NOT_FOUND.0));
        assert_eq!(mig_device(&nvml, 1), Ok(stays));
        assert_eq!(uuid(&nvml, stays), uuid_of_stays);

        let again = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
            let instance = mig.create(gpu, 19, Some((6, 1)))?;
            Ok((instance, mig.create_compute(gpu, instance, 0, None)?))
        };
        assert_eq!(folder.change_mig("0", again).unwrap(), first, "the same place, and so the same ids");
        let new = mig_device(&nvml, 0).unwrap();
        assert_ne!(new, gone);
        assert_eq!(uuid(&nvml, new), uuid_of_gone, "it follows from GPU and ids");
        let mut number = 0;
        let stale = call!(nvml.nvmlDeviceGetGpuInstanceId(gone, &mut number));
        assert_eq!(stale, Code::INVALID_ARGUMENT.0);
        reset(&folder, "0");
        assert_eq!(mig_device(&nvml, 1), Err(Code::NOT_FOUND.0), "a reset leaves no instance");
    });
}

#[test]
fn utilization_of_a_gpu_with_mig_is_not_told() {
    in_child("mig::utilization_of_a_gpu_with_mig_is_not_told", "dgx-h100", || {
        let nvml = nvml();
        let mut rates = nvmlUtilization_t { gpu: 0, memory: 0 };
        let device = gpu(&nvml, 0);
        assert_eq!(call!(nvml.nvmlDeviceGetUtilizationRates(device, &mut rates)), 0);
        switch_on(&own_folder(), "0");
        let code = call!(nvml.nvmlDeviceGetUtilizationRates(device, &mut rates));
        assert_eq!(code, Code::NOT_SUPPORTED.0);
        assert_eq!(call!(nvml.nvmlDeviceGetUtilizationRates(gpu(&nvml, 1), &mut rates)), 0);
    });
}

#[test]
fn versioned_profile_structs_are_taken_by_their_version_word_alone() {
    in_child("mig::versioned_profile_structs_are_taken_by_their_version_word_alone", "dgx-h100", || {
        let (nvml, folder) = (nvml(), own_folder());
        let device = gpu(&nvml, 0);
        // SAFETY: plain numbers.
        let mut second: nvmlGpuInstanceProfileInfo_v2_t = unsafe { zeroed() };
        // SAFETY: plain numbers.
        let mut third: nvmlGpuInstanceProfileInfo_v3_t = unsafe { zeroed() };
        second.version = version_word::<nvmlGpuInstanceProfileInfo_v2_t>(2);
        third.version = version_word::<nvmlGpuInstanceProfileInfo_v3_t>(3);
        assert_eq!(call!(nvml.nvmlDeviceGetGpuInstanceProfileInfoV(device, 9, &mut second)), 0);
        let pointer = (&raw mut third).cast();
        assert_eq!(call!(nvml.nvmlDeviceGetGpuInstanceProfileInfoV(device, 9, pointer)), 0);
        assert_eq!((second.id, second.multiprocessorCount, second.memorySizeMB), (15, 26, 20096));
        assert_eq!((third.id, third.multiprocessorCount, third.memorySizeMB), (15, 26, 20096));
        assert_eq!((text(&second.name), text(&third.name)), ("MIG 1g.20gb".into(), "MIG 1g.20gb".into()));
        for word in [0, 1 << 24 | 152, 2 << 24 | 48, 4 << 24 | 152] {
            second.version = word;
            let code = call!(nvml.nvmlDeviceGetGpuInstanceProfileInfoV(device, 9, &mut second));
            assert_eq!(code, Code::ARGUMENT_VERSION_MISMATCH.0, "{word:#x}");
        }

        switch_on(&folder, "0");
        let (id, _) = make(&folder, 15, 7);
        let mut instance = null_mut();
        assert_eq!(call!(nvml.nvmlDeviceGetGpuInstanceById(device, id, &mut instance)), 0);
        // SAFETY: plain numbers.
        let mut wide: [nvmlComputeInstanceProfileInfo_v3_t; 2] = unsafe { zeroed() };
        wide[0].version = version_word::<nvmlComputeInstanceProfileInfo_v2_t>(2);
        wide[0].capabilities = 77;
        let pointer = (&raw mut wide[0]).cast();
        let code = call!(nvml.nvmlGpuInstanceGetComputeInstanceProfileInfoV(instance, 7, 0, pointer));
        assert_eq!((code, wide[0].multiprocessorCount), (0, 26));
        assert_eq!(wide[0].capabilities, 77, "what lies behind the second version is not touched");
        wide[0].version = version_word::<nvmlComputeInstanceProfileInfo_v3_t>(3);
        let code = call!(nvml.nvmlGpuInstanceGetComputeInstanceProfileInfoV(instance, 7, 0, pointer));
        assert_eq!((code, wide[0].capabilities), (0, 0));
        wide[0].version = 0;
        let pointer = (&raw mut wide[0]).cast();
        let code = call!(nvml.nvmlGpuInstanceGetComputeInstanceProfileInfoV(instance, 7, 0, pointer));
        assert_eq!(code, Code::ARGUMENT_VERSION_MISMATCH.0);
        // Absent, unknown, and of an engine profile that is none.
        // SAFETY: plain numbers.
        let mut info: nvmlComputeInstanceProfileInfo_t = unsafe { zeroed() };
        for (number, engines, expected) in [
            (0, 0, 0),
            (1, 0, Code::NOT_SUPPORTED.0),
            (9, 0, Code::INVALID_ARGUMENT.0),
            (0, 1, Code::INVALID_ARGUMENT.0),
        ] {
            let code = call!(
                nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, number, engines, &mut info)
            );
            assert_eq!(code, expected, "profile {number}, engines {engines}");
        }
    });
}

#[test]
fn mode_is_pending_on_ampere_and_current_on_hopper() {
    let body = |expected: (Code, u32)| {
        let nvml = nvml();
        let (device, mut status, mut current, mut pending) = (gpu(&nvml, 0), 99, 9, 9);
        let code = call!(nvml.nvmlDeviceSetMigMode(device, 1, &mut status));
        if !rustix::process::geteuid().is_root() {
            return assert_eq!(code, Code::NO_PERMISSION.0);
        }
        assert_eq!((code, status), (0, expected.0.0));
        assert_eq!(call!(nvml.nvmlDeviceGetMigMode(device, &mut current, &mut pending)), 0);
        assert_eq!((current, pending), (expected.1, 1));
        assert_eq!(call!(nvml.nvmlDeviceSetMigMode(device, 2, &mut status)), Code::INVALID_ARGUMENT.0);
        assert_eq!(call!(nvml.nvmlDeviceSetMigMode(device, 0, null_mut())), Code::INVALID_ARGUMENT.0);
    };
    const NAME: &str = "mig::mode_is_pending_on_ampere_and_current_on_hopper";
    if crate::sim::is_child() {
        let hopper = nvml().device_by_index(0).unwrap().name().unwrap().contains("H100");
        return body(if hopper { (Code(0), 1) } else { (Code::RESET_REQUIRED, 0) });
    }
    for preset in ["dgx-a100", "dgx-h100"] {
        in_child(NAME, preset, || {});
    }
}

#[test]
fn instances_are_made_and_ended_by_root_as_the_rules_say() {
    in_child("mig::instances_are_made_and_ended_by_root_as_the_rules_say", "dgx-h100", || {
        let (nvml, folder) = (nvml(), own_folder());
        let (device, mut seven, mut instance) = (gpu(&nvml, 0), null_mut(), null_mut());
        let create = |id| {
            let mut instance = null_mut();
            (call!(nvml.nvmlDeviceCreateGpuInstance(device, id, &mut instance)), instance)
        };
        assert_eq!(create(9).0, Code::NOT_SUPPORTED.0, "MIG is off");
        switch_on(&folder, "0");
        let (code, first) = create(9);
        if !rustix::process::geteuid().is_root() {
            return assert_eq!(code, Code::NO_PERMISSION.0);
        }
        assert_eq!(code, 0);
        // SAFETY: plain numbers and handles.
        let mut info: nvmlGpuInstanceInfo_t = unsafe { zeroed() };
        assert_eq!(call!(nvml.nvmlGpuInstanceGetInfo(first, &mut info)), 0);
        assert_eq!((info.device, info.id, info.profileId), (device, 2, 9));
        assert_eq!((info.placement.start, info.placement.size), (4, 4));
        let place = |start, size| {
            let (mut instance, place) = (null_mut(), nvmlGpuInstancePlacement_t { start, size });
            call!(nvml.nvmlDeviceCreateGpuInstanceWithPlacement(device, 19, &place, &mut instance))
        };
        assert_eq!(place(5, 1), Code::INSUFFICIENT_RESOURCES.0, "overlap");
        assert_eq!(place(7, 1), Code::INVALID_ARGUMENT.0, "no such place");
        assert_eq!(place(0, 2), Code::INVALID_ARGUMENT.0, "wrong size");
        assert_eq!(create(0).0, Code::INSUFFICIENT_RESOURCES.0);
        assert_eq!(create(3).0, Code::INVALID_ARGUMENT.0, "an enum is no id");
        let mut left = 0;
        assert_eq!(call!(nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(device, 19, &mut left)), 0);
        assert_eq!(left, 4);
        assert_eq!(place(3, 1), 0);
        let (mut list, mut count) = ([null_mut(); 7], 0);
        assert_eq!(call!(nvml.nvmlDeviceGetGpuInstances(device, 19, list.as_mut_ptr(), &mut count)), 0);
        assert_eq!(count, 1);
        assert_eq!(call!(nvml.nvmlDeviceGetGpuInstanceById(device, 10, &mut instance)), 0);
        assert_eq!(instance, list[0]);

        let compute = |id| {
            let mut made = null_mut();
            (call!(nvml.nvmlGpuInstanceCreateComputeInstance(first, id, &mut made)), made)
        };
        assert_eq!(compute(4).0, Code::INVALID_ARGUMENT.0);
        let (code, whole) = compute(2);
        assert_eq!(code, 0);
        assert_eq!(compute(0).0, Code::INSUFFICIENT_RESOURCES.0);
        // SAFETY: plain numbers and handles.
        let mut is: nvmlComputeInstanceInfo_t = unsafe { zeroed() };
        is.placement.size = 77;
        assert_eq!(call!(nvml.nvmlComputeInstanceGetInfo(whole, &mut is)), 0);
        assert_eq!(is.placement.size, 77, "the first version ends before it");
        assert_eq!(call!(nvml.nvmlComputeInstanceGetInfo_v2(whole, &mut is)), 0);
        assert_eq!((is.device, is.gpuInstance, is.id, is.profileId), (device, first, 0, 2));
        assert_eq!((is.placement.start, is.placement.size), (0, 3));
        assert_eq!(call!(nvml.nvmlGpuInstanceGetComputeInstanceById(first, 0, &mut seven)), 0);
        assert_eq!(seven, whole);
        assert_eq!(
            call!(nvml.nvmlGpuInstanceGetComputeInstanceById(first, 1, &mut seven)),
            Code::NOT_FOUND.0
        );
        let mut status = 0;
        assert_eq!(call!(nvml.nvmlDeviceSetMigMode(device, 0, &mut status)), 0);
        assert_eq!(status, Code::IN_USE.0, "instances are there");

        assert_eq!(call!(nvml.nvmlGpuInstanceDestroy(first)), Code::IN_USE.0);
        assert_eq!(call!(nvml.nvmlComputeInstanceDestroy(whole)), 0);
        assert_eq!(call!(nvml.nvmlComputeInstanceDestroy(whole)), Code::INVALID_ARGUMENT.0);
        assert_eq!(call!(nvml.nvmlGpuInstanceDestroy(whole.cast())), Code::INVALID_ARGUMENT.0);
        assert_eq!(call!(nvml.nvmlGpuInstanceDestroy(first)), 0);
        assert_eq!(create(9).0, 0);
        assert_eq!(call!(nvml.nvmlGpuInstanceDestroy(first)), Code::INVALID_ARGUMENT.0, "another's place");
    });
}

#[test]
fn placements_and_capacity_of_compute_instances_are_told() {
    in_child("mig::placements_and_capacity_of_compute_instances_are_told", "dgx-a100", || {
        let (nvml, folder) = (nvml(), own_folder());
        switch_on(&folder, "0");
        let (id, _) = make(&folder, 0, 0);
        let (mut instance, mut count) = (null_mut(), 0);
        assert_eq!(call!(nvml.nvmlDeviceGetGpuInstanceById(gpu(&nvml, 0), id, &mut instance)), 0);
        let possible = *nvml.lib().nvmlGpuInstanceGetComputeInstancePossiblePlacements.as_ref().unwrap();
        let mut places = [nvmlComputeInstancePlacement_t { start: 9, size: 9 }; 7];
        // SAFETY: the array has a place for each instance of the profile.
        unsafe {
            assert_eq!(possible(instance, 1, null_mut(), &mut count), 0);
            assert_eq!((count, possible(instance, 1, places.as_mut_ptr(), &mut count)), (3, 0));
        }
        assert_eq!(places.map(|place| place.start), [0, 2, 4, 9, 9, 9, 9]);
        for (profile, left) in [(0, 6), (1, 2), (2, 1), (3, 0), (4, 0)] {
            let code =
                call!(nvml.nvmlGpuInstanceGetComputeInstanceRemainingCapacity(instance, profile, &mut count));
            assert_eq!((code, count), (0, left), "profile {profile}");
        }
        let (mut list, mut count) = ([null_mut(); 7], 0);
        let code = call!(nvml.nvmlGpuInstanceGetComputeInstances(instance, 0, list.as_mut_ptr(), &mut count));
        assert_eq!((code, count), (0, 1));
    });
}
