//! NVIDIA's container toolkit makes CDI specs of a simulated host: devices, names, nodes and mounts, with and without MIG,
//! and in substance what our device plugin's spec says.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use sim_node::SimNode;

use crate::node::Node;
use integration_tests::fetch::{self, finish};

/// The spec that `nvidia-ctk cdi generate` makes; none where this user may not mount.
fn spec(node: &Node) -> Option<Value> {
    node.lay_root();
    let file = node.dir().join("spec.json");
    let program = fetch::peer("toolkit", "nvidia-ctk");
    let mut command = node.private(&program)?;
    command.args([
        "cdi",
        "generate",
        "--mode=nvml",
        "--format=json",
        "--nvidia-cdi-hook-path=/usr/bin/nvidia-cdi-hook",
    ]);
    finish(command.arg("--output").arg(&file));
    Some(serde_json::from_slice(&fs::read(file).unwrap()).unwrap())
}

fn paths(edits: &Value, list: &str, key: &str) -> BTreeSet<String> {
    let entries = edits[list].as_array().into_iter().flatten();
    entries.map(|entry| entry[key].as_str().unwrap_or_default().to_owned()).collect()
}

fn device<'a>(spec: &'a Value, name: &str) -> &'a Value {
    let devices = spec["devices"].as_array().unwrap();
    devices.iter().find(|device| device["name"] == name).unwrap_or_else(|| panic!("no {name} in {spec}"))
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn nvidia_ctk_describes_whole_gpus_as_our_plugin_does() {
    let node = Node::preset("dgx-a100");
    let Some(spec) = spec(&node) else { return };
    assert_eq!(spec["kind"], "nvidia.com/gpu");
    let shown = node.shown();
    let gpus = shown["gpus"].as_array().unwrap();
    // By index and by UUID, and all of them as one.
    assert_eq!(spec["devices"].as_array().unwrap().len(), 8 * 2 + 1);
    for (index, gpu) in gpus.iter().enumerate() {
        let own = set(&[&format!("/dev/nvidia{}", gpu["minor"])]);
        for name in [index.to_string(), gpu["uuid"].as_str().unwrap().to_owned()] {
            let nodes = paths(&device(&spec, &name)["containerEdits"], "deviceNodes", "path");
            assert_eq!(nodes, own, "{name}");
        }
    }
    let all = paths(&device(&spec, "all")["containerEdits"], "deviceNodes", "path");
    assert_eq!(all.len(), 8, "{all:?}");

    let ours = our_spec();
    let (theirs_for_all, ours_for_all) = (&spec["containerEdits"], &ours["containerEdits"]);
    assert_eq!(paths(theirs_for_all, "deviceNodes", "path"), paths(ours_for_all, "deviceNodes", "path"));
    for gpu in gpus {
        let uuid = gpu["uuid"].as_str().unwrap();
        let nodes = |spec: &Value| paths(&device(spec, uuid)["containerEdits"], "deviceNodes", "path");
        assert_eq!(nodes(&spec), nodes(&ours), "{uuid}");
    }
    // Libraries by the file that a link leads to, which both name.
    let libraries = |edits: &Value| -> BTreeSet<String> {
        let all = paths(edits, "mounts", "containerPath").into_iter();
        all.filter(|path| path.starts_with("/usr/lib/x86_64-linux-gnu/") && path.ends_with(".580.95.05"))
            .collect()
    };
    assert!(libraries(theirs_for_all).len() > 8, "{:?}", libraries(theirs_for_all));
    assert_eq!(libraries(theirs_for_all), libraries(ours_for_all));
}

/// The spec that our device plugin writes for the same node.
fn our_spec() -> Value {
    let node = SimNode::builder().preset("dgx-a100").build().unwrap();
    let _plugin = node.spawn_plugin(&[]).unwrap();
    let file = node.cdi_dir().join("gantry.dev-gpu.json");
    let mut spec = None;
    sim_node::eventually("our plugin writes its spec", fetch::PATIENCE, || {
        spec = Some(fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?);
        Ok(())
    })
    .unwrap();
    serde_json::from_slice(&spec.unwrap()).unwrap()
}

#[test]
fn nvidia_ctk_describes_mig_devices_with_their_capabilities() {
    let node = Node::preset("dgx-h100");
    node.tell(&["mig", "mode", "--gpu", "1", "on"]);
    node.tell(&["mig", "create", "--gpu", "1", "3g.40gb", "1g.10gb"]);
    let Some(spec) = spec(&node) else { return };
    let minors = fs::read_to_string(node.root().join("proc/driver/nvidia-caps/mig-minors")).unwrap();
    let number = |name: &str| {
        let line = minors.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in mig-minors")).to_owned()
    };
    let listed: Value = serde_json::from_str(&node.tell(&["mig", "list", "--output=json"])).unwrap();
    println!("{listed}");
    // GPU instance 2 is the right half, 7 the first eighth.
    for (name, instance) in [("1:0", 2), ("1:1", 7)] {
        let expected = set(&[
            "/dev/nvidia1",
            &format!("/dev/nvidia-caps/nvidia-cap{}", number(&format!("gpu1/gi{instance}/access"))),
            &format!("/dev/nvidia-caps/nvidia-cap{}", number(&format!("gpu1/gi{instance}/ci0/access"))),
        ]);
        assert_eq!(paths(&device(&spec, name)["containerEdits"], "deviceNodes", "path"), expected, "{name}");
    }
    let names = spec["devices"].as_array().unwrap().iter().map(|device| device["name"].as_str().unwrap());
    let names: Vec<_> = names.collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("MIG-")).count(), 2, "{names:?}");
    assert!(!names.contains(&"1"), "a GPU with MIG on is no device of its own: {names:?}");
}
