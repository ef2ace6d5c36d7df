//! go-nvml and go-nvlib, on which NVIDIA's Go programs stand: our small program `go-walk` walks what they offer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::node::Node;
use integration_tests::fetch::{self, finish};

/// The program, built in its own module.
fn program() -> PathBuf {
    fetch::built("go-walk").join("go-walk")
}

fn walk(node: &Node, args: &[&str]) -> Value {
    let output = finish(node.command(program()).args(args));
    serde_json::from_slice(&output.stdout).expect("JSON of go-walk")
}

#[test]
fn go_nvlib_lists_a_dgx_a100() {
    let node = Node::preset("dgx-a100");
    let shown = node.shown();
    let all = walk(&node, &["list"]);
    assert_eq!(
        (&all["driver"], &all["cuda"], &all["platform"]),
        (&json!("580.95.05"), &json!(13000), &json!("nvml"))
    );
    let gpus = all["gpus"].as_array().unwrap();
    let ours = shown["gpus"].as_array().unwrap();
    assert_eq!(gpus.len(), 8);
    for (index, (gpu, our)) in gpus.iter().zip(ours).enumerate() {
        assert_eq!(gpu["index"], json!(index));
        for (theirs, of_ours) in [("uuid", &our["uuid"]), ("minor", &our["minor"]), ("pciBusID", &our["pci"])]
        {
            assert_eq!(&gpu[theirs], of_ours, "{theirs} of {index}");
        }
        assert_eq!(gpu["brand"], "Nvidia");
        assert_eq!(gpu["architecture"], "Ampere");
        assert_eq!(gpu["computeCapability"], "8.0");
        assert_eq!(gpu["memory"], json!(81920_u64 << 20), "v1 of the memory tells all of it");
        for (what, is) in [
            ("isPCIe", true),
            ("migCapable", true),
            ("migEnabled", false),
            ("fabricAttached", false),
            ("coherent", false),
        ] {
            assert_eq!(gpu[what], json!(is), "{what} of {index}");
        }
        // Twelve links of the third generation, all to NVSwitches.
        assert_eq!(gpu["activeLinks"], 12);
        assert!(gpu["linkRemotes"].as_array().unwrap().iter().all(|remote| remote == "switch"), "{gpu}");
        // NVIDIA's MIG user guide: the profiles of an A100-80GB.
        let profiles: Vec<_> =
            gpu["giProfiles"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        for name in ["1g.10gb", "1g.10gb+me", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"] {
            assert!(profiles.contains(&json!(format!("MIG {name}"))), "{name} is missing from {profiles:?}");
        }
        let topology = gpu["topology"].as_array().unwrap();
        assert_eq!(topology[index], "internal");
    }
    // Neighbours under one PCIe switch, another NUMA node, another socket.
    let topology = gpus[0]["topology"].as_array().unwrap();
    assert_eq!(
        (&topology[1], &topology[2], &topology[4]),
        (&json!("single"), &json!("system"), &json!("system"))
    );
    assert!(all["migProfiles"].as_array().unwrap().contains(&json!("1g.10gb")), "{}", all["migProfiles"]);
}

#[test]
fn go_nvlib_lists_a_t4_and_an_h100() {
    let t4 = walk(&Node::preset("t4"), &["list"]);
    let t4 = &t4["gpus"][0];
    assert_eq!((&t4["architecture"], &t4["computeCapability"]), (&json!("Turing"), &json!("7.5")));
    assert_eq!(
        (&t4["migCapable"], &t4["activeLinks"], &t4["giProfiles"]),
        (&json!(false), &json!(0), &Value::Null)
    );

    let h100 = walk(&Node::preset("dgx-h100"), &["list"]);
    let h100 = &h100["gpus"][7];
    assert_eq!((&h100["architecture"], &h100["computeCapability"]), (&json!("Hopper"), &json!("9.0")));
    assert_eq!((&h100["activeLinks"], &h100["fabricState"]), (&json!(18), &json!("completed")));
}

#[test]
fn go_nvml_makes_and_ends_mig_instances() {
    let node = Node::preset("dgx-h100");
    node.tell(&["mig", "mode", "--gpu", "2", "on"]);
    let walked = walk(&node, &["mig", "2", "3g.40gb", "2g.20gb", "1g.10gb"]);
    let made = walked["made"].as_array().unwrap();
    let profiles: Vec<_> = made.iter().map(|device| device["profile"].as_str().unwrap()).collect();
    assert_eq!(profiles, ["3g.40gb", "2g.20gb", "1g.10gb"]);
    // NVIDIA's MIG user guide: 60, 32 and 16 multiprocessors.
    let sms: Vec<_> = made.iter().map(|device| device["sms"].as_u64().unwrap()).collect();
    assert_eq!(sms, [60, 32, 16]);
    let indexes: Vec<_> = made.iter().map(|device| device["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [0, 1, 2]);
    // nvml.h: not enough room for it, and in use by its compute instance.
    assert_eq!(walked["overlap"], "Insufficient resources");
    assert_eq!(walked["destroyWithChild"], "In use by another client");
    assert_eq!(walked["leftAfterDestroy"], 0);
    assert!(!node.tell(&["mig", "list", "--output=json"]).contains("MIG-"), "instances are left");
}

#[test]
fn go_nvml_waits_for_an_xid() {
    let node = Node::preset("dgx-a100");
    let mut child = node
        .command(program())
        .args(["events", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start go-walk");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // None: it ended before.
    lines.find(|line| line.as_ref().unwrap() == "waiting").expect("go-walk waits").unwrap();
    node.tell(&["xid", "--gpu", "3", "79"]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    let uuid = &node.shown()["gpus"][3]["uuid"];
    // nvml.h: no MIG instance is 0xFFFFFFFF.
    let expected = json!({"uuid": uuid, "xid": 79, "isXid": true, "gi": u32::MAX, "ci": u32::MAX});
    assert_eq!(event, expected);
}

/// Codes that tell of a fault of the library, whatever was asked: nothing is lost, old or out of memory here.
const NEVER: &[&str] =
    &["Uninitialized", "Function Not Found", "Unknown Error", "GPU is lost", "panic", "Driver Not Loaded"];

#[test]
fn every_method_of_go_nvml_and_go_nvlib_comes_back() {
    for preset in nvml_sim::presets::NODES.iter().map(|preset| preset.name) {
        let node = Node::preset(preset);
        if preset == "dgx-h100" {
            node.tell(&["mig", "mode", "--gpu", "0", "on"]);
            node.tell(&["mig", "create", "--gpu", "0", "3g.40gb", "1g.10gb"]);
        }
        let answers: BTreeMap<String, String> = serde_json::from_value(walk(&node, &["methods"])).unwrap();
        let fine =
            answers.values().filter(|answer| ["Success", "SUCCESS"].contains(&answer.as_str())).count();
        println!("{preset}: {} methods called, {fine} succeeded", answers.len());
        assert!(answers.len() > 200 && fine > 60, "{preset}: {fine} of {}", answers.len());
        let wrong: BTreeMap<_, _> =
            answers.iter().filter(|(_, answer)| NEVER.iter().any(|never| answer.contains(never))).collect();
        assert!(wrong.is_empty(), "{preset}: {wrong:#?}");
        // What go-nvlib wraps has no right to fail at all.
        for (name, answer) in &answers {
            let wrapped =
                name.ends_with("AsString") || name.contains(".IsMig") || name.ends_with(".GetMigDevices");
            let of_a_gpu = name.starts_with("gpu") && name.matches('.').count() == 1;
            if wrapped && of_a_gpu {
                assert!(!answer.starts_with("error"), "{preset} {name}: {answer}");
            }
        }
    }
}
