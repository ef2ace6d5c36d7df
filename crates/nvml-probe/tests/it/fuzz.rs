//! `nvml-probe fuzz`: the simulated library gives each wrong call its code, and a library that does not is found.

use std::collections::BTreeSet;

use nvml_sim::{MigState, StateFolder, presets};

use crate::probe::{Node, passed};

fn with_mig(preset: &str) -> Node {
    let node = Node::of(preset);
    for gpu in ["0", "1"] {
        let on = |mig: &mut MigState, gpu: &nvml_sim::Gpu| {
            let _ = mig.set_mode(gpu, true)?;
            mig.reset(gpu);
            Ok(())
        };
        node.folder.change_mig(gpu, on).unwrap();
    }
    node
}

/// Functions that the sequences have no use for, and why.
const UNPLAYED: &[(&str, &str)] =
    &[("nvmlErrorString", "it returns a text, and looks at no memory of its caller's")];

#[test]
fn misuse_gets_its_codes_and_never_ends_a_process() {
    let mut called = BTreeSet::new();
    let mut play = |node: &Node, words: &[&str]| {
        let log = node.dir.path().join("calls");
        let mut command = node.probe(words);
        passed(&command.env("NVML_SIM_CALL_LOG", &log).output().unwrap());
        for file in std::fs::read_dir(log).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            called.extend(text.lines().map(str::to_owned));
        }
    };
    for (seed, preset) in ["dgx-a100", "dgx-h100"].into_iter().enumerate() {
        let words = ["fuzz", "--cases", "24", "--steps", "150", "--seed", &seed.to_string()];
        play(&with_mig(preset), &words);
    }
    let t4 = presets::find(presets::NODES, "t4").unwrap().yaml;
    let with_processes = format!("{t4}processes: [{{gpu: 0, pid: 3}}, {{gpu: 0, pid: 11, name: train}}]\n");
    play(&Node::from_yaml(&with_processes), &["fuzz", "--cases", "12"]);
    play(&Node::of("t4"), &["fuzz", "--cases", "12", "--seed", "2"]);

    // A function that is new in the library has to be played, too.
    let implemented = nvml_sim_abi::IMPLEMENTED.iter().copied().flatten();
    let unplayed =
        |name: &&&str| !called.contains(**name) && !UNPLAYED.iter().any(|(known, _)| known == *name);
    assert_eq!(implemented.filter(unplayed).collect::<Vec<_>>(), Vec::<&&str>::new());
    let idle = |(name, _): &&(&str, &str)| called.contains(*name);
    assert_eq!(UNPLAYED.iter().filter(idle).collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
}

#[test]
fn crash_and_wrong_code_of_a_library_are_found_and_told_with_a_short_sequence() {
    let found = |spoil: &dyn Fn(&StateFolder)| {
        let node = Node::of("t4");
        spoil(&node.folder);
        let output = node.probe(&["fuzz", "--cases", "200", "--steps", "100"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).unwrap()
    };
    let entry = |yaml: &str| -> nvml_sim::FaultEntry { serde_json::from_str(yaml).unwrap() };
    let crash = entry(r#"{"crash": "nvmlDeviceGetF*", "after": 3}"#);
    let said = found(&|folder| folder.declare(crash.clone()).unwrap());
    assert!(said.contains("the process ended by signal 11"), "{said}");
    // Each shrinks to an initialisation, if that, and the call.
    assert!(said.matches("\"getter\"").count() <= 4, "{said}");

    let wrong = entry(r#"{"return": "nvmlDeviceGetP*", "code": "UNKNOWN", "probability": "50%"}"#);
    let said = found(&|folder| folder.declare(wrong.clone()).unwrap());
    assert!(said.contains("gives UNKNOWN"), "{said}");
}
