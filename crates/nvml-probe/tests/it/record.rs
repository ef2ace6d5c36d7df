//! `nvml-probe record`: what is recorded can be made again, and answers the same.

use std::fs;

use nvml_probe::{Walk, compare, record};
use nvml_sim::{presets, root};

use crate::probe::{Node, library, passed, probe};

/// All that a node and its host root tell.
fn walk(node: &Node) -> Walk {
    let host = node.dir.path().join("root");
    root::lay(&node.folder, &host, Some(&library())).unwrap();
    let words = ["walk", "--output", "json", "--host-root"];
    serde_json::from_str(&passed(&node.probe(&words).arg(&host).output().unwrap())).unwrap()
}

#[test]
fn recorded_node_is_made_again_and_recorded_as_the_same_file() {
    for preset in presets::NODES {
        let node = Node::of(preset.name);
        let walked = walk(&node);
        let recorded = record(&walked).unwrap();
        let again = walk(&Node::from_yaml(&recorded));
        assert_eq!(compare(&walked, &again), [], "{}:\n{recorded}", preset.name);
        assert_eq!(record(&again).unwrap(), recorded, "{}", preset.name);
    }
}

#[test]
fn what_differs_from_the_nearest_preset_is_recorded() {
    let yaml = "\
driver: {version: 570.86.15, nvml: 12.570.86.15, cuda: \"12.8\"}
seed: other
cpus: {0: 0-7, 1: 8-15}
gpus:
  - model: A100-SXM4-80GB
    pci: \"0001:17:00.0\"
    numa: 1
    pcie: 1/0/0/0
    minor: 4
    uuid: GPU-12345678-9abc-def0-1234-56789abcdef0
    serial: \"007\"
    overrides:
      name: NVIDIA A100-SXM-64GB
      memory: 65536MiB
      power-limit-watts: 300
      vbios: 92.00.45.00.06
      ecc: false
      pci-device: 0x20B3
      mig:
        slices: 8
        engines: {copy: 7, decode: 5, jpeg: 1, ofa: 1}
        gpu-instances:
          - {profile: 0, id: 19, name: 1g.8gb, slices: 1, count: 7, sms: 16, memory: 7936MiB, size: 1, starts: [0, 1, 2, 3, 4, 5, 6], engines: {copy: 1}}
          - {profile: 4, id: 0, name: 7g.64gb, slices: 7, count: 1, sms: 112, memory: 64256MiB, size: 8, starts: [0], engines: {copy: 7, decode: 5, jpeg: 1, ofa: 1}}
        compute-instances:
          - {profile: 0, id: 0, slices: 1, sms: 14, of: [0, 4]}
          - {profile: 4, id: 4, slices: 7, sms: 98, of: [4]}
";
    let node = Node::from_yaml(yaml);
    let walked = walk(&node);
    let recorded = record(&walked).unwrap();
    for line in [
        "version: 570.86.15",
        "cuda: \"12.8\"",
        "pci: \"0001:17:00.0\"",
        "numa: 1",
        "minor: 4",
        "uuid: GPU-12345678-9abc-def0-1234-56789abcdef0",
        "serial: \"007\"",
        "name: \"NVIDIA A100-SXM-64GB\"",
        "memory: \"64GiB\"",
        "power-limit-watts: 300",
        "vbios: \"92.00.45.00.06\"",
        "ecc: false",
        "pci-device: 0x20B3",
    ] {
        assert!(
            recorded.lines().any(|known| known.trim().trim_start_matches("- ") == line),
            "{line}:\n{recorded}"
        );
    }
    assert!(recorded.contains("7g.64gb"), "{recorded}");
    assert!(!recorded.contains("brand"), "what the preset has is not repeated:\n{recorded}");
    assert_eq!(compare(&walked, &walk(&Node::from_yaml(&recorded))), [], "{recorded}");
}

#[test]
fn walk_from_elsewhere_is_recorded_without_a_library() {
    let node = Node::of("mixed");
    let file = node.dir.path().join("walk.json");
    fs::write(&file, serde_json::to_string(&node.walk()).unwrap()).unwrap();
    let direct = passed(&node.probe(&["record"]).output().unwrap());
    let words = ["record", "--library", "/nowhere.so", "--walk"];
    assert_eq!(passed(&probe(&words).arg(&file).output().unwrap()), direct);
}

#[test]
fn mig_instances_and_processes_are_recorded_and_made_again() {
    let yaml = presets::find(presets::NODES, "dgx-a100").unwrap().yaml;
    let yaml = yaml.replacen(
        "numa: 3",
        "numa: 3, mig-instances: [3g.40gb@4/2c@0/1c@2, 1g.10gb@2, 2g.20gb@0/none]",
        1,
    );
    let yaml = yaml.replacen("numa: 1", "numa: 1, mig-instances: []", 1)
        + "processes:\n\
           \x20 - {gpu: 0, gi: 2, ci: 1, pid: 7, name: \"train: a\", memory: 3GiB}\n\
           \x20 - {gpu: 1, pid: 8, name: draw, kind: graphics, memory: 500MiB, encoder: 20%}\n\
           \x20 - {gpu: 3, pid: 8, memory: 1GiB, sm: 40%, memory-activity: 10%}\n\
           \x20 - {gpu: 3, pid: 9, kind: mps, memory: 2GiB}\n";
    let walk_later = |node: &Node| {
        // Until there is a sample of what processes use.
        node.folder.freeze_clock().unwrap();
        node.folder.advance_clock(std::time::Duration::from_secs(1)).unwrap();
        walk(node)
    };
    let walked = walk_later(&Node::from_yaml(&yaml));
    let recorded = record(&walked).unwrap();
    for part in [
        "mig-instances: [3g.40gb@4/2c@0/1c@2, 1g.10gb@2, 2g.20gb@0/none]\n",
        "mig-instances: []\n",
        "processes:\n  - {gpu: 0, gi: 2, ci: 1, pid: 7, name: \"train: a\", kind: compute, memory: 3GiB}\n",
        "{gpu: 1, pid: 8, name: \"draw\", kind: graphics, memory: 500MiB, encoder: 20%}\n",
        "{gpu: 3, pid: 8, name: \"draw\", kind: compute, memory: 1GiB, sm: 40%, memory-activity: 10%}\n",
        "{gpu: 3, pid: 9, name: \"simulated\", kind: mps, memory: 2GiB}\n",
    ] {
        assert!(recorded.contains(part), "{part}:\n{recorded}");
    }
    assert!(!recorded.contains("overrides"), "what MIG hides is no difference:\n{recorded}");
    let again = walk_later(&Node::from_yaml(&recorded));
    assert_eq!(compare(&walked, &again), []);
    assert_eq!(record(&again).unwrap(), recorded);
}
