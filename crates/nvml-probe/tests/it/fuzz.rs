//! `nvml-probe fuzz`: the simulated library gives each wrong call its code, and a library that does not is found.

use nvml_sim::{MigState, StateFolder};

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

#[test]
fn misuse_gets_its_codes_and_never_ends_a_process() {
    for (seed, preset) in ["dgx-a100", "dgx-h100"].into_iter().enumerate() {
        let seed = seed.to_string();
        let words = ["fuzz", "--cases", "24", "--steps", "150", "--seed", &seed];
        passed(&with_mig(preset).probe(&words).output().unwrap());
    }
    passed(&Node::of("t4").probe(&["fuzz", "--cases", "12"]).output().unwrap());
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
