//! Processes through the C interface: lists and their sizes, what was used, accounting, and what they keep in use.

use std::ffi::{CStr, c_char};
use std::mem::zeroed;
use std::ptr::null_mut;
use std::time::Duration;

use nvml_sim::{Code, ProcessEntry, ProcessKind, StateFolder};
use nvml_sim_abi::structs::nvmlAccountingStats_v2_t;
use nvml_wrapper_sys::bindings::*;

use crate::mig::{call, gpu, make, mig_device, switch_on, version_word};
use crate::sim::{in_child, in_child_on, nvml, own_folder, preset_and};

/// `NVML_VALUE_NOT_AVAILABLE`, where a process runs on no instance.
const NONE: u32 = u32::MAX;
const GIB: u64 = 1 << 30;

/// A function of a GPU that fills a struct, where the bindings do not know it.
pub type Asks<T> = unsafe extern "C" fn(nvmlDevice_t, *mut T) -> u32;

fn start(folder: &StateFolder, pid: u32, entry: ProcessEntry) {
    let gpu = if entry.gpu.is_empty() { "0".to_owned() } else { entry.gpu.clone() };
    folder.start_process(ProcessEntry { gpu, pid: Some(pid), ..entry }).unwrap();
}

fn using(memory: &str, sm: &str) -> ProcessEntry {
    ProcessEntry { memory: memory.parse().unwrap(), sm: sm.parse().unwrap(), ..ProcessEntry::default() }
}

#[test]
fn list_is_given_whole_or_its_size_is_told() {
    in_child("processes::list_is_given_whole_or_its_size_is_told", "t4", || {
        let (nvml, folder) = (nvml(), own_folder());
        let device = gpu(&nvml, 0);
        let untouched =
            nvmlProcessInfo_t { pid: 77, usedGpuMemory: 7, gpuInstanceId: 7, computeInstanceId: 7 };
        for running in 0..4_u32 {
            if running > 0 {
                start(&folder, 1000 + running, using("1GiB", "0%"));
            }
            for places in 0..6_u32 {
                let (mut count, mut list) = (places, [untouched; 6]);
                let code = call!(nvml.nvmlDeviceGetComputeRunningProcesses_v3(
                    device,
                    &mut count,
                    list.as_mut_ptr()
                ));
                assert_eq!(count, running, "{places} places");
                let enough = places >= running;
                assert_eq!(code, if enough { 0 } else { Code::INSUFFICIENT_SIZE.0 }, "{places} {running}");
                let written = list.iter().take_while(|one| one.pid != 77).count();
                assert_eq!(written, if enough { running as usize } else { 0 }, "{places} places");
                assert!(list[written..].iter().all(|one| one.pid == 77), "written behind the end");

                let mut count = places;
                let code =
                    call!(nvml.nvmlDeviceGetComputeRunningProcesses_v3(device, &mut count, null_mut()));
                let expected = match (running, enough) {
                    (0, _) => 0,
                    (_, false) => Code::INSUFFICIENT_SIZE.0,
                    (_, true) => Code::INVALID_ARGUMENT.0,
                };
                assert_eq!((code, count), (expected, running), "{places} places and no list");
            }
        }
        let code = call!(nvml.nvmlDeviceGetComputeRunningProcesses_v3(device, null_mut(), null_mut()));
        assert_eq!(code, Code::INVALID_ARGUMENT.0);
    });
}

#[test]
fn each_version_has_its_own_struct_and_each_kind_its_own_list() {
    const DECLARED: &str = "processes:\n\
        - {gpu: 0, pid: 11, name: trainer, memory: 3GiB, sm: 40%}\n\
        - {gpu: 0, pid: 12, kind: graphics, memory: 1GiB}\n\
        - {gpu: 0, pid: 13, kind: mps, memory: 2GiB}\n\
        - {gpu: 0, pid: 14, memory: 4GiB}\n";
    let name = "processes::each_version_has_its_own_struct_and_each_kind_its_own_list";
    in_child_on(name, &preset_and("dgx-h100", DECLARED), || {
        let nvml = nvml();
        let device = gpu(&nvml, 0);
        // SAFETY: plain numbers.
        let mut first: [nvmlProcessInfo_v1_t; 3] = unsafe { zeroed() };
        // SAFETY: plain numbers.
        let mut second: [nvmlProcessInfo_v2_t; 3] = unsafe { zeroed() };
        assert_eq!((size_of_val(&first[0]), size_of_val(&second[0])), (16, 24));
        let (mut one, mut two) = (3, 3);
        assert_eq!(call!(nvml.nvmlDeviceGetComputeRunningProcesses(device, &mut one, first.as_mut_ptr())), 0);
        assert_eq!(
            call!(nvml.nvmlDeviceGetComputeRunningProcesses_v2(device, &mut two, second.as_mut_ptr())),
            0
        );
        assert_eq!((one, two), (2, 2));
        assert_eq!(first.map(|it| (it.pid, it.usedGpuMemory)), [(11, 3 * GIB), (14, 4 * GIB), (0, 0)]);
        assert_eq!(
            second.map(|it| (it.pid, it.usedGpuMemory, it.gpuInstanceId, it.computeInstanceId)),
            [(11, 3 * GIB, NONE, NONE), (14, 4 * GIB, NONE, NONE), (0, 0, 0, 0)]
        );
        let mut count = 3;
        let list = second.as_mut_ptr();
        assert_eq!(call!(nvml.nvmlDeviceGetGraphicsRunningProcesses_v3(device, &mut count, list)), 0);
        assert_eq!((count, second[0].pid), (1, 12));
        assert_eq!(call!(nvml.nvmlDeviceGetMPSComputeRunningProcesses_v3(device, &mut count, list)), 0);
        assert_eq!((count, second[0].pid), (1, 13));

        // SAFETY: plain numbers.
        let mut details: [nvmlProcessDetail_v1_t; 2] = unsafe { zeroed() };
        let mut list = nvmlProcessDetailList_t {
            version: version_word::<nvmlProcessDetailList_t>(1),
            mode: 0,
            numProcArrayEntries: 0,
            procArray: null_mut(),
        };
        let code = call!(nvml.nvmlDeviceGetRunningProcessDetailList(device, &mut list));
        assert_eq!((code, list.numProcArrayEntries), (Code::INSUFFICIENT_SIZE.0, 2));
        list.procArray = details.as_mut_ptr();
        assert_eq!(call!(nvml.nvmlDeviceGetRunningProcessDetailList(device, &mut list)), 0);
        assert_eq!(details.map(|it| (it.pid, it.gpuInstanceId)), [(11, NONE), (14, NONE)]);
        list.version = 0;
        let code = call!(nvml.nvmlDeviceGetRunningProcessDetailList(device, &mut list));
        assert_eq!(code, Code::ARGUMENT_VERSION_MISMATCH.0);

        let mut text = [0 as c_char; 96];
        assert_eq!(call!(nvml.nvmlSystemGetProcessName(11, text.as_mut_ptr(), 5)), 0);
        // SAFETY: the library has ended the text.
        assert_eq!(unsafe { CStr::from_ptr(text.as_ptr()) }, c"trai", "cut to the buffer");
        let none = call!(nvml.nvmlSystemGetProcessName(11, text.as_mut_ptr(), 0));
        assert_eq!(none, Code::INVALID_ARGUMENT.0);
        assert_eq!(call!(nvml.nvmlSystemGetProcessName(4_000_000, text.as_mut_ptr(), 96)), Code::NOT_FOUND.0);
        // SAFETY: plain numbers.
        let mut memory: nvmlMemory_t = unsafe { zeroed() };
        assert_eq!(call!(nvml.nvmlDeviceGetMemoryInfo(device, &mut memory)), 0);
        assert!((10 * GIB..11 * GIB).contains(&memory.used), "what processes use and what is reserved");
    });
}

#[test]
fn use_is_told_once_for_each_sample() {
    in_child("processes::use_is_told_once_for_each_sample", "t4", || {
        let (nvml, folder) = (nvml(), own_folder());
        let device = gpu(&nvml, 0);
        folder.freeze_clock().unwrap();
        start(&folder, 11, using("1GiB", "40%"));
        start(&folder, 12, using("1GiB", "0%"));
        // SAFETY: plain numbers.
        let mut samples: [nvmlProcessUtilizationSample_t; 4] = unsafe { zeroed() };
        let mut ask = |since| {
            let mut count = 4;
            let code =
                call!(nvml.nvmlDeviceGetProcessUtilization(device, samples.as_mut_ptr(), &mut count, since));
            (code, count, samples[0])
        };
        assert_eq!(ask(0).0, Code::NOT_FOUND.0, "not looked at yet");
        folder.advance_clock(Duration::from_secs(1)).unwrap();
        let (code, count, first) = ask(0);
        assert_eq!((code, count, first.pid, first.smUtil), (0, 1, 11, 40), "the one that used something");
        assert_eq!(ask(first.timeStamp).0, Code::NOT_FOUND.0, "nothing new");
        assert_eq!(ask(first.timeStamp - 1).0, 0);
        folder.advance_clock(Duration::from_secs(1)).unwrap();
        let (code, _, second) = ask(first.timeStamp);
        assert!(code == 0 && second.timeStamp > first.timeStamp);
        let mut count = 9;
        let code = call!(nvml.nvmlDeviceGetProcessUtilization(device, null_mut(), &mut count, 0));
        assert_eq!((code, count), (Code::INSUFFICIENT_SIZE.0, 1), "how many there are");

        // SAFETY: plain numbers.
        let mut list: [nvmlProcessUtilizationInfo_v1_t; 2] = unsafe { zeroed() };
        let mut info = nvmlProcessesUtilizationInfo_t {
            version: version_word::<nvmlProcessesUtilizationInfo_t>(1),
            processSamplesCount: 2,
            lastSeenTimeStamp: first.timeStamp,
            procUtilArray: null_mut(),
        };
        let code = call!(nvml.nvmlDeviceGetProcessesUtilizationInfo(device, &mut info));
        assert_eq!((code, info.processSamplesCount), (Code::INSUFFICIENT_SIZE.0, 1));
        info.procUtilArray = list.as_mut_ptr();
        assert_eq!(call!(nvml.nvmlDeviceGetProcessesUtilizationInfo(device, &mut info)), 0);
        assert_eq!((list[0].pid, list[0].smUtil, list[0].timeStamp), (11, 40, second.timeStamp));
        info.lastSeenTimeStamp = second.timeStamp;
        let code = call!(nvml.nvmlDeviceGetProcessesUtilizationInfo(device, &mut info));
        assert_eq!(code, Code::NOT_FOUND.0);
        // SAFETY: plain numbers.
        let mut rates: nvmlUtilization_t = unsafe { zeroed() };
        assert_eq!(call!(nvml.nvmlDeviceGetUtilizationRates(device, &mut rates)), 0);
        assert!(rates.gpu >= 40, "the GPU does what its processes do: {}", rates.gpu);
    });
}

#[test]
fn process_on_an_instance_is_listed_there_and_keeps_it() {
    in_child("processes::process_on_an_instance_is_listed_there_and_keeps_it", "dgx-h100", || {
        let (nvml, folder) = (nvml(), own_folder());
        let device = gpu(&nvml, 0);
        switch_on(&folder, "0");
        let (small, other) = (make(&folder, 9, 0), make(&folder, 19, 0));
        let on = |(gi, ci): (u32, u32), memory| ProcessEntry {
            gi: Some(gi),
            ci: Some(ci),
            ..using(memory, "50%")
        };
        start(&folder, 11, on(small, "2GiB"));
        start(&folder, 12, on(other, "1GiB"));
        let list = |device| {
            // SAFETY: plain numbers.
            let (mut count, mut list): (u32, [nvmlProcessInfo_t; 4]) = (4, unsafe { zeroed() });
            let code =
                call!(nvml.nvmlDeviceGetComputeRunningProcesses_v3(device, &mut count, list.as_mut_ptr()));
            assert_eq!(code, 0);
            let all = list.iter().take(count as usize);
            all.map(|it| (it.pid, it.gpuInstanceId, it.computeInstanceId)).collect::<Vec<_>>()
        };
        let (on_small, on_other) = ((11, small.0, small.1), (12, other.0, other.1));
        let mig = mig_device(&nvml, 0).unwrap();
        assert_eq!(list(mig), [on_small]);
        assert_eq!(list(mig_device(&nvml, 1).unwrap()), [on_other]);
        assert_eq!(list(device), [on_small, on_other], "of the GPU all");
        // SAFETY: plain numbers.
        let mut memory: nvmlMemory_t = unsafe { zeroed() };
        assert_eq!(call!(nvml.nvmlDeviceGetMemoryInfo(mig, &mut memory)), 0);
        assert_eq!(memory.used, 2 * GIB);
        let mut count = 4;
        for device in [device, mig] {
            let code = call!(nvml.nvmlDeviceGetProcessUtilization(device, null_mut(), &mut count, 0));
            assert_eq!(code, Code::NOT_SUPPORTED.0);
        }

        let end =
            |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| mig.destroy_compute(gpu, small.0, small.1);
        assert!(folder.change_mig("0", end).is_err());
        if rustix::process::geteuid().is_root() {
            let (mut instance, mut compute, mut status) = (null_mut(), null_mut(), 0);
            assert_eq!(call!(nvml.nvmlDeviceGetGpuInstanceById(device, small.0, &mut instance)), 0);
            assert_eq!(call!(nvml.nvmlGpuInstanceGetComputeInstanceById(instance, small.1, &mut compute)), 0);
            assert_eq!(call!(nvml.nvmlComputeInstanceDestroy(compute)), Code::IN_USE.0);
            assert_eq!(call!(nvml.nvmlGpuInstanceDestroy(instance)), Code::IN_USE.0);
            // On a GPU without instances a process alone is enough.
            start(&folder, 13, ProcessEntry { gpu: "1".to_owned(), ..using("1GiB", "0%") });
            let whole = gpu(&nvml, 1);
            let (mut current, mut pending) = (9, 9);
            assert_eq!(call!(nvml.nvmlDeviceSetMigMode(whole, 1, &mut status)), 0);
            assert_eq!(status, Code::IN_USE.0);
            assert_eq!(call!(nvml.nvmlDeviceGetMigMode(whole, &mut current, &mut pending)), 0);
            assert_eq!((current, pending), (0, 1));
            folder.end_process(13).unwrap();
            assert_eq!(call!(nvml.nvmlDeviceSetMigMode(whole, 1, &mut status)), 0);
            assert_eq!(status, 0);
            assert_eq!(call!(nvml.nvmlDeviceSetComputeMode(whole, 0)), Code::NOT_SUPPORTED.0, "MIG is on");
        }
        folder.end_process(11).unwrap();
        folder.change_mig("0", end).unwrap();
    });
}

#[test]
fn compute_mode_of_a_mig_device_is_its_own() {
    in_child("processes::compute_mode_of_a_mig_device_is_its_own", "dgx-h100", || {
        let (nvml, folder) = (nvml(), own_folder());
        switch_on(&folder, "0");
        let places = [make(&folder, 19, 0), make(&folder, 19, 0)];
        let [one, other] = [0, 1].map(|index| mig_device(&nvml, index).unwrap());
        let mode = |device| {
            let mut mode = 9;
            assert_eq!(call!(nvml.nvmlDeviceGetComputeMode(device, &mut mode)), 0);
            mode
        };
        let mut support = nvmlGpmSupport_t { version: 1, isSupportedDevice: 9 };
        assert_eq!(call!(nvml.nvmlGpmQueryDeviceSupport(one, &mut support)), 0);
        assert_eq!(support.isSupportedDevice, 1, "as of its GPU");
        assert_eq!(call!(nvml.nvmlDeviceSetComputeMode(one, 4)), Code::INVALID_ARGUMENT.0);
        if !rustix::process::geteuid().is_root() {
            assert_eq!(call!(nvml.nvmlDeviceSetComputeMode(one, 3)), Code::NO_PERMISSION.0);
            return;
        }
        let events = || own_folder().state().unwrap().events.last;
        let before = events();
        assert_eq!(call!(nvml.nvmlDeviceSetComputeMode(one, 3)), 0);
        assert_eq!((mode(one), mode(other)), (3, 0));
        assert_eq!(events(), before, "instances are as they were");
        let run = |(gi, ci)| {
            let place =
                ProcessEntry { gpu: "0".to_owned(), gi: Some(gi), ci: Some(ci), ..using("1GiB", "0%") };
            folder.start_process(place)
        };
        run(places[0]).unwrap();
        assert!(run(places[0]).unwrap_err().to_string().contains("exclusive-process"));
        run(places[1]).unwrap();
        run(places[1]).unwrap();
    });
}

#[test]
fn accounting_outlives_the_process_and_not_the_driver() {
    in_child("processes::accounting_outlives_the_process_and_not_the_driver", "t4", || {
        let (nvml, folder) = (nvml(), own_folder());
        let device = gpu(&nvml, 0);
        folder.freeze_clock().unwrap();
        let mut number = 9;
        // SAFETY: plain numbers.
        let mut stats: nvmlAccountingStats_t = unsafe { zeroed() };
        let code = call!(nvml.nvmlDeviceGetAccountingStats(device, 11, &mut stats));
        assert_eq!(code, Code::NOT_SUPPORTED.0, "off as a driver begins");
        assert_eq!(call!(nvml.nvmlDeviceGetAccountingMode(device, &mut number)), 0);
        assert_eq!(number, 0);
        let is_root = rustix::process::geteuid().is_root();
        let roots = if is_root { 0 } else { Code::NO_PERMISSION.0 };
        assert_eq!(call!(nvml.nvmlDeviceSetAccountingMode(device, 1)), roots);
        folder.set("0", "accounting-mode", "on").unwrap();
        assert_eq!(call!(nvml.nvmlDeviceSetAccountingMode(device, 2)), Code::INVALID_ARGUMENT.0);
        assert_eq!(call!(nvml.nvmlDeviceGetAccountingPids(device, &mut number, null_mut())), 0);
        assert_eq!(number, 0);

        start(&folder, 11, using("2GiB", "30%"));
        start(&folder, 11, ProcessEntry { kind: ProcessKind::Graphics, ..using("1GiB", "5%") });
        folder.advance_clock(Duration::from_secs(9)).unwrap();
        start(&folder, 12, using("1GiB", "10%"));
        let mut told = |pid| {
            let code = call!(nvml.nvmlDeviceGetAccountingStats(device, pid, &mut stats));
            (code, stats.isRunning, stats.time, stats.gpuUtilization, stats.maxMemoryUsage / GIB)
        };
        assert_eq!(told(11), (0, 1, 0, 35, 3), "no time while it runs");
        folder.end_process(11).unwrap();
        folder.advance_clock(Duration::from_secs(5)).unwrap();
        assert_eq!(told(11), (0, 0, 9000, 35, 3));
        assert_eq!(told(13).0, Code::NOT_FOUND.0);
        let mut second = nvmlAccountingStats_v2_t { pid: 11, ..Default::default() };
        // SAFETY: the function has this type.
        let ask =
            unsafe { nvml.lib().__library.get::<Asks<_>>(b"nvmlDeviceGetAccountingStats_v2\0").unwrap() };
        // SAFETY: the struct is one that it reads and writes.
        assert_eq!(unsafe { ask(device, &mut second) }, 0);
        let nvmlAccountingStats_v2_t { sampleCount: samples, sumGpuUtil: sum, time, .. } = second;
        assert_eq!((samples, sum, time), (53, 53 * 3500, 9000), "a sample each sixth of a second");
        let (mut count, mut pids) = (1, [0; 3]);
        let code = call!(nvml.nvmlDeviceGetAccountingPids(device, &mut count, pids.as_mut_ptr()));
        assert_eq!((code, count, pids), (Code::INSUFFICIENT_SIZE.0, 2, [0; 3]));
        assert_eq!(call!(nvml.nvmlDeviceGetAccountingPids(device, &mut count, pids.as_mut_ptr())), 0);
        assert_eq!((count, pids), (2, [11, 12, 0]));
        assert_eq!(call!(nvml.nvmlDeviceClearAccountingPids(device)), roots);
        if is_root {
            assert_eq!((told(11).0, told(12).0), (Code::NOT_FOUND.0, 0), "those that run stay");
        }
        folder.set("0", "accounting-mode", "off").unwrap();
        folder.set("0", "accounting-mode", "on").unwrap();
        assert_eq!(told(11).0, Code::NOT_FOUND.0);
        folder.reload(None).unwrap();
        assert!(folder.state().unwrap().processes.is_empty());
        assert_eq!(folder.state().unwrap().modes[&folder.node().unwrap().gpus[0].uuid].accounting, None);
    });
}

#[test]
fn compute_mode_is_roots_to_set_and_binds_processes() {
    in_child("processes::compute_mode_is_roots_to_set_and_binds_processes", "t4", || {
        let (nvml, folder) = (nvml(), own_folder());
        let (device, mut mode) = (gpu(&nvml, 0), 9);
        let set = |mode| call!(nvml.nvmlDeviceSetComputeMode(device, mode));
        assert_eq!(set(1), Code::NOT_SUPPORTED.0);
        assert_eq!(set(4), Code::INVALID_ARGUMENT.0);
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(set(3), if is_root { 0 } else { Code::NO_PERMISSION.0 });
        folder.set("0", "compute-mode", "exclusive-process").unwrap();
        assert_eq!(call!(nvml.nvmlDeviceGetComputeMode(device, &mut mode)), 0);
        assert_eq!(mode, 3);
        start(&folder, 11, using("1GiB", "0%"));
        let another = |kind| ProcessEntry { gpu: "0".to_owned(), kind, ..using("1GiB", "0%") };
        assert!(folder.start_process(another(ProcessKind::Compute)).is_err());
        folder.start_process(another(ProcessKind::Mps)).unwrap();
    });
}
