//! Processes: started on the node, heard, and gone with their handle.

use std::path::Path;
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
