//! NVIDIA's own operands on simulated nodes: mig-parted, gpu-feature-discovery and the device plugin do what their
//! documentation promises. `PEERS=DIR` takes their programs from a folder; else they are built from their modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sim_node::{Process, SimNode, eventually};

use crate::labels::theirs;
use crate::node::Node;
use integration_tests::fetch::{self, finish, module_of};

/// Runs mig-parted; false where this user may not mount.
fn mig_parted(node: &Node, verb: &str, file: &Path, config: &str) -> bool {
    let program = fetch::peer("mig-parted", "nvidia-mig-parted");
    let Some(mut command) = node.private(&program) else { return false };
    finish(command.arg(verb).arg("--config-file").arg(file).args(["--selected-config", config]));
    true
}

/// The names of the configurations in a file, in its order.
fn configs(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    names.filter(|name| !name.starts_with([' ', '-'])).map(str::to_owned).collect()
}

#[test]
fn mig_parted_applies_and_asserts_each_of_its_example_configs() {
    // The example is for eight A100 of 40 GB.
    let node = Node::yaml(&Node::preset_text("dgx-a100").replace("A100-SXM4-80GB", "A100-SXM4-40GB"));
    node.lay_root();
    let file = module_of("mig-parted", "github.com/NVIDIA/mig-parted").join("examples/config.yaml");
    let configs = configs(&file);
    assert!(configs.len() > 8, "{configs:?}");
    for config in &configs {
        if !(mig_parted(&node, "apply", &file, config) && mig_parted(&node, "assert", &file, config)) {
            return;
        }
        println!("{config}: applied and asserted");
    }
}

/// A model whose configurations are in the file that mig-parted ships.
struct Shipped {
    /// A node with GPUs of 80 GB, or of the model itself.
    preset: &'static str,
    model: &'static str,
    /// By which its configurations are called.
    profiles: &'static [&'static str],
}

/// The models, by the comments in that file and NVIDIA's MIG user guide. Each has a test of its own: all in a row take many
/// minutes on a busy machine.
const SHIPPED: &[Shipped] = &[
    Shipped {
        preset: "dgx-a100",
        model: "A100-SXM4-40GB",
        profiles: &["1g.5gb", "1g.5gb.me", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"],
    },
    Shipped { preset: "dgx-a100", model: "A100-SXM4-80GB", profiles: &EIGHTY },
    Shipped { preset: "dgx-h100", model: "H100-SXM5-80GB", profiles: &EIGHTY },
    Shipped {
        preset: "a30",
        model: "A30",
        profiles: &["1g.6gb", "1g.6gb.me", "2g.12gb", "2g.12gb.me", "4g.24gb"],
    },
    Shipped {
        preset: "h100-nvl",
        model: "H100-NVL-94GB",
        profiles: &["1g.12gb", "1g.12gb.me", "1g.24gb", "2g.24gb", "3g.47gb", "4g.47gb", "7g.94gb"],
    },
    Shipped {
        preset: "gh200",
        model: "GH200-96GB",
        profiles: &["1g.12gb", "1g.12gb.me", "1g.24gb", "2g.24gb", "3g.48gb", "4g.48gb", "7g.96gb"],
    },
    Shipped {
        preset: "dgx-h200",
        model: "H200-SXM5-141GB",
        profiles: &["1g.18gb", "1g.18gb.me", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"],
    },
];
const EIGHTY: [&str; 7] = ["1g.10gb", "1g.10gb.me", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"];
/// For every model.
const FOR_ALL: &[&str] = &["all-disabled", "all-enabled", "all-balanced"];
/// For the GH200 of 144 GB alone, of which there is no preset.
const WITHOUT_PRESET: &[&str] = &["all-1g.36gb", "all-2g.36gb", "all-3g.72gb", "all-4g.72gb", "all-7g.144gb"];

impl Shipped {
    fn configs(&self) -> impl Iterator<Item = String> {
        let own = self.profiles.iter().map(|profile| format!("all-{profile}"));
        FOR_ALL.iter().map(|&name| name.to_owned()).chain(own)
    }
}

/// The configurations that mig-parted ships.
fn shipped_file() -> PathBuf {
    module_of("mig-parted", "github.com/NVIDIA/mig-parted").join("deployments/systemd/config-default.yaml")
}

fn apply_and_assert_all(model: &str) {
    let shipped = SHIPPED.iter().find(|shipped| shipped.model == model).unwrap();
    let (file, preset) = (shipped_file(), shipped.preset);
    let text = Node::preset_text(preset);
    let node = Node::yaml(&if text.contains(model) { text } else { text.replace("A100-SXM4-80GB", model) });
    node.lay_root();
    for config in shipped.configs() {
        if !["apply", "assert"].iter().all(|verb| mig_parted(&node, verb, &file, &config)) {
            return;
        }
        println!("{model} {config}: applied and asserted");
    }
}

#[test]
fn mig_parted_applies_and_asserts_what_it_ships_for_an_a100_of_40_gb() {
    apply_and_assert_all("A100-SXM4-40GB");
}

#[test]
fn mig_parted_applies_and_asserts_what_it_ships_for_an_a100_of_80_gb() {
    apply_and_assert_all("A100-SXM4-80GB");
}

#[test]
fn mig_parted_applies_and_asserts_what_it_ships_for_an_h100() {
    apply_and_assert_all("H100-SXM5-80GB");
}

#[test]
fn mig_parted_applies_and_asserts_what_it_ships_for_an_a30() {
    apply_and_assert_all("A30");
}

#[test]
fn mig_parted_applies_and_asserts_what_it_ships_for_an_h100_nvl() {
    apply_and_assert_all("H100-NVL-94GB");
}

#[test]
fn mig_parted_applies_and_asserts_what_it_ships_for_a_gh200() {
    apply_and_assert_all("GH200-96GB");
}

#[test]
fn mig_parted_applies_and_asserts_what_it_ships_for_an_h200() {
    apply_and_assert_all("H200-SXM5-141GB");
}

#[test]
fn every_config_that_mig_parted_ships_is_tried_or_is_for_a_model_without_preset() {
    let mut left: BTreeSet<String> = configs(&shipped_file()).into_iter().collect();
    for config in SHIPPED.iter().flat_map(Shipped::configs) {
        left.remove(&config);
    }
    assert!(left.iter().eq(WITHOUT_PRESET), "nobody tries {left:?}");
}

#[test]
fn mig_parted_applies_and_asserts_the_configs_for_a_dgx_station() {
    // Its fourth GPU drives the display, and has no MIG.
    let gpu = |index: usize| {
        let model = if index == 3 { "T4" } else { "A100-SXM4-80GB" };
        let display = if index == 3 { ", overrides: {name: DGX Display, pci-device: 0x1FB0}" } else { "" };
        format!("  - {{model: {model}, pci: \"0000:{:02x}:00.0\"{display}}}\n", index + 1)
    };
    let gpus: String = (0..5).map(gpu).collect();
    let node =
        Node::yaml(&format!("driver: {{version: 580.95.05, cuda: \"13.0\"}}\nseed: station\ngpus:\n{gpus}"));
    node.lay_root();
    let file =
        module_of("mig-parted", "github.com/NVIDIA/mig-parted").join("examples/dgx-station-80gb-config.yaml");
    let configs = configs(&file);
    assert!(configs.len() > 8, "{configs:?}");
    for config in &configs {
        if !(mig_parted(&node, "apply", &file, config) && mig_parted(&node, "assert", &file, config)) {
            return;
        }
        println!("{config}: applied and asserted");
    }
}

fn assert_labels(labels: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        let found = labels.get(&format!("nvidia.com/{name}")).map(String::as_str);
        assert_eq!(found, Some(*value), "nvidia.com/{name} in {labels:#?}");
    }
}

#[test]
fn gpu_feature_discovery_labels_a_t4_and_a_dgx_h100_with_mig() {
    let Some(t4) = theirs(&Node::preset("t4"), &["--mig-strategy=none"]) else { return };
    assert_labels(
        &t4,
        &[
            ("gpu.count", "1"),
            ("gpu.product", "Tesla-T4"),
            ("gpu.family", "turing"),
            ("gpu.compute.major", "7"),
            ("gpu.compute.minor", "5"),
            ("gpu.memory", "15360"),
            ("mig.capable", "false"),
            ("cuda.driver-version.full", "580.95.05"),
            ("cuda.runtime-version.full", "13.0"),
            ("vgpu.present", "false"),
            ("gpu.mode", "compute"),
        ],
    );
    let node = Node::preset("dgx-h100");
    node.tell(&["mig", "mode", "--gpu", "0", "on"]);
    node.tell(&["mig", "create", "--gpu", "0", "3g.40gb", "1g.10gb", "1g.10gb"]);
    let Some(h100) = theirs(&node, &["--mig-strategy=mixed"]) else { return };
    assert_labels(
        &h100,
        &[
            ("gpu.count", "8"),
            ("gpu.product", "NVIDIA-H100-80GB-HBM3"),
            ("gpu.family", "hopper"),
            ("gpu.machine", "DGXH100"),
            ("mig.capable", "true"),
            ("mig.strategy", "mixed"),
            ("mig-3g.40gb.count", "1"),
            ("mig-1g.10gb.count", "2"),
            // NVIDIA's MIG user guide: 60 and 16 multiprocessors, 3 and 1 copy engines.
            ("mig-3g.40gb.multiprocessors", "60"),
            ("mig-1g.10gb.multiprocessors", "16"),
            ("mig-3g.40gb.engines.copy", "3"),
            ("mig-1g.10gb.slices.gi", "1"),
        ],
    );
}

/// NVIDIA's device plugin on a node with a kubelet; none where this user may not mount. Its folder is fixed, so it gets a
/// private mount of it.
fn plugin(node: &SimNode, args: &[&str]) -> Option<Process> {
    const FOLDER: &str = "/var/lib/kubelet/device-plugins";
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: nvidia-device-plugin needs root, for its fixed folder");
        return None;
    }
    let script = format!(
        "mount -t tmpfs none /var/lib && mkdir -p {FOLDER} && mount --bind \"$0\" {FOLDER} && exec \"$@\""
    );
    let mut command = node.command_at(&sim_node::find("nvml-sim").unwrap());
    command.arg("--dir").arg(node.driver().dir()).args(["run", "--private", "--root"]).arg(node.root());
    command.args(["--", "/bin/sh", "-c", &script]).arg(node.plugin_dir());
    command.arg(fetch::peer("device-plugin", "nvidia-device-plugin"));
    command.args(["--device-discovery-strategy=nvml", "--device-list-strategy=envvar"]);
    command.args(["--fail-on-init-error=true", "--driver-root-ctr-path=/"]);
    command.args(args).stdin(Stdio::null());
    Some(node.spawn_command("nvidia-device-plugin", command).unwrap())
}

/// Waits until the kubelet has so many devices that it may hand out.
fn has(node: &SimNode, plugin: &Process, resource: &str, wanted: usize) {
    let found = eventually(&format!("{wanted} of {resource}"), fetch::PATIENCE, || {
        let state = node.kubelet().state().map_err(|error| error.to_string())?;
        let found = state.resources.get(resource).map(|resource| resource.allocatable);
        if found == Some(wanted) { Ok(()) } else { Err(format!("{:?}", state.resources)) }
    });
    found.unwrap_or_else(|error| panic!("{error}; the plugin said:\n{}", plugin.log()));
}

#[test]
fn nvidia_device_plugin_offers_gpus_and_sees_an_xid() {
    let node = SimNode::builder().preset("dgx-a100").build().unwrap();
    let Some(plugin) = plugin(&node, &[]) else { return };
    has(&node, &plugin, "nvidia.com/gpu", 8);
    // Its README: a GPU with a critical XID is unhealthy.
    node.driver().inject_xid("3", 79, None, None).unwrap();
    has(&node, &plugin, "nvidia.com/gpu", 7);
}

#[test]
fn nvidia_device_plugin_offers_mig_devices_by_profile() {
    let node = SimNode::builder().preset("dgx-h100").build().unwrap();
    let tell = |args: &[&str]| {
        finish(
            Command::new(sim_node::find("nvml-sim").unwrap())
                .arg("--dir")
                .arg(node.driver().dir())
                .args(args),
        );
    };
    tell(&["mig", "mode", "--gpu", "0", "on"]);
    tell(&["mig", "create", "--gpu", "0", "3g.40gb", "1g.10gb", "1g.10gb"]);
    node.install_driver().unwrap();
    let Some(plugin) = plugin(&node, &["--mig-strategy=mixed"]) else { return };
    has(&node, &plugin, "nvidia.com/gpu", 7);
    has(&node, &plugin, "nvidia.com/mig-1g.10gb", 2);
    has(&node, &plugin, "nvidia.com/mig-3g.40gb", 1);
}
