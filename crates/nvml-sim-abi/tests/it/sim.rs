//! A simulated node for one test, and programs that load the library in a process of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nvml_sim::{StateFolder, presets};
use nvml_wrapper::Nvml;
use tempfile::TempDir;

/// The library that cargo built beside this test.
pub fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().join("libnvml_sim_abi.so");
    assert!(built.exists(), "{} is missing", built.display());
    built
}

/// A state folder with a node preset.
pub fn node(preset: &str) -> (TempDir, StateFolder) {
    let dir = tempfile::tempdir().unwrap();
    let preset = presets::find(presets::NODES, preset).unwrap();
    let folder = StateFolder::create(&dir.path().join("node"), Path::new(preset.name), preset.yaml).unwrap();
    (dir, folder)
}

/// Runs the test function `name` once more in a child process that sees the node. In the child,
/// `NVML_SIM_TEST_CHILD` is set; everything else is the test's own affair.
pub fn child(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env("NVML_SIM_DIR", folder).env("NVML_SIM_TEST_CHILD", "1");
    command
}

/// Whether this process is such a child.
pub fn is_child() -> bool {
    std::env::var_os("NVML_SIM_TEST_CHILD").is_some()
}

/// Runs `body` in a child process on the node preset, and fails if it fails.
pub fn in_child(name: &str, preset: &str, body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    let (_dir, folder) = node(preset);
    passed(&child(name, folder.dir()).output().unwrap());
}

/// Fails unless the child ran its one test and passed it: a misspelt name would run none.
pub fn passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(" 1 passed"), "{}\n{said}\n{errors}", output.status);
}

/// The state folder that a child process sees.
pub fn own_folder() -> StateFolder {
    StateFolder::open(Path::new(&std::env::var_os("NVML_SIM_DIR").unwrap())).unwrap()
}

/// The library as a Rust program loads it.
pub fn nvml() -> Nvml {
    Nvml::builder().lib_path(library().as_os_str()).init().unwrap()
}
