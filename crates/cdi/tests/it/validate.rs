//! Specs held against a host.

use std::fs;
use std::os::unix::fs::symlink;

use cdi::{ProblemKind, Spec, validate};
use node_host::HostRoot;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;
use tempfile::TempDir;

/// A host with a library, a link to it, a plain file in `/dev`, and links to devices of this machine.
fn host() -> TempDir {
    let host = tempfile::tempdir().unwrap();
    for folder in ["usr/lib64", "dev", "bin"] {
        fs::create_dir_all(host.path().join(folder)).unwrap();
    }
    fs::write(host.path().join("usr/lib64/libcuda.so.1"), "").unwrap();
    fs::write(host.path().join("bin/hook"), "").unwrap();
    fs::write(host.path().join("dev/nvidia0"), "").unwrap();
    symlink("/usr/lib64", host.path().join("lib64")).unwrap();
    host
}

fn spec(edits: serde_json::Value) -> Spec {
    let document = json!({
        "cdiVersion": "1.0.0",
        "kind": "gantry.dev/gpu",
        "devices": [{"name": "all", "containerEdits": edits}],
    });
    Spec::parse(document.to_string().as_bytes()).unwrap()
}

fn mount(path: &str) -> serde_json::Value {
    json!({"hostPath": path, "containerPath": "/x"})
}

#[test]
fn spec_whose_files_are_all_there_has_no_problem() {
    let host = host();
    let spec = spec(json!({
        "mounts": [mount("/usr/lib64/libcuda.so.1"), mount("/lib64/libcuda.so.1")],
        "hooks": [{"hookName": "createContainer", "path": "/bin/hook"}],
    }));
    assert_eq!(validate(&spec, &HostRoot::new(host.path())), []);
}

#[test]
fn file_that_the_host_lacks_is_named_with_its_place_in_the_spec() {
    let host = host();
    let spec = spec(json!({
        "mounts": [mount("/usr/lib64/libcuda.so.1"), mount("/usr/lib64/libnvidia-ml.so.1")],
        "hooks": [{"hookName": "createContainer", "path": "/usr/bin/hook"}],
        "deviceNodes": [{"path": "/dev/nvidia1"}],
    }));
    let told: Vec<_> = validate(&spec, &HostRoot::new(host.path())).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "devices[0].containerEdits.deviceNodes[0]: /dev/nvidia1 does not exist on the host",
            "devices[0].containerEdits.hooks[0]: /usr/bin/hook does not exist on the host",
            "devices[0].containerEdits.mounts[1]: /usr/lib64/libnvidia-ml.so.1 does not exist on the host",
        ]
    );
}

#[test]
fn device_node_that_is_a_plain_file_is_no_device() {
    let host = host();
    let spec = spec(json!({"deviceNodes": [{"path": "/dev/nvidia7", "hostPath": "/dev/nvidia0"}]}));
    let problems = validate(&spec, &HostRoot::new(host.path()));
    assert_eq!((problems.len(), &problems[0].kind), (1, &ProblemKind::NotADevice { expected: "device" }));
    assert_eq!(problems[0].host_path, "/dev/nvidia0");
}

#[test]
fn device_node_is_held_against_the_type_that_the_spec_states() {
    let host = host();
    mkfifoat(CWD, host.path().join("dev/pipe"), Mode::RUSR).unwrap();
    let node = |path: &str, node_type: &str| json!({"path": path, "type": node_type});
    let told = |root: &std::path::Path, nodes: &[serde_json::Value]| -> Vec<String> {
        let spec = spec(json!({"deviceNodes": nodes}));
        validate(&spec, &HostRoot::new(root)).iter().map(|problem| problem.to_string()).collect()
    };
    assert_eq!(told("/".as_ref(), &[node("/dev/null", "c"), node("/dev/null", "u")]), [""; 0]);
    let block = told("/".as_ref(), &[node("/dev/null", "b")]);
    assert!(block[0].ends_with("/dev/null is no block device on the host"), "{block:?}");
    let pipes = [node("/dev/pipe", "p"), node("/dev/pipe", ""), node("/dev/pipe", "c")];
    let pipes = told(host.path(), &pipes);
    assert_eq!(
        pipes,
        ["devices[0].containerEdits.deviceNodes[2]: /dev/pipe is no character device on the host"]
    );
}

#[test]
fn device_node_with_other_numbers_is_told_with_both() {
    let right = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3});
    let wrong = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 5});
    let unnumbered = json!({"path": "/dev/null"});
    let problems = validate(&spec(json!({"deviceNodes": [right, wrong, unnumbered]})), &HostRoot::new("/"));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].kind, ProblemKind::OtherNumbers { stated: (1, 5), found: (1, 3) });
    assert!(
        problems[0].to_string().contains("is device 1:3 on the host, the spec says 1:5"),
        "{}",
        problems[0]
    );
}
