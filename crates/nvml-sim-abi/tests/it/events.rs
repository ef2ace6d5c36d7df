//! XIDs and lost GPUs, as a program in another process sees them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nvml_sim::{Code, FaultEntry, Loss};
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper_sys::bindings::{nvmlEventData_t, nvmlEventSet_t};

use crate::sim::{
    asleep, child, in_child, in_child_on, is_child, nvml, own_folder, preset_and, say_thread, thread_of,
};

/// Long enough for a loaded machine; a test that passes never waits so long.
const PATIENCE_MS: u32 = 60_000;

#[test]
fn xid_wakes_waiter_in_another_process() {
    const NAME: &str = "events::xid_wakes_waiter_in_another_process";
    if is_child() {
        let nvml = nvml();
        let set = nvml.create_event_set().unwrap();
        let device = nvml.device_by_index(3).unwrap();
        let set = device.register_events(EventTypes::CRITICAL_XID_ERROR, set).unwrap();
        say_thread("WAITING");
        let event = set.wait(PATIENCE_MS).unwrap();
        assert_eq!(event.event_data, Some(XidError::Value(79)));
        assert_eq!(event.device.index().unwrap(), 3);
        assert!(matches!(set.wait(0), Err(NvmlError::Timeout)), "an event comes once");
        return;
    }
    let (_dir, folder) = crate::sim::node("dgx-a100");
    let mut waiter = child(NAME, folder.dir()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(waiter.stdout.take().unwrap()).lines();
    let thread = thread_of("WAITING", &mut lines);
    let rests = asleep(&waiter, thread, 0).expect("it waits");
    folder.inject_xid("2", 31, None, None).unwrap(); // not registered
    asleep(&waiter, thread, rests).expect("it waits on");
    folder.inject_xid("3", 79, None, None).unwrap();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(waiter.wait().unwrap().success(), "{rest:?}");
}

#[test]
fn xid_of_a_later_time_wakes_a_waiter_that_nobody_else_disturbs() {
    in_child("events::xid_of_a_later_time_wakes_a_waiter_that_nobody_else_disturbs", "t4", || {
        let nvml = nvml();
        let set = nvml.create_event_set().unwrap();
        let device = nvml.device_by_index(0).unwrap();
        let set = device.register_events(EventTypes::CRITICAL_XID_ERROR, set).unwrap();
        // Who wakes too late is told of the last one.
        for (xid, at) in [(48, "100ms"), (79, "30s")] {
            let (xid, gpu, at) = (Some(xid), Some("0".to_owned()), Some(at.parse().unwrap()));
            own_folder().declare(FaultEntry { xid, gpu, at, ..FaultEntry::default() }).unwrap();
        }
        assert_eq!(set.wait(PATIENCE_MS).unwrap().event_data, Some(XidError::Value(48)));
    });
}

#[test]
fn gpu_is_lost_at_the_call_after_so_many() {
    let yaml = preset_and("dgx-a100", "faults: [{lose: lost, xid: 79, gpu: 3, after: 2}]\n");
    in_child_on("events::gpu_is_lost_at_the_call_after_so_many", &yaml, || {
        let nvml = nvml();
        let gpu = |index| nvml.device_by_index(index).unwrap();
        assert!((0..9).all(|_| gpu(2).name().is_ok()), "calls on others do not count");
        assert!(gpu(3).name().is_ok() && gpu(3).uuid().is_ok());
        assert!(matches!(gpu(3).name(), Err(NvmlError::GpuLost)), "the call itself sees it");
        assert_eq!(
            own_folder().state().unwrap().events.last,
            2,
            "the XID, and what the driver asks for then"
        );
        own_folder().give_back("3").unwrap();
        assert!(gpu(3).name().is_ok(), "once");
    });
}

#[test]
fn gpu_off_the_bus_is_counted_and_has_no_handle() {
    in_child("events::gpu_off_the_bus_is_counted_and_has_no_handle", "dgx-a100", || {
        let nvml = nvml();
        let before = nvml.device_by_index(3).unwrap();
        let uuid = before.uuid().unwrap();
        let gpu = Some("3".to_owned());
        own_folder().declare(FaultEntry { lose: Some(Loss::OffBus), gpu, ..FaultEntry::default() }).unwrap();
        assert_eq!(nvml.device_count().unwrap(), 8);
        assert!(matches!(before.name(), Err(NvmlError::GpuLost)));
        assert!(matches!(nvml.device_by_index(3), Err(NvmlError::GpuLost)));
        assert!(matches!(nvml.device_by_uuid(uuid.as_str()), Err(NvmlError::GpuLost)));
        own_folder().give_back("3").unwrap();
        assert_eq!(nvml.device_by_index(3).unwrap().uuid().unwrap(), uuid);
    });
}

#[test]
fn event_before_registration_is_not_seen() {
    in_child("events::event_before_registration_is_not_seen", "t4", || {
        own_folder().inject_xid("0", 48, None, None).unwrap();
        let nvml = nvml();
        let set = nvml.create_event_set().unwrap();
        let set =
            nvml.device_by_index(0).unwrap().register_events(EventTypes::CRITICAL_XID_ERROR, set).unwrap();
        assert!(matches!(set.wait(0), Err(NvmlError::Timeout)));
    });
}

#[test]
fn kind_registered_second_is_seen_from_then_on() {
    in_child("events::kind_registered_second_is_seen_from_then_on", "t4", || {
        let nvml = nvml();
        let set = RawSet::on_first_gpu_for(&nvml, 1);
        own_folder().inject_xid("0", 48, None, None).unwrap();
        let register = *nvml.lib().nvmlDeviceRegisterEvents.as_ref().unwrap();
        // SAFETY: device and set live as long as the library.
        assert_eq!(unsafe { register(nvml.device_by_index(0).unwrap().handle(), 8, set.handle) }, 0);
        assert_eq!(set.wait().0, Code::TIMEOUT.0);
        own_folder().inject_xid("0", 79, None, None).unwrap();
        let (code, event) = set.wait();
        assert_eq!((code, event.eventData), (0, 79));
    });
}

#[test]
fn xid_of_a_mig_instance_carries_its_ids() {
    in_child("events::xid_of_a_mig_instance_carries_its_ids", "t4", || {
        let nvml = nvml();
        let set = RawSet::on_first_gpu(&nvml);
        own_folder().inject_xid("0", 95, None, None).unwrap();
        let (code, event) = set.wait();
        assert_eq!((code, event.eventData), (0, 95));
        assert_eq!((event.gpuInstanceId, event.computeInstanceId), (u32::MAX, u32::MAX));
        own_folder().inject_xid("0", 43, Some(1), Some(0)).unwrap();
        let (code, event) = set.wait();
        assert_eq!((code, event.eventData, event.gpuInstanceId, event.computeInstanceId), (0, 43, 1, 0));
    });
}

#[test]
fn xids_before_a_wait_all_carry_the_last_one() {
    in_child("events::xids_before_a_wait_all_carry_the_last_one", "t4", || {
        let nvml = nvml();
        let set = RawSet::on_first_gpu(&nvml);
        for xid in [31, 43, 79] {
            own_folder().inject_xid("0", xid, None, None).unwrap();
        }
        let seen: Vec<_> = (0..3).map(|_| set.wait().1.eventData).collect();
        assert_eq!(seen, [79, 79, 79]);
        assert_eq!(set.wait().0, Code::TIMEOUT.0);
    });
}

#[test]
fn old_wait_writes_only_the_old_struct() {
    in_child("events::old_wait_writes_only_the_old_struct", "t4", || {
        let nvml = nvml();
        let set = RawSet::on_first_gpu(&nvml);
        own_folder().inject_xid("0", 48, None, None).unwrap();
        let mut data = blank();
        let wait = *nvml.lib().nvmlEventSetWait.as_ref().unwrap();
        // SAFETY: the set is alive and `data` is valid for writes.
        assert_eq!(unsafe { wait(set.handle, &mut data, 0) }, 0);
        assert_eq!((data.eventData, data.gpuInstanceId, data.computeInstanceId), (48, 7, 7));
    });
}

#[test]
fn lost_gpu_fails_its_calls_and_each_wait_after_its_xid() {
    in_child("events::lost_gpu_fails_its_calls_and_each_wait_after_its_xid", "dgx-h100", || {
        let nvml = nvml();
        let set = RawSet::on_first_gpu(&nvml);
        own_folder().lose("0", Some(79)).unwrap();
        let (code, event) = set.wait();
        assert_eq!((code, event.eventData), (0, 79));
        for _ in 0..2 {
            assert_eq!(set.wait().0, Code::GPU_IS_LOST.0);
        }
        assert_eq!(nvml.device_count().unwrap(), 8);
        let lost = nvml.device_by_index(0).unwrap();
        assert!(matches!(lost.name(), Err(NvmlError::GpuLost)));
        assert!(matches!(lost.uuid(), Err(NvmlError::GpuLost)));
        assert!(matches!(lost.memory_info(), Err(NvmlError::GpuLost)));
        assert!(nvml.device_by_index(1).unwrap().uuid().is_ok(), "the others answer");

        own_folder().give_back("0").unwrap();
        assert!(lost.name().is_ok());
        assert_eq!(set.wait().0, Code::TIMEOUT.0);
    });
}

/// An event set for XIDs (or other kinds) of GPU 0, through the C functions.
struct RawSet<'a> {
    nvml: &'a nvml_wrapper::Nvml,
    handle: nvmlEventSet_t,
}

impl<'a> RawSet<'a> {
    fn on_first_gpu(nvml: &'a nvml_wrapper::Nvml) -> Self {
        Self::on_first_gpu_for(nvml, 8)
    }

    fn on_first_gpu_for(nvml: &'a nvml_wrapper::Nvml, kinds: u64) -> Self {
        let mut handle = std::ptr::null_mut();
        let device = nvml.device_by_index(0).unwrap();
        let create = *nvml.lib().nvmlEventSetCreate.as_ref().unwrap();
        let register = *nvml.lib().nvmlDeviceRegisterEvents.as_ref().unwrap();
        // SAFETY: `handle` is valid for writes, and the device's handle lives as long as the library.
        unsafe {
            assert_eq!(create(&mut handle), 0);
            assert_eq!(register(device.handle(), kinds, handle), 0);
        }
        RawSet { nvml, handle }
    }

    fn wait(&self) -> (u32, nvmlEventData_t) {
        let mut data = blank();
        let wait = *self.nvml.lib().nvmlEventSetWait_v2.as_ref().unwrap();
        // SAFETY: the set is alive and `data` is valid for writes.
        let code = unsafe { wait(self.handle, &mut data, 0) };
        (code, data)
    }
}

fn blank() -> nvmlEventData_t {
    nvmlEventData_t {
        device: std::ptr::null_mut(),
        eventType: 0,
        eventData: 0,
        gpuInstanceId: 7,
        computeInstanceId: 7,
    }
}
