//! GPUs that drain, are removed and are discovered again: who sees them, who may do it, and what becomes of handles.

use std::mem::zeroed;
use std::ptr::null_mut;

use nvml_sim::{Code, FaultEntry, Loss, StateFolder};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper_sys::bindings::*;

use crate::mig::{call, gpu, version_word};
use crate::sim::{in_child, in_child_on, nvml, own_folder, preset_and};

/// A node whose GPUs are addressed `0000:07:00.0`, `0000:0f:00.0`, `0000:47:00.0`, and so on.
const NODE: &str = "dgx-a100";
const BUSES: [u32; 8] = [0x07, 0x0F, 0x47, 0x4E, 0x87, 0x90, 0xB7, 0xBD];

fn at(bus: u32) -> nvmlPciInfo_t {
    // SAFETY: numbers and texts.
    nvmlPciInfo_t { bus, ..unsafe { zeroed() } }
}

fn buses(nvml: &Nvml) -> Vec<u32> {
    let count = nvml.device_count().unwrap();
    (0..count).map(|index| nvml.device_by_index(index).unwrap().pci_info().unwrap().bus).collect()
}

fn drain(nvml: &Nvml, bus: u32, on: u32) -> u32 {
    call!(nvml.nvmlDeviceModifyDrainState(&mut at(bus), on))
}

fn remove(nvml: &Nvml, bus: u32) -> u32 {
    call!(nvml.nvmlDeviceRemoveGpu_v2(&mut at(bus), 1, 0))
}

fn discover(nvml: &Nvml, bus: u32) -> u32 {
    call!(nvml.nvmlDeviceDiscoverGpus(&mut at(bus)))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn without_persistence(folder: &StateFolder, gpu: &str) {
    folder.set(gpu, "persistence-mode", "off").unwrap();
}

#[test]
fn draining_gpu_is_seen_by_those_alone_who_were_there_before() {
    in_child("drain::draining_gpu_is_seen_by_those_alone_who_were_there_before", NODE, || {
        let (before, folder) = (nvml(), own_folder());
        let state = |nvml: &Nvml| {
            let mut state = 9;
            assert_eq!(call!(nvml.nvmlDeviceQueryDrainState(&mut at(0x0F), &mut state)), 0);
            state
        };
        assert_eq!(state(&before), 0);
        if is_root() {
            assert_eq!(drain(&before, 0x0F, 1), Code::IN_USE.0, "in persistence mode");
            without_persistence(&folder, "1");
            assert_eq!(drain(&before, 0x0F, 1), 0);
        } else {
            assert_eq!(drain(&before, 0x0F, 1), Code::NO_PERMISSION.0);
            without_persistence(&folder, "1");
            folder.drain("1", true).unwrap();
        }
        assert_eq!((state(&before), buses(&before)), (1, BUSES.to_vec()));
        let wrong = [drain(&before, 0x0F, 2), drain(&before, 0x55, 1), remove(&before, 0x55)];
        assert_eq!(wrong, [Code::INVALID_ARGUMENT.0; 3]);
        assert_eq!(call!(before.nvmlDeviceModifyDrainState(null_mut(), 1)), Code::INVALID_ARGUMENT.0);
        drop(before);
        let after = nvml();
        assert_eq!(buses(&after), [0x07, 0x47, 0x4E, 0x87, 0x90, 0xB7, 0xBD]);
        assert_eq!(state(&after), 1, "by its address it is still known");
        // Links and places are those of the machine, whatever is seen of it.
        let second = after.device_by_index(1).unwrap();
        assert_eq!((second.index().unwrap(), second.minor_number().unwrap()), (1, 2));
        folder.drain("1", false).unwrap();
        assert_eq!(buses(&after), BUSES);
    });
}

#[test]
fn removed_gpu_is_gone_until_it_is_discovered() {
    in_child("drain::removed_gpu_is_gone_until_it_is_discovered", NODE, || {
        let (nvml, folder) = (nvml(), own_folder());
        let (first, second, third) = (gpu(&nvml, 0), gpu(&nvml, 1), gpu(&nvml, 2));
        let uuid = nvml.device_by_index(1).unwrap().uuid().unwrap();
        let index = |device| {
            let mut index = 9;
            (call!(nvml.nvmlDeviceGetIndex(device, &mut index)), index)
        };
        without_persistence(&folder, "1");
        if is_root() {
            assert_eq!(remove(&nvml, 0x0F), Code::IN_USE.0, "it does not drain");
            assert_eq!(call!(nvml.nvmlDeviceRemoveGpu_v2(&mut at(0x0F), 2, 0)), Code::INVALID_ARGUMENT.0);
            assert_eq!(call!(nvml.nvmlDeviceRemoveGpu_v2(&mut at(0x0F), 1, 2)), Code::INVALID_ARGUMENT.0);
        }
        let pid = folder.start_process(nvml_sim::ProcessEntry { gpu: "1".to_owned(), ..Default::default() });
        folder.drain("1", true).unwrap();
        assert!(folder.remove_gpu("1", false).is_err(), "a process that was there before keeps it");
        folder.end_process(pid.unwrap()).unwrap();
        if is_root() {
            assert_eq!(remove(&nvml, 0x0F), 0);
        } else {
            assert_eq!([remove(&nvml, 0x0F), discover(&nvml, 0)], [Code::NO_PERMISSION.0; 2]);
            folder.remove_gpu("1", false).unwrap();
        }
        assert_eq!(buses(&nvml), [0x07, 0x47, 0x4E, 0x87, 0x90, 0xB7, 0xBD]);
        let gone = Code::INVALID_ARGUMENT.0;
        // "Device handles after the removed GPU will not be valid and must be re-established."
        assert_eq!((index(first), index(second), index(third)), ((0, 0), (gone, 9), (gone, 9)));
        assert_eq!(index(gpu(&nvml, 1)), (0, 1));
        assert!(matches!(nvml.device_by_uuid(uuid.as_str()), Err(NvmlError::NotFound)));
        assert!(matches!(nvml.device_by_index(7), Err(NvmlError::InvalidArg)));
        assert_eq!(remove(&nvml, 0x0F), gone, "once");

        folder.discover_gpus(Some("0")).unwrap();
        assert_eq!(nvml.device_count().unwrap(), 7, "it is not looked for there");
        if is_root() {
            assert_eq!(discover(&nvml, 0), 0)
        } else {
            folder.discover_gpus(None).unwrap()
        }
        assert_eq!(buses(&nvml), BUSES);
        assert_eq!((index(first), index(second)), ((0, 0), (gone, 9)));
        let back = nvml.device_by_uuid(uuid.as_str()).unwrap();
        assert_eq!((back.index().unwrap(), back.is_in_persistent_mode().unwrap()), (1, false));
    });
}

#[test]
fn gpu_is_removed_at_a_call_and_discovered_at_another() {
    let yaml = preset_and(
        NODE,
        "faults:\n  - {set: {persistence-mode: off}, gpu: 1}\n  - {drain: true, gpu: 1, after: 1}\n  \
         - {remove: true, gpu: 1, after: 2}\n  - {discover: true, after: 30}\n",
    );
    in_child_on("drain::gpu_is_removed_at_a_call_and_discovered_at_another", &yaml, || {
        let nvml = nvml();
        let (second, count) = (nvml.device_by_index(1).unwrap(), || nvml.device_count().unwrap());
        let names = [second.name().is_ok(), second.name().is_ok(), second.name().is_ok()];
        assert_eq!((names, count()), ([true; 3], 8));
        assert!(matches!(second.name(), Err(NvmlError::InvalidArg)), "the call itself meets it");
        assert_eq!(count(), 7);
        assert!((0..30).any(|_| count() == 8), "after as many calls");
    });
}

#[test]
fn gpus_that_were_removed_and_lost_are_not_found() {
    in_child("drain::gpus_that_were_removed_and_lost_are_not_found", "h100-nvl", || {
        let (nvml, folder) = (nvml(), own_folder());
        let count = nvml.device_count().unwrap();
        without_persistence(&folder, "1");
        let links = |index| {
            let device = nvml.device_by_index(index).unwrap();
            (0..6).filter(|link| device.link_wrapper_for(*link).is_active().unwrap()).count()
        };
        assert_ne!(links(0), 0);
        folder.drain("1", true).unwrap();
        folder.remove_gpu("1", true).unwrap();
        assert_eq!(
            (nvml.device_count().unwrap(), links(0)),
            (count - 1, 0),
            "a bridge to a GPU that is gone"
        );
        folder.lose("1", None).unwrap();
        folder.discover_gpus(None).unwrap();
        assert_eq!(nvml.device_count().unwrap(), count - 1);
        assert_eq!(folder.state().unwrap().lost.how(&folder.node().unwrap().gpus[1].uuid), Some(Loss::Lost));
        folder.give_back("1").unwrap();
        folder.discover_gpus(None).unwrap();
        assert_eq!(nvml.device_count().unwrap(), count);
        assert_ne!(links(0), 0);
    });
}

#[test]
fn waits_tell_of_gpus_that_the_driver_lets_go_of() {
    in_child("drain::waits_tell_of_gpus_that_the_driver_lets_go_of", NODE, || {
        let (nvml, folder) = (nvml(), own_folder());
        // SAFETY: numbers and null pointers.
        let mut set: nvmlSystemEventSetCreateRequest_v1_t = unsafe { zeroed() };
        set.version = version_word::<nvmlSystemEventSetCreateRequest_v1_t>(1);
        assert_eq!(call!(nvml.nvmlSystemEventSetCreate(&mut set)), 0);
        let mut wanted = nvmlSystemRegisterEventRequest_v1_t { version: 0, eventTypes: 3, set: set.set };
        wanted.version = version_word::<nvmlSystemRegisterEventRequest_v1_t>(1);
        assert_eq!(call!(nvml.nvmlSystemRegisterEvents(&mut wanted)), 0);
        let wait_for = |timeout: u32, room: u32| {
            // SAFETY: numbers.
            let mut data: [nvmlSystemEventData_v1_t; 4] = unsafe { zeroed() };
            let mut request = nvmlSystemEventSetWaitRequest_v1_t {
                version: version_word::<nvmlSystemEventSetWaitRequest_v1_t>(1),
                timeoutms: timeout,
                set: set.set,
                data: data.as_mut_ptr(),
                dataSize: room,
                numEvent: 9,
            };
            let code = call!(nvml.nvmlSystemEventSetWait(&mut request));
            let seen =
                data.iter().take(request.numEvent as usize).map(|event| (event.eventType, event.gpuId));
            (code, seen.collect::<Vec<_>>())
        };
        let wait = |room| wait_for(0, room);
        let events = nvml.create_event_set().unwrap();
        let kinds = nvml_wrapper::bitmasks::event::EventTypes::CRITICAL_XID_ERROR;
        let events = nvml.device_by_index(1).unwrap().register_events(kinds, events).unwrap();
        assert!(matches!(events.wait(0), Err(NvmlError::Timeout)));
        without_persistence(&folder, "1");
        folder.drain("1", true).unwrap();
        assert_eq!(wait(4), (Code::TIMEOUT.0, vec![]));
        folder.remove_gpu("1", false).unwrap();
        folder.discover_gpus(None).unwrap();
        assert_eq!(wait(1), (0, vec![(1, 0x0F00)]), "as many as there is room for");
        assert_eq!(wait(4), (0, vec![(2, 0x0F00)]));
        assert_eq!(wait(4), (Code::TIMEOUT.0, vec![]));
        folder.drain("1", true).unwrap();
        let (gpu, at) = (Some("1".to_owned()), Some("100ms".parse().unwrap()));
        folder.declare(FaultEntry { remove: true, gpu, at, ..FaultEntry::default() }).unwrap();
        // Who wakes too late has both to tell of.
        let at = Some("30s".parse().unwrap());
        folder.declare(FaultEntry { discover: true, at, ..FaultEntry::default() }).unwrap();
        assert_eq!(wait_for(60_000, 2), (0, vec![(1, 0x0F00)]), "it wakes by itself");
        assert!(matches!(events.wait(60_000), Err(NvmlError::GpuLost)), "at once, as for a lost one");
    });
}
