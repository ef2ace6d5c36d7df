//! `nvml-probe compare`: readings may differ, facts may not.

use std::fs;

use serde_json::Value;

use crate::probe::{Node, passed, probe};

#[test]
fn walks_that_differ_in_readings_alone_are_the_same_and_other_facts_are_told() {
    let node = Node::of("t4");
    let file = |name: &str| node.dir.path().join(name).into_os_string().into_string().unwrap();
    let (one, other) = (file("one.json"), file("other.json"));
    let save = |path: &str| fs::write(path, serde_json::to_string(&node.walk()).unwrap()).unwrap();
    save(&one);
    node.folder.set_all("0", &[("temperature", "80"), ("utilization-gpu", "90")]).unwrap();
    save(&other);
    assert_eq!(passed(&probe(&["compare", &one, &other]).output().unwrap()), "");

    node.folder.lose("0", None).unwrap();
    save(&other);
    let output = probe(&["compare", &one, &other, "--output", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let differences: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |call: &str| differences.iter().find(|difference| difference["call"] == call).cloned();
    let name = of("nvmlDeviceGetName").unwrap();
    assert_eq!((&name["of"], &name["other"]["code"]), (&"GPU 0".into(), &"GPU_IS_LOST".into()));
    assert!(of("nvmlDeviceGetTemperature(0)").is_some(), "a reading that fails differs");
}

#[test]
fn file_that_is_no_walk_is_refused_with_its_name() {
    let node = Node::of("t4");
    let file = node.folder.dir().join("node.yaml");
    let output = probe(&["compare"]).args([&file, &file]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("node.yaml: ") && said.contains("nvml-probe walk --output json"), "{said}");
}
