//! Faults of functions, as a program meets them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use nvml_sim::{Code, Effect, Fault, Occurrence};
use nvml_wrapper::error::NvmlError;

use crate::sim::{child, in_child, is_child, node, nvml, own_folder, passed};

fn fault(function: &str, effect: Effect, occurrence: Occurrence) -> Fault {
    Fault { function: function.to_owned(), gpu: None, effect, after: 0, occurrence }
}

#[test]
fn return_fault_strikes_as_often_as_said() {
    in_child("faults::return_fault_strikes_as_often_as_said", "t4", || {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        let lost = Effect::Return(Code::GPU_IS_LOST.0);
        own_folder().add_fault(fault("nvmlDeviceGetName", lost, Occurrence::Times(2))).unwrap();
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
        let of_3 =
            |function| Fault { gpu: Some("3".to_owned()), ..fault(function, lost, Occurrence::Always) };
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
        println!("\nCALLING");
        std::io::stdout().flush().unwrap();
        nvml.device_by_index(0).unwrap().name().unwrap();
        println!("\nRETURNED");
        return;
    }
    let (_dir, folder) = node("t4");
    folder.add_fault(fault("nvmlDeviceGetName", Effect::Hang, Occurrence::Always)).unwrap();
    let mut caller = child(NAME, folder.dir()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(caller.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "CALLING"));
    assert!(caller.try_wait().unwrap().is_none());
    folder.clear_faults(Some("nvmlDeviceGetName")).unwrap();
    assert!(lines.any(|line| line.unwrap() == "RETURNED"));
    assert!(caller.wait().unwrap().success());
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
    let expected = ["nvmlInit_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetName", "nvmlShutdown"];
    let calls: Vec<_> = calls.lines().filter(|call| *call != "nvmlSystemGetDriverVersion").collect();
    assert_eq!(calls, expected);
}
