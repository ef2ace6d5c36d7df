//! Processes: started on the node, heard, and gone with their handle.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sim_node::{Signal, SimNode, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

fn is_alive(pid: u32) -> bool {
    // A killed child that was not waited for would still be here, as a zombie.
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn program_that_is_not_built_is_an_error_that_says_how_to_build_it() {
    let node = SimNode::builder().preset("t4").without_kubelet().build().unwrap();
    let error = node.spawn("no-such-daemon", &[""; 0]).unwrap_err().to_string();
    assert!(error.contains("no-such-daemon") && error.contains("cargo build --workspace --bins"), "{error}");
}

#[test]
fn program_that_ends_tells_its_status_and_its_words() {
    let node = SimNode::builder().preset("t4").without_kubelet().build().unwrap();
    // NVML_SIM_DIR, which every process gets, names the node.
    let show = node.spawn("nvml-sim", &["show"]).unwrap();
    assert!(show.wait(PATIENCE).unwrap().success(), "{}", show.log());
    assert!(show.log().contains("Tesla T4"), "{}", show.log());
    assert!(show.signal(Signal::TERM).is_err());
    show.says("Tesla T4").unwrap();

    let output = node.command("nvml-sim").unwrap().arg("show").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("Tesla T4"), "{output:?}");
}

#[test]
fn process_that_is_dropped_is_killed_and_reaped() {
    let mut node = SimNode::builder().preset("t4").without_kubelet().build().unwrap();
    node.start_kubelet().unwrap();
    let first = node.kubelet_process().unwrap().pid();
    node.start_kubelet().unwrap();
    assert!(!is_alive(first));
    let second = node.kubelet_process().unwrap().pid();
    assert!(is_alive(second));
    drop(node);
    assert!(!is_alive(second));
}

/// Processes that were started by this one, as the kernel tells.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// A device plugin with its NVML worker: the process, and the worker's id.
fn plugin_with_worker(node: &SimNode) -> (sim_node::Process, u32) {
    let plugin = node.spawn_plugin(&[]).unwrap();
    let worker = eventually("the plugin has a worker", PATIENCE, || {
        children(plugin.pid()).first().copied().ok_or_else(|| plugin.last_words(10))
    });
    (plugin, worker.unwrap())
}

fn until_gone(pids: &[u32]) {
    eventually("all processes are gone", PATIENCE, || {
        let left: Vec<&u32> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .unwrap();
}

#[test]
fn process_with_workers_that_is_dropped_takes_them_along() {
    let node = SimNode::builder().preset("t4").build().unwrap();
    let (plugin, worker) = plugin_with_worker(&node);
    let pid = plugin.pid();
    drop(plugin);
    assert!(!is_alive(pid));
    until_gone(&[worker]);
}

/// Stays until it is killed, having told the processes that it started.
fn play_host(told: &Path) -> ! {
    let node = SimNode::builder().preset("t4").build().unwrap();
    let (plugin, worker) = plugin_with_worker(&node);
    let kubelet = node.kubelet_process().unwrap().pid();
    fs::write(told, format!("{} {worker} {kubelet}", plugin.pid())).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn host_that_is_killed_leaves_no_process() {
    // This test is also its own victim.
    if let Some(told) = env::var_os("SIM_NODE_HOST") {
        play_host(Path::new(&told));
    }
    // A short name: sockets are made below it.
    let dir = tempfile::Builder::new().prefix("h").tempdir_in("/tmp").unwrap();
    let told = dir.path().join("processes");
    let mut host = Command::new(env::current_exe().unwrap())
        .args(["--exact", "process::host_that_is_killed_leaves_no_process"])
        .env("SIM_NODE_HOST", &told)
        // What the killed one cannot remove goes with this test.
        .env("TMPDIR", dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pids = eventually("the host's processes run", PATIENCE, || {
        let text = fs::read_to_string(&told).map_err(|error| error.to_string())?;
        let pids: Vec<u32> = text.split(' ').filter_map(|pid| pid.parse().ok()).collect();
        if pids.len() == 3 { Ok(pids) } else { Err(text) }
    });
    host.kill().unwrap();
    host.wait().unwrap();
    until_gone(&pids.unwrap());
}

#[test]
fn process_that_runs_on_is_named_with_its_last_words() {
    let mut node = SimNode::builder().preset("t4").without_kubelet().build().unwrap();
    node.start_kubelet().unwrap();
    let args =
        [std::ffi::OsStr::new("ctl"), "--dir".as_ref(), node.plugin_dir().as_os_str(), "watch".as_ref()];
    let watch = node.spawn("fake-kubelet", &args).unwrap();
    // `watch` waits for its first event; ask for one until it has said it.
    eventually("the watch prints", PATIENCE, || {
        node.kubelet().restart().map_err(|error| error.to_string())?;
        let said = watch.log();
        if said.contains("started") { Ok(()) } else { Err(said) }
    })
    .unwrap();
    let error = watch.wait(Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains("fake-kubelet ends") && error.contains("started"), "{error}");
    watch.signal(Signal::TERM).unwrap();
    assert!(!watch.wait(PATIENCE).unwrap().success());
}
