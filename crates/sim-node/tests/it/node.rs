//! The node: laid down as asked for, and gone without a trace.

use std::fs;

use sim_node::{ContainerView, SimNode, resolve};

#[test]
fn node_has_a_driver_a_kubelet_and_a_runtime_and_leaves_nothing() {
    let node = SimNode::builder().build().unwrap();
    assert!(node.root().join("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1").exists());
    assert!(node.root().join("dev/nvidia7").exists());
    assert_eq!(node.driver().node().unwrap().gpus.len(), 8);
    assert!(node.kubelet().state().unwrap().running);
    assert!(node.plugin_dir().join("kubelet.sock").exists());
    assert!(node.runtime().unwrap().socket().exists());
    let dir = node.root().parent().unwrap().to_owned();
    drop(node);
    assert!(!dir.exists());
}

#[test]
fn driver_that_comes_later_is_absent_until_then() {
    let node =
        SimNode::builder().preset("t4").without_kubelet().without_driver().runtime(None).build().unwrap();
    assert!(!node.root().join("dev").exists() && node.runtime().is_none());
    assert!(node.kubelet().state().is_err());
    node.install_driver().unwrap();
    assert!(node.root().join("dev/nvidia0").exists());
}

#[test]
fn preset_that_is_unknown_is_refused_with_the_known_ones() {
    let error = SimNode::builder().preset("dgx-9000").build().unwrap_err().to_string();
    assert!(error.contains("dgx-9000") && error.contains("dgx-a100"), "{error}");
}

#[test]
fn cdi_names_resolve_to_what_the_spec_and_its_devices_say() {
    let dir = tempfile::tempdir().unwrap();
    let spec = r#"{"cdiVersion": "0.6.0", "kind": "acme.dev/gpu",
        "containerEdits": {"env": ["A=1"], "mounts": [{"hostPath": "/l", "containerPath": "/lib/x"}]},
        "devices": [
            {"name": "one", "containerEdits": {"deviceNodes": [{"path": "/dev/one"}]}},
            {"name": "two", "containerEdits": {"deviceNodes": [{"path": "/dev/two"}]}}]}"#;
    fs::write(dir.path().join("acme.json"), spec).unwrap();
    let view = resolve(dir.path(), &["acme.dev/gpu=two".to_owned(), "acme.dev/gpu=one".to_owned()]).unwrap();
    let expected = ContainerView {
        device_nodes: vec!["/dev/two".to_owned(), "/dev/one".to_owned()],
        mounts: vec!["/lib/x".to_owned()],
        env: vec!["A=1".to_owned()],
        hooks: Vec::new(),
    };
    assert_eq!(view, expected);
    let error = resolve(dir.path(), &["acme.dev/gpu=three".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("acme.dev/gpu=three"), "{error}");
}
