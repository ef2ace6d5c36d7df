//! Feature discovery on a `sim-node`: what these tests do again and again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use sim_node::{Builder, Process, SimNode};

/// How long a condition may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub type Labels = BTreeMap<String, String>;

/// A node to be, without kubelet and container runtime.
pub fn bare() -> Builder {
    SimNode::builder().without_kubelet().runtime(None)
}

pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_gpu-feature-discovery"))
}

fn flags(node: &SimNode, more: &[&str]) -> Vec<OsString> {
    let mut words = node.daemon_flags();
    words.push(format!("--state-dir={}", node.state_dir().display()).into());
    words.extend(more.iter().map(Into::into));
    words
}

/// Runs it to its end.
pub fn run(node: &SimNode, more: &[&str]) -> Output {
    run_as(node, program(), more)
}

/// The same, called by another name.
pub fn run_as(node: &SimNode, program: &Path, more: &[&str]) -> Output {
    node.command_at(program).args(flags(node, more)).output().unwrap()
}

/// The labels that one look gives.
pub fn labels_of(node: &SimNode, more: &[&str]) -> Labels {
    let output = run(node, &[&["--oneshot", "--output=stdout", "--format=json"], more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The file that [`start`] keeps.
pub fn file(node: &SimNode) -> PathBuf {
    node.dir().join("features.d/gfd")
}

/// Starts it with a file to keep.
pub fn start(node: &SimNode, more: &[&str]) -> Process {
    let output = format!("--output={}", file(node).display());
    start_with(node, &[&[output.as_str()], more].concat())
}

/// Starts it.
pub fn start_with(node: &SimNode, more: &[&str]) -> Process {
    let mut command = node.command_at(program());
    command.args(flags(node, more));
    node.spawn_command("gpu-feature-discovery", command).unwrap()
}

/// What the file says, comments apart.
pub fn in_file(node: &SimNode) -> Result<Labels, String> {
    let path = file(node);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let label = |line: &str| {
        let (key, value) = line.split_once('=').ok_or_else(|| format!("{line:?} is no label"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    lines.map(label).collect()
}

/// Waits until the file has a label with this value; without one, until it has no such label.
pub fn file_says(node: &SimNode, key: &str, value: Option<&str>) -> Labels {
    let check = || {
        let labels = in_file(node)?;
        let found = labels.get(key).map(String::as_str);
        if found == value { Ok(labels) } else { Err(format!("{key} is {found:?}: {labels:?}")) }
    };
    sim_node::eventually(&format!("{key} is {value:?}"), PATIENCE, check).unwrap()
}
