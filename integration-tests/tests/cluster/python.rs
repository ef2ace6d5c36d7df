//! nvidia-ml-py, which many tools are built on, lists the simulated GPUs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::node::{lock_own, text, workspace};
use crate::simulation;

#[test]
fn nvidia_ml_py_lists_the_simulated_gpus() {
    let Some(node) = lock_own("nvidia-ml-py") else { return };
    let python = environment();
    let output = simulation::command(&node, &python.to_string_lossy())
        .arg(folder().join("list_gpus.py"))
        .output()
        .expect("start nvml-sim");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let listed = listed["gpus"].as_array().unwrap();
    let expected = simulation::gpus(&node).unwrap();
    assert_eq!(listed.len(), expected.len());
    for (ours, theirs) in expected.iter().zip(listed) {
        assert_eq!(text(&theirs["uuid"]), text(&ours["uuid"]), "{theirs}");
        assert_eq!(text(&theirs["name"]), text(&ours["model"]["name"]), "{theirs}");
        assert!(theirs["memory_total"].as_u64() > Some(1 << 30), "{theirs}");
        assert!(theirs["temperature"].as_u64() > Some(0), "{theirs}");
    }
}

fn folder() -> PathBuf {
    workspace().join("integration-tests/python")
}

/// The Python of a virtual environment with the package, made once and kept. It is whole when the mark is there, which
/// says what is in it: a run that was ended in the middle leaves none.
fn environment() -> PathBuf {
    let home = workspace().join(".cache/e2e/python");
    let python = home.join("bin/python3");
    let run = |command: &mut Command| {
        let output = command.output().expect("start python3");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let requirements = folder().join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).unwrap();
    let mark = home.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements));
    fs::write(mark, wanted).unwrap();
    python
}
