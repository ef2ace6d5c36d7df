//! A simulated node for one test, and programs that load the library in a process of their own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use nvml_sim::{StateFolder, presets};
use nvml_wrapper::Nvml;
use tempfile::TempDir;

/// Names another library than the built one to a child process.
pub const LIBRARY: &str = "NVML_SIM_TEST_LIBRARY";

/// The library that cargo built beside this test.
pub fn library() -> PathBuf {
    if let Some(named) = std::env::var_os(LIBRARY) {
        return PathBuf::from(named);
    }
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().join("libnvml_sim_abi.so");
    assert!(built.exists(), "{} is missing", built.display());
    built
}

/// A state folder with a node preset.
pub fn node(preset: &str) -> (TempDir, StateFolder) {
    node_of(&preset_and(preset, ""))
}

/// A state folder with a node file.
pub fn node_of(yaml: &str) -> (TempDir, StateFolder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = StateFolder::create(&dir.path().join("node"), Path::new("test.yaml"), yaml).unwrap();
    (dir, folder)
}

/// A node preset and some lines more.
pub fn preset_and(preset: &str, lines: &str) -> String {
    format!("{}{lines}", presets::find(presets::NODES, preset).unwrap().yaml)
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
    in_child_on(name, &preset_and(preset, ""), body);
}

/// The same on a node file.
pub fn in_child_on(name: &str, yaml: &str, body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    let (_dir, folder) = node_of(yaml);
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

/// Tells the parent that a child has come to a word, and by which thread.
pub fn say_thread(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{word} {}", rustix::thread::gettid().as_raw_nonzero()).unwrap();
    out.flush().unwrap();
}

/// The thread that came to a word.
pub fn thread_of(word: &str, lines: &mut impl Iterator<Item = std::io::Result<String>>) -> i32 {
    let of = |line: String| line.strip_prefix(word).map(|thread| thread.trim().parse().unwrap());
    // None: the child ended before.
    lines.find_map(|line| of(line.unwrap())).unwrap()
}

/// Waits until a thread of a child sleeps, having gone to sleep more than `since` times, and gives that number.
/// None if the thread ends before. So a test knows that a call blocks, whatever the machine's load.
pub fn asleep(child: &Child, thread: i32, since: u64) -> Option<u64> {
    let path = format!("/proc/{}/task/{thread}/status", child.id());
    loop {
        let status = std::fs::read_to_string(&path).ok()?;
        let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let rests = value("voluntary_ctxt_switches:").unwrap().parse().unwrap();
        match value("State:").unwrap().chars().next().unwrap() {
            'S' if rests > since => return Some(rests),
            'Z' | 'X' => return None,
            _ => std::thread::yield_now(),
        }
    }
}
