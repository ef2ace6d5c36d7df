//! A run as short as it gets: every row is there, and measured.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sim_node::eventually;
use tempfile::TempDir;

const SHORT: [&str; 8] = ["--runs", "1", "--calls", "8", "--idle-seconds", "0", "--output", "json"];

/// Rows of each latency profile.
const TIMINGS: [&str; 10] = [
    "process start -> device list (ms: median / p99 / max)",
    "beyond the time inside NVML (ms, median)",
    "NVML calls before the first list (fewest)",
    "kubelet.sock created -> device list (ms: median / p99 / max)",
    "its p99 (ms)",
    "NVML calls for it (max)",
    "GetPreferredAllocation, every size (ms: median / p99 / max; target: p99)",
    "NVML calls for one",
    "Allocate, 100/s (ms: median / p99 / max; target: p99)",
    "NVML calls for one",
];

/// Rows between those and the shares.
const MORE: [&str; 2] = [
    "kubelet.sock accepts -> device list (ms: median / p99 / max; target: p99)",
    "GetPreferredAllocation, every size (ms: median / p99 / max; target: p99)",
];

/// Rows of each number of shares.
const SHARES: [&str; 7] = [
    "process start -> device list (ms: median / p99 / max)",
    "beyond the time inside NVML (ms, median)",
    "kubelet.sock created -> device list (ms: median / p99 / max)",
    "its p99 (ms)",
    "GetPreferredAllocation, sizes 1 to 4 (ms: median / p99 / max; target: p99)",
    "Allocate, 100/s (ms: median / p99 / max; target: p99)",
    "memory of daemon and workers after it, PSS (MiB)",
];

/// Rows of faults and of the footprint.
const FOOTPRINT: [&str; 9] = [
    "Allocate, 100/s, every call on a GPU hangs (ms: median / p99 / max; target: p99)",
    "Allocate, 100/s, every call on a GPU crashes (ms: median / p99 / max; target: p99)",
    "Allocate, 100/s, a GPU is lost (ms: median / p99 / max; target: p99)",
    "idle processor time in 60 s (ms)",
    "memory of daemon and workers, PSS (MiB)",
    "of it the driver's library, here the simulated one (MiB)",
    "anonymous (MiB)",
    "after load: PSS (MiB)",
    "after load: anonymous (MiB)",
];

/// Rows of each node on which one-shot discovery is measured.
const ONESHOT: [&str; 5] = [
    "process start -> labels on standard output (ms: median / p99 / max)",
    "beyond the time inside NVML (ms, median)",
    "NVML calls (most)",
    "processor time (ms, median)",
    "memory of all its processes, PSS, highest that was seen (MiB)",
];

/// Rows of labels on the Node.
const LABELLED: [&str; 4] = [
    "process start -> labels on the Node (ms: median / p99 / max)",
    "config file replaced -> label on the Node (ms: median / p99 / max)",
    "requests to the API server at rest, in an hour",
    "those that write",
];

/// Rows of the simulated driver and of the images.
const OTHERS: [&str; 13] = [
    "a call of the slowest common getter (us)",
    "of all in turn (us)",
    "first initialisation (ms)",
    "library in a client: PSS (MiB)",
    "anonymous (MiB)",
    "change of the state (ms: median / p99 / max)",
    "100 clients that call all the time: calls a second, all together",
    "of them answered in every call",
    "library in each of them: PSS (MiB, median)",
    "anonymous (MiB, median)",
    "change of the state meanwhile (ms: median / p99 / max)",
    "gpu-device-plugin, compressed (MB)",
    "gpu-feature-discovery, compressed (MB)",
];

/// Rows that this run leaves out, or has nothing for.
const OPEN: [&str; 5] = [
    "idle processor time in 60 s (ms)",
    "requests to the API server at rest, in an hour",
    "those that write",
    "gpu-device-plugin, compressed (MB)",
    "gpu-feature-discovery, compressed (MB)",
];

/// Where calls take no time, those before a list cannot be told from those after it.
const UNCOUNTED: usize = 2;

/// A short name: sockets are made below it.
fn temp() -> TempDir {
    tempfile::Builder::new().prefix("b").tempdir_in("/tmp").unwrap()
}

fn rows(answer: &[u8]) -> Vec<Value> {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    answer["rows"].as_array().unwrap().clone()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn run_measures_every_row_and_leaves_nothing() {
    let temp = temp();
    let output =
        Command::new(env!("CARGO_BIN_EXE_bench")).args(SHORT).env("TMPDIR", temp.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let rows = rows(&output.stdout);
    let names: Vec<&str> = rows.iter().map(|row| row["what"].as_str().unwrap()).collect();
    let expected = [
        TIMINGS.repeat(4),
        MORE.to_vec(),
        SHARES.repeat(2),
        FOOTPRINT.to_vec(),
        ONESHOT.repeat(5),
        LABELLED.to_vec(),
        OTHERS.to_vec(),
    ];
    assert_eq!(names, expected.concat());
    for (at, row) in rows.iter().enumerate() {
        let is_open = OPEN.contains(&row["what"].as_str().unwrap()) || at == UNCOUNTED;
        if is_open {
            continue;
        }
        assert!(row["figures"]["gantry"]["number"].is_number(), "{row}");
    }
    // What was counted, not timed, is what it is in a debug build too.
    for row in rows
        .iter()
        .filter(|row| row["what"] == "NVML calls for it (max)" || row["what"] == "NVML calls for one")
    {
        assert_eq!(row["verdict"], "met", "{row}");
    }
    assert!(is_empty(temp.path()));
}

#[test]
fn peer_that_fails_is_told_with_its_words_and_the_rest_is_measured() {
    if !rustix::process::geteuid().is_root() {
        // Peers need root, and say so.
        return;
    }
    let (temp, peers) = (temp(), temp());
    let peer = peers.path().join("nvidia-device-plugin");
    fs::write(&peer, "#!/bin/sh\necho no such driver >&2\nexit 3\n").unwrap();
    fs::set_permissions(&peer, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(SHORT)
        .arg("--peers")
        .arg(peers.path())
        .env("TMPDIR", temp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("FAILED: nvidia ended") && said.contains("no such driver"), "{said}");
    let rows = rows(&output.stdout);
    assert_eq!(rows[0]["figures"]["nvidia"], "failed");
    assert!(rows[0]["figures"]["gantry"]["number"].is_number());
}

#[test]
fn run_interrupted_ends_with_130_and_leaves_nothing() {
    let temp = temp();
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(SHORT)
        .env("TMPDIR", temp.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let patience = Duration::from_secs(60);
    eventually("a node stands", patience, || {
        if is_empty(temp.path()) { Err("none".to_owned()) } else { Ok(()) }
    })
    .unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&bench), rustix::process::Signal::INT)
        .unwrap();
    let status =
        eventually("it ends", patience, || bench.try_wait().unwrap().ok_or("it runs".to_owned())).unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(is_empty(temp.path()));
}
