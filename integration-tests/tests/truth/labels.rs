//! NVIDIA's gpu-feature-discovery and ours on the same simulated nodes, called alike: the labels are the same, but for
//! differences that stand here with their reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::node::Node;
use integration_tests::fetch::{self, finish};

type Labels = BTreeMap<String, String>;

/// Labels that NVIDIA's program writes; none where this user may not mount.
pub fn theirs(node: &Node, args: &[&str]) -> Option<Labels> {
    written(node, &fetch::peer("device-plugin", "gpu-feature-discovery"), "theirs", args)
}

/// Those that ours writes in its place.
fn ours(node: &Node, args: &[&str]) -> Option<Labels> {
    let program = sim_node::find("gpu-feature-discovery").unwrap_or_else(|error| panic!("{error}"));
    let args: Vec<&str> = ["--compat", "--use-node-feature-api=false"].iter().chain(args).copied().collect();
    written(node, &program, "ours", &args)
}

fn written(node: &Node, program: &Path, name: &str, args: &[&str]) -> Option<Labels> {
    node.lay_root();
    let file = node.dir().join(name);
    let mut command = node.private(program)?;
    command.args(["--oneshot", "--no-timestamp", "--driver-root-ctr-path=/"]).args(args);
    finish(command.arg("--output-file").arg(&file));
    let text = fs::read_to_string(file).unwrap();
    let labels = text.lines().filter_map(|line| line.split_once('='));
    Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A difference: the label without its domain, their value and ours; nothing where there is no such label.
type Difference = (&'static str, Option<&'static str>, Option<&'static str>);

/// Whether they differ in these labels alone; false where this user may not mount.
#[track_caller]
fn differ_in(node: &Node, args: &[&str], differences: &[Difference]) -> bool {
    let (Some(theirs), Some(ours)) = (theirs(node, args), ours(node, args)) else { return false };
    assert!(theirs.len() > 20, "{theirs:#?}");
    let keys = theirs.keys().chain(ours.keys()).collect::<std::collections::BTreeSet<_>>();
    let of = |labels: &Labels, key: &String| labels.get(key).cloned();
    let found: Vec<_> = keys
        .into_iter()
        .map(|key| (key.clone(), of(&theirs, key), of(&ours, key)))
        .filter(|(_, theirs, ours)| theirs != ours)
        .collect();
    let expected: Vec<_> = differences
        .iter()
        .map(|(key, theirs, ours)| {
            (format!("nvidia.com/{key}"), theirs.map(str::to_owned), ours.map(str::to_owned))
        })
        .collect();
    assert_eq!(found, expected, "their value, and ours, with {args:?}");
    true
}

/// Presets whose GPUs are of one model.
const UNIFORM: [&str; 13] = [
    "a30",
    "dgx-a100",
    "dgx-b200",
    "dgx-h100",
    "dgx-h200",
    "dgx-v100",
    "gb200-nvl72",
    "gh200",
    "h100-nvl",
    "l4",
    "rtx-4090",
    "rtx-pro-6000",
    "t4",
];

#[test]
fn labels_of_whole_gpus_are_those_of_nvidias_program() {
    for preset in UNIFORM {
        println!("{preset}");
        if !differ_in(&Node::preset(preset), &["--mig-strategy=none"], &[]) {
            return;
        }
    }
}

/// A node with MIG on for so many GPUs, each cut into these profiles.
fn cut(preset: &str, gpus: u32, profiles: &[&str]) -> Node {
    let node = Node::preset(preset);
    for gpu in (0..gpus).map(|gpu| gpu.to_string()) {
        node.tell(&["mig", "mode", "--gpu", &gpu, "on"]);
        if !profiles.is_empty() {
            node.tell(&[&["mig", "create", "--gpu", &gpu], profiles].concat());
        }
    }
    node
}

const SHARED: &str = "\
version: v1
sharing:
  timeSlicing:
    resources:
      - {name: nvidia.com/gpu, replicas: 4}
      - {name: nvidia.com/mig-1g.10gb, replicas: 2}
      - {name: nvidia.com/mig-1g.24gb.me.all, replicas: 2}
";

#[test]
fn labels_of_mig_devices_and_of_shares_are_those_of_nvidias_program() {
    let renamed = SHARED.replace("timeSlicing:", "timeSlicing:\n    renameByDefault: true");
    let (plain, all) = (["version: v1\n"].as_slice(), ["version: v1\n", SHARED, renamed.as_str()]);
    for (preset, gpus, profiles, configs, strategies) in [
        // Whole GPUs beside MIG devices: uneven under `single`.
        (
            "dgx-h100",
            1,
            ["3g.40gb", "1g.10gb", "1g.10gb"].as_slice(),
            all.as_slice(),
            &["none", "single", "mixed"][..],
        ),
        ("dgx-h100", 8, &["1g.10gb"; 7], &all[1..2], &["single", "mixed"]),
        ("gh200", 1, &["1g.12gb+me"], plain, &["single", "mixed"]),
        ("gh200", 1, &[], plain, &["single", "mixed"]),
    ] {
        let node = cut(preset, gpus, profiles);
        for config in configs {
            let file = node.dir().join("config.yaml");
            fs::write(&file, config).unwrap();
            let file = format!("--config-file={}", file.display());
            for strategy in strategies {
                println!("{preset}, {gpus} x {profiles:?}, {strategy}\n{config}");
                if !differ_in(&node, &["--mig-strategy", strategy, &file], &[]) {
                    return;
                }
            }
        }
    }
}

#[test]
fn labels_that_differ_from_those_of_nvidias_program_are_wrong_there() {
    // 70 characters: a cluster refuses it.
    let node = cut("rtx-pro-6000", 1, &["1g.24gb+me.all"]);
    let file = node.dir().join("config.yaml");
    fs::write(&file, SHARED).unwrap();
    let file = format!("--config-file={}", file.display());
    let product: Difference = (
        "mig-1g.24gb.me.all.product",
        Some("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition-MIG-1g.24gb.me.all-SHARED"),
        Some("NVIDIA-RTX-PRO-6000-Blackwel-477c0cbd-MIG-1g.24gb.me.all-SHARED"),
    );
    if !differ_in(&node, &["--mig-strategy=mixed", &file], &[product]) {
        return;
    }
    // Theirs describes one model, from time to time another; ours counts all and always describes the same.
    let node = Node::preset("mixed");
    let args = ["--mig-strategy=none"];
    let (Some(their), Some(our)) = (theirs(&node, &args), ours(&node, &args)) else { return };
    assert!(their.keys().eq(our.keys()), "{their:#?} {our:#?}");
    for (key, value) in &their {
        let name = key.trim_start_matches("nvidia.com/gpu.");
        let is_of_models =
            ["count", "product", "memory", "family", "compute.major", "compute.minor"].contains(&name);
        assert!(is_of_models || our[key] == *value, "{key}: {value}, and ours {}", our[key]);
    }
    assert_eq!(our["nvidia.com/gpu.count"], "5");
    assert_eq!(our["nvidia.com/gpu.product"], "NVIDIA-A100-SXM4-40GB");
}
