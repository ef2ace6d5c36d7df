//! Faults of functions, as a program meets them.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nvml_sim::{Chance, Code, Delay, Effect, Fault, Latency, Moment, Occurrence, freeze};
use nvml_wrapper::error::NvmlError;

use crate::sim::{
    asleep, child, in_child, in_child_on, is_child, node, nvml, own_folder, passed, preset_and, say_thread,
    thread_of,
};

fn fault(function: &str, effect: Effect, occurrence: Occurrence) -> Fault {
    Fault { occurrence, ..Fault::new(function, effect) }
}

#[test]
fn return_fault_strikes_as_often_as_said() {
    in_child("faults::return_fault_strikes_as_often_as_said", "t4", || {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        let lost = Effect::Return(Code::GPU_IS_LOST.0);
        own_folder().add_fault(fault("nvmlDeviceGetName", lost.clone(), Occurrence::Times(2))).unwrap();
        for _ in 0..2 {
            assert!(matches!(device.name(), Err(NvmlError::GpuLost)));
        }
        assert!(device.name().is_ok());
        own_folder().add_fault(fault("nvmlDeviceGet*", lost, Occurrence::Always)).unwrap();
        assert!(matches!(device.uuid(), Err(NvmlError::GpuLost)));
        assert_eq!(own_folder().clear_faults(None).unwrap(), 1);
        assert!(device.uuid().is_ok());
    });
}

#[test]
fn fault_of_one_gpu_strikes_its_calls_alone() {
    in_child("faults::fault_of_one_gpu_strikes_its_calls_alone", "dgx-a100", || {
        let nvml = nvml();
        let gpu = |index| nvml.device_by_index(index).unwrap();
        let lost = Effect::Return(Code::GPU_IS_LOST.0);
        let of_3 = |function| Fault {
            gpu: Some("3".to_owned()),
            ..fault(function, lost.clone(), Occurrence::Always)
        };
        own_folder().add_fault(of_3("nvmlDeviceGetN*")).unwrap();
        own_folder().add_fault(of_3("nvmlDeviceGetTopologyCommonAncestor")).unwrap();
        assert!(matches!(gpu(3).name(), Err(NvmlError::GpuLost)));
        assert!(gpu(2).name().is_ok());
        assert!(gpu(3).uuid().is_ok(), "another function");
        // A call on two GPUs is one on its first.
        assert!(matches!(gpu(3).topology_common_ancestor(gpu(2)), Err(NvmlError::GpuLost)));
        assert!(gpu(2).topology_common_ancestor(gpu(3)).is_ok());
        assert_eq!(own_folder().clear_faults_of_gpu("2", None).unwrap(), 0);
        assert_eq!(own_folder().clear_faults_of_gpu("3", Some("nvmlDeviceGetN*")).unwrap(), 1);
        assert!(gpu(3).name().is_ok());
    });
}

#[test]
fn crash_fault_kills_one_process_by_sigsegv() {
    const NAME: &str = "faults::crash_fault_kills_one_process_by_sigsegv";
    if is_child() {
        nvml().device_by_index(0).unwrap().name().unwrap();
        return;
    }
    let (_dir, folder) = node("t4");
    folder.add_fault(fault("nvmlDeviceGetName", Effect::Crash, Occurrence::Times(1))).unwrap();
    let output = || child(NAME, folder.dir()).output().unwrap();
    assert_eq!(output().status.signal(), Some(11));
    // The fault is gone after one strike.
    passed(&output());
}

#[test]
fn hang_fault_holds_a_call_until_it_is_cleared() {
    const NAME: &str = "faults::hang_fault_holds_a_call_until_it_is_cleared";
    if is_child() {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        say_thread("CALLING");
        device.name().unwrap();
        assert!(own_folder().state().unwrap().faults.is_empty(), "returned while the fault waited");
        return;
    }
    let (_dir, folder) = node("t4");
    folder.add_fault(fault("nvmlDeviceGetName", Effect::Hang, Occurrence::Always)).unwrap();
    let mut caller = child(NAME, folder.dir()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(caller.stdout.take().unwrap()).lines();
    let thread = thread_of("CALLING", &mut lines);
    let mut rests = asleep(&caller, thread, 0).expect("the call blocks");
    for xid in 1..4 {
        // It looks whether the fault still waits, and blocks again.
        folder.inject_xid("0", xid, None, None).unwrap();
        rests = asleep(&caller, thread, rests).expect("the call still blocks");
    }
    folder.clear_faults(Some("nvmlDeviceGetName")).unwrap();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(caller.wait().unwrap().success(), "{rest:?}");
}

#[test]
fn error_text_can_crash_though_it_returns_no_code() {
    const NAME: &str = "faults::error_text_can_crash_though_it_returns_no_code";
    if is_child() {
        let nvml = nvml();
        let text = *nvml.lib().nvmlErrorString.as_ref().unwrap();
        // SAFETY: it takes a number, and its text lives as long as the library.
        assert_eq!(unsafe { std::ffi::CStr::from_ptr(text(15)) }, c"GPU is lost");
        return;
    }
    let (_dir, folder) = node("t4");
    let output = || child(NAME, folder.dir()).output().unwrap();
    folder.add_fault(fault("nvmlError*", Effect::Return(3), Occurrence::Always)).unwrap();
    passed(&output());
    folder.clear_faults(None).unwrap();
    folder.add_fault(fault("nvmlErrorString", Effect::Crash, Occurrence::Always)).unwrap();
    assert_eq!(output().status.signal(), Some(11));
}

#[test]
fn call_log_has_a_line_for_each_call() {
    const NAME: &str = "faults::call_log_has_a_line_for_each_call";
    if is_child() {
        let nvml = nvml();
        nvml.device_by_index(0).unwrap().name().unwrap();
        return;
    }
    let (dir, folder) = node("t4");
    let logs = dir.path().join("calls");
    let output = child(NAME, folder.dir()).env("NVML_SIM_CALL_LOG", &logs).output().unwrap();
    passed(&output);
    let log = std::fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    let calls = std::fs::read_to_string(log).unwrap();
    assert_eq!(counted(&calls), EXPECTED);

    // A client may pass no environment on: the state folder can ask for the record too.
    let logs = folder.dir().join("calls");
    std::fs::create_dir(&logs).unwrap();
    passed(&child(NAME, folder.dir()).output().unwrap());
    let log = std::fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    assert_eq!(counted(&std::fs::read_to_string(log).unwrap()), EXPECTED);

    // And for how long each call took, latency included.
    let times = folder.dir().join("times");
    std::fs::create_dir(&times).unwrap();
    let latency = Latency { default: Delay(DELAY).into(), ..Latency::default() };
    folder.set_latencies(latency).unwrap();
    passed(&child(NAME, folder.dir()).output().unwrap());
    let log = std::fs::read_dir(&times).unwrap().next().unwrap().unwrap().path();
    let times = std::fs::read_to_string(log).unwrap();
    let (names, nanos): (Vec<&str>, Vec<&str>) =
        times.lines().filter_map(|line| line.split_once(' ')).unzip();
    assert_eq!(counted(&names.join("\n")), EXPECTED);
    assert!(nanos.iter().all(|nanos| Duration::from_nanos(nanos.parse().unwrap()) >= DELAY), "{times}");
}

const DELAY: Duration = Duration::from_millis(1);

const EXPECTED: [&str; 4] =
    ["nvmlInit_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetName", "nvmlShutdown"];

/// The calls of a log, without the one that nvml-wrapper makes on its own.
fn counted(log: &str) -> Vec<&str> {
    log.lines().filter(|call| *call != "nvmlSystemGetDriverVersion").collect()
}

#[test]
fn faults_of_the_node_file_wait_from_the_beginning() {
    let yaml = preset_and(
        "dgx-a100",
        "faults:\n  - {return: nvmlDeviceGetName, code: 15, gpu: 3, times: 1}\n  \
         - {return: nvmlDeviceGetUUID, code: NO_DATA, after: 1, at: 90s}\n",
    );
    in_child_on("faults::faults_of_the_node_file_wait_from_the_beginning", &yaml, || {
        let nvml = nvml();
        let gpu = |index| nvml.device_by_index(index).unwrap();
        assert!(gpu(2).name().is_ok());
        assert!(matches!(gpu(3).name(), Err(NvmlError::GpuLost)));
        assert!(gpu(3).name().is_ok());
        // Not before its time, and the calls until then do not count.
        own_folder().freeze_clock().unwrap();
        assert!((0..3).all(|_| gpu(0).uuid().is_ok()));
        own_folder().advance_clock("90s".parse::<Delay>().unwrap().0).unwrap();
        assert!(gpu(0).uuid().is_ok());
        assert!(matches!(gpu(0).uuid(), Err(NvmlError::NoData)));
    });
}

#[test]
fn crash_of_a_later_time_ends_no_call_before() {
    in_child("faults::crash_of_a_later_time_ends_no_call_before", "t4", || {
        let later = Some("1h".parse::<Moment>().unwrap());
        let crash = fault("nvmlDeviceGetName", Effect::Crash, Occurrence::Always);
        own_folder().add_fault(Fault { at: later, ..crash }).unwrap();
        assert!(nvml().device_by_index(0).unwrap().name().is_ok());
    });
}

/// Calls of each process of [`processes_draw_from_one_sequence`].
const DRAWS: usize = 12;

#[test]
fn processes_draw_from_one_sequence() {
    const NAME: &str = "faults::processes_draw_from_one_sequence";
    if is_child() {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        let struck: String = (0..DRAWS).map(|_| if device.name().is_err() { 'x' } else { '.' }).collect();
        println!("\nSTRUCK {struck}");
        return;
    }
    let (_dir, folder) = node("t4");
    let mut chance = Chance::new("40%".parse().unwrap(), 7);
    let fault = fault("nvmlDeviceGetName", Effect::Return(Code::GPU_IS_LOST.0), Occurrence::Always);
    folder.add_fault(Fault { chance: Some(chance), ..fault }).unwrap();
    let mut all = String::new();
    for _ in 0..2 {
        let output = child(NAME, folder.dir()).output().unwrap();
        passed(&output);
        let said = String::from_utf8(output.stdout).unwrap();
        all.push_str(said.lines().find_map(|line| line.strip_prefix("STRUCK ")).unwrap());
    }
    let expected: String = (0..2 * DRAWS).map(|_| if chance.draw() { 'x' } else { '.' }).collect();
    assert_eq!(all, expected);
    assert!(expected.contains('x') && expected.contains('.'));
}

/// Thaws, however the test ends: what hangs there could never be ended otherwise.
struct Frozen<'a>(&'a Path);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        freeze::thaw(self.0).unwrap();
    }
}

#[test]
fn uninterruptible_hang_outlives_sigkill_and_ends_when_it_thaws() {
    const NAME: &str = "faults::uninterruptible_hang_outlives_sigkill_and_ends_when_it_thaws";
    if is_child() {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        say_thread("CALLING");
        let _ = device.name();
        return;
    }
    let (_dir, folder) = node("t4");
    if let Err(error) = freeze::freeze(folder.dir()) {
        // It needs root, loop devices and the programs that make and freeze a file system.
        eprintln!("skipped: {error}");
        return;
    }
    let frozen = Frozen(folder.dir());
    folder.add_fault(fault("nvmlDeviceGetName", Effect::Freeze, Occurrence::Always)).unwrap();
    let mut caller = child(NAME, folder.dir()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(caller.stdout.take().unwrap()).lines();
    let thread = thread_of("CALLING", &mut lines);
    let path = format!("/proc/{}/task/{thread}/status", caller.id());
    let is_stuck = || std::fs::read_to_string(&path).unwrap().contains("State:\tD");
    while !is_stuck() {
        std::thread::yield_now();
    }
    caller.kill().unwrap();
    // The signal is there, and the thread still is too.
    assert!(is_stuck() && caller.try_wait().unwrap().is_none());
    drop(frozen);
    assert_eq!(caller.wait().unwrap().signal(), Some(9));
    assert!(!freeze::thaw(folder.dir()).unwrap(), "nothing is left");
}
