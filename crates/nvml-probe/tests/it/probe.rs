//! A simulated node for one test, and the program run on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nvml_probe::Walk;
use nvml_sim::{StateFolder, presets};
use tempfile::TempDir;

/// A simulated node.
pub struct Node {
    pub dir: TempDir,
    pub folder: StateFolder,
}

impl Node {
    pub fn of(preset: &str) -> Node {
        Node::from_yaml(presets::find(presets::NODES, preset).unwrap().yaml)
    }

    pub fn from_yaml(yaml: &str) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let folder = StateFolder::create(&dir.path().join("node"), Path::new("test.yaml"), yaml).unwrap();
        Node { dir, folder }
    }

    /// The program on this node.
    pub fn probe(&self, words: &[&str]) -> Command {
        let mut command = probe(&[]);
        command.arg("--library").arg(library()).args(words).env("NVML_SIM_DIR", self.folder.dir());
        command
    }

    /// All that the node answers.
    pub fn walk(&self) -> Walk {
        serde_json::from_str(&passed(&self.probe(&["walk", "--output", "json"]).output().unwrap())).unwrap()
    }
}

/// The program.
pub fn probe(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvml-probe"));
    command.args(words);
    command
}

/// The simulated library that cargo built beside this test.
pub fn library() -> PathBuf {
    let built = std::env::current_exe().unwrap().with_file_name("libnvml_sim_abi.so");
    assert!(built.exists(), "{} is missing", built.display());
    built
}

/// What a successful run said.
pub fn passed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}
