//! State folders and commands for tests.

use std::path::Path;
use std::process::{Command, Output};

use nvml_sim::{StateFolder, presets};
use tempfile::TempDir;

/// A state folder with a node preset.
pub fn node(preset: &str) -> (TempDir, StateFolder) {
    let dir = tempfile::tempdir().unwrap();
    let preset = presets::find(presets::NODES, preset).unwrap();
    let folder = StateFolder::create(&dir.path().join("node"), Path::new(preset.name), preset.yaml).unwrap();
    (dir, folder)
}

/// The built command on a folder.
pub fn nvml_sim(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvml-sim"));
    command.env("NVML_SIM_DIR", dir);
    command
}

/// Standard output of a command that succeeded.
pub fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}
