//! `nvml-probe check`: the suite for machines with GPUs passes on simulated ones, changes nothing there, and finds what
//! is wrong.

use std::fs;
use std::path::Path;
use std::process::Output;

use nvml_sim::MigState;
use serde_json::Value;

use crate::probe::{Node, library, passed, probe};

/// The suite with a comparison, but without figures.
fn check(node: &Node) -> Output {
    let words = ["check", "--milliseconds", "0", "--output", "json", "--simulator"];
    node.probe(&words).arg(library()).output().unwrap()
}

/// The names of the rules that are broken.
fn broken(output: &Output) -> Vec<String> {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    let broken = checks.filter(|check| check["problems"] != Value::Array(Vec::new()));
    broken.map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

/// All that the state of a node says.
fn state(dir: &Path) -> (std::path::PathBuf, Vec<u8>) {
    (fs::read_link(dir.join("state")).unwrap(), fs::read(dir.join("state")).unwrap())
}

#[test]
fn suite_passes_on_simulated_machines_changes_nothing_and_its_recording_answers_alike() {
    // Each generation, and each kind of links and fabric.
    for preset in ["dgx-v100", "h100-nvl", "mixed", "gb200-nvl72"] {
        let node = Node::of(preset);
        let before = state(node.folder.dir());
        let report: Value = serde_json::from_str(&passed(&check(&node))).unwrap();
        assert_eq!(state(node.folder.dir()), before, "{preset}");
        assert_eq!(report["simulator"]["shape"], Value::Array(Vec::new()), "{preset}");
        assert_eq!(report["simulator"]["misuse"], Value::Object(Default::default()), "{preset}");
    }
}

#[test]
fn mig_devices_and_instances_are_checked() {
    let node = Node::of("dgx-h100");
    let make = |mig: &mut MigState, gpu: &nvml_sim::Gpu| {
        mig.set_mode(gpu, true)?.unwrap();
        let instance = mig.create(gpu, 9, None)?;
        mig.create_compute(gpu, instance, 0, None)?;
        mig.create(gpu, 19, None).map(|_| ())
    };
    node.folder.change_mig("0", make).unwrap();
    let report: Value = serde_json::from_str(&passed(&check(&node))).unwrap();
    let mig = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "mig").unwrap();
    assert!(mig["seen"].as_u64().unwrap() > 6, "{mig}");
    let misuse = report["misuse"].as_array().unwrap().iter();
    let of_instances =
        misuse.filter(|misuse| misuse["call"].as_str().unwrap().starts_with("nvmlComputeInstance"));
    assert!(of_instances.count() > 4, "misuse of compute instances");
}

#[test]
fn wrong_answers_and_crashes_are_found_and_the_rest_is_checked_all_the_same() {
    let spoilt = |fault: &str| {
        let node = Node::of("t4");
        node.folder.declare(serde_json::from_str(fault).unwrap()).unwrap();
        let output = check(&node);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let garbage = spoilt(r#"{"garbage": "nvmlDeviceGetMemoryInfo*"}"#);
    assert!(broken(&garbage).contains(&"memory".to_owned()), "{:?}", broken(&garbage));

    // Behind the three walks, in the process that misuses the library.
    let crash = spoilt(r#"{"crash": "nvmlSystemGetHicVersion", "after": 4}"#);
    assert_eq!(broken(&crash), Vec::<String>::new());
    let report: Value = serde_json::from_slice(&crash.stdout).unwrap();
    let misuse = report["misuse"].as_array().unwrap();
    let is_crash = |misuse: &&Value| misuse["code"] == "signal 11";
    assert!(
        misuse
            .iter()
            .filter(is_crash)
            .all(|crash| crash["call"].as_str().unwrap().starts_with("nvmlSystemGetHic"))
    );
    assert!(misuse.iter().any(|misuse| is_crash(&misuse)));
    let last = misuse.last().unwrap()["call"].as_str().unwrap();
    assert!(last.ends_with(": after the shutdown"), "{last}");
}

#[test]
fn what_the_simulator_answers_otherwise_is_told_and_is_no_failure() {
    let node = Node::of("dgx-a100");
    // For the three walks, and not for the simulated node.
    let fault = r#"{"return": "nvmlDeviceGetDisplayMode", "code": "NOT_READY", "times": 24}"#;
    node.folder.declare(serde_json::from_str(fault).unwrap()).unwrap();
    let words = ["check", "--milliseconds", "0", "--simulator"];
    let said = passed(&node.probe(&words).arg(library()).output().unwrap());
    let gpus = (0..8).map(|gpu| format!("GPU {gpu}")).collect::<Vec<_>>().join(", ");
    assert!(said.contains(&format!("  {gpus}: nvmlDeviceGetDisplayMode: NOT_READY / an answer\n")), "{said}");
    assert!(said.contains("GPU 0, 1, 2, 3, 4, 5, 6, 7: preset A100-SXM4-80GB\n"), "{said}");
}

#[test]
fn machine_without_driver_or_gpu_is_skipped_with_one_line_where_that_is_asked() {
    let skipped = |output: &Output| {
        let said = passed(output);
        assert!(said.starts_with("SKIPPED: ") && said.lines().count() == 1, "{said}");
    };
    let words = ["check", "--or-skip", "--library", "libnvidia-ml.so.none"];
    skipped(&probe(&words).output().unwrap());
    let mut no_driver = probe(&["check", "--or-skip", "--library"]);
    skipped(&no_driver.arg(library()).env_remove("NVML_SIM_DIR").output().unwrap());
    skipped(&Node::from_yaml(NO_GPU).probe(&["check", "--or-skip"]).output().unwrap());

    // A library that someone named must be there.
    let output = probe(&["check", "--or-skip", "--library", "/nowhere/libnvidia-ml.so.1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

const NO_GPU: &str = "driver: {version: 580.95.05, cuda: \"13.0\"}\nseed: empty\ngpus: []\n";
