//! nvitop, a monitor for terminals: its one-shot picture and its Python interface show the node's GPUs.

use serde_json::Value;

use crate::node::Node;
use integration_tests::fetch::{self, finish};

/// Its Python interface, which reads GPUs as other programs do through it.
const SCRIPT: &str = r#"
import json
from nvitop import Device

def device(one):
    return {"name": one.name(), "uuid": one.uuid(), "memory": one.memory_total(), "used": one.memory_used()}

print(json.dumps([
    dict(device(gpu), power=gpu.power_usage(), temperature=gpu.temperature(), utilization=gpu.gpu_utilization(),
         processes=len(gpu.processes()), mig=[device(mig) for mig in gpu.mig_devices()])
    for gpu in Device.all()
], default=str))
"#;

fn devices(node: &Node) -> Vec<Value> {
    let output = finish(node.command(fetch::python()).args(["-c", SCRIPT]));
    let devices: Value = serde_json::from_slice(&output.stdout).expect("JSON of nvitop's devices");
    devices.as_array().expect("a list").clone()
}

/// What it draws.
fn picture(node: &Node) -> String {
    let nvitop = fetch::python().with_file_name("nvitop");
    let output =
        finish(node.command(nvitop).args(["-1", "--ascii"]).env("COLUMNS", "120").env("LINES", "80"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(errors, "", "nvitop complains");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn nvitop_shows_every_gpu_of_a_node() {
    for preset in ["t4", "dgx-a100"] {
        let node = Node::preset(preset);
        let shown = node.shown();
        let gpus = shown["gpus"].as_array().unwrap();
        let devices = devices(&node);
        assert_eq!(devices.len(), gpus.len(), "{preset}");
        for (device, gpu) in devices.iter().zip(gpus) {
            assert_eq!(device["name"], gpu["model"]["name"], "{device}");
            assert_eq!(device["uuid"], gpu["uuid"], "{device}");
            assert!(device["memory"].as_u64() > Some(1 << 33), "{device}");
            for reading in ["power", "temperature"] {
                assert!(device[reading].as_u64() > Some(0), "{reading}: {device}");
            }
            assert!(device["utilization"].is_u64(), "{device}");
        }
        let picture = picture(&node);
        println!("{picture}");
        for (index, gpu) in gpus.iter().enumerate() {
            let bus = gpu["pci"].as_str().unwrap().to_uppercase();
            let line = picture.lines().find(|line| line.contains(&bus));
            assert!(
                line.is_some_and(|line| line.contains(&format!(" {index} "))),
                "{bus} is missing:\n{picture}"
            );
        }
        assert!(picture.contains("580.95.05"), "{picture}");
    }
}

#[test]
fn nvitop_draws_every_preset() {
    for preset in nvml_sim::presets::NODES {
        let node = Node::preset(preset.name);
        let gpus = node.shown()["gpus"].as_array().unwrap().len();
        let picture = picture(&node);
        let drawn = picture.lines().filter(|line| line.contains(" / ") && line.contains("iB |")).count();
        assert!(drawn >= gpus, "{}: {drawn} of {gpus} GPUs:\n{picture}", preset.name);
    }
}

#[test]
fn nvitop_shows_mig_devices() {
    let node = Node::preset("dgx-h100");
    node.tell(&["mig", "mode", "--gpu", "0", "on"]);
    node.tell(&["mig", "create", "--gpu", "0", "3g.40gb", "1g.10gb"]);
    let devices = devices(&node);
    let mig = devices[0]["mig"].as_array().unwrap();
    let names: Vec<_> = mig.iter().map(|device| device["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["NVIDIA H100 80GB HBM3 MIG 3g.40gb", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"]);
    let picture = picture(&node);
    println!("{picture}");
    assert!(picture.contains("3g.40gb @ GI/CI:") && picture.contains("1g.10gb @ GI/CI:"), "{picture}");
}
