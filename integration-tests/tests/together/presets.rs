//! Every node preset of the simulator, in several partitionings, under each MIG strategy and several ways of sharing: the
//! labels are valid, in the catalogue and the same whatever the order in which things are found, and they promise what
//! the device plugin offers under the same config.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use gpu_config::{MigStrategy, Mode};
use gpu_feature_discovery::facts::{DriverFacts, Face, Facts, Group, PciFunction, Settings};
use gpu_feature_discovery::labels::catalogue::{Entry, Origin, entries};
use gpu_feature_discovery::labels::label;
use gpu_model::{Gpu, Inventory};
use nvml::{Library, Nvml};
use serde::Deserialize;
use sim_node::SimNode;

const STRATEGIES: [(&str, MigStrategy); 3] =
    [("none", MigStrategy::None), ("single", MigStrategy::Single), ("mixed", MigStrategy::Mixed)];

/// The other models on the way: their own tests share this machine.
const THREADS: usize = 2;

/// How a node is partitioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// As the preset has it: no GPU has MIG on.
    Whole,
    /// Each GPU that can, into as many instances of the smallest profile as there is room for.
    Even,
    /// The same, but for a larger instance on the first.
    Uneven,
    /// The first alone.
    One,
    /// The first has MIG on, and no instance.
    Empty,
}

const LAYOUTS: [Layout; 5] = [Layout::Whole, Layout::Even, Layout::Uneven, Layout::One, Layout::Empty];

/// How GPUs and MIG devices are shared: a text for the part `timeSlicing`, in which `RESOURCES` stands for an entry for each
/// resource of the node.
const SHARINGS: [Option<&str>; 5] = [
    None,
    Some("{resources: [RESOURCES, replicas: 4]}"),
    Some("{renameByDefault: true, resources: [RESOURCES, replicas: 10]}"),
    // Some of them.
    Some("{resources: [RESOURCES, replicas: 3, devices: 1]}"),
    Some("{renameByDefault: true, resources: [RESOURCES, replicas: 2, devices: 5]}"),
];

/// The config of a sharing on a node with these resources.
fn config(sharing: Option<&str>, resources: &BTreeSet<String>) -> String {
    let Some(sharing) = sharing else { return "version: v1\n".to_owned() };
    let (head, rest) = sharing.split_once("RESOURCES").unwrap();
    let (entry, end) = rest.split_once(']').unwrap();
    let each: Vec<String> = resources.iter().map(|name| format!("{{name: {name}{entry}}}")).collect();
    format!("version: v1\nsharing:\n  timeSlicing: {head}{}]{end}\n", each.join(", "))
}

/// Partitions a node; false where it has no GPU that can be.
fn partition(node: &SimNode, layout: Layout) -> bool {
    let gpus = node.driver().node().unwrap().gpus;
    let able: Vec<&nvml_sim::Gpu> = gpus.iter().filter(|gpu| gpu.model.is_mig_capable()).collect();
    let meant = match layout {
        Layout::Whole => return true,
        Layout::Even | Layout::Uneven => able.len(),
        Layout::One | Layout::Empty => 1,
    };
    for (at, gpu) in able.iter().take(meant).enumerate() {
        let lay = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
            let _pending_until_the_reset = mig.set_mode(gpu, true)?;
            mig.reset(gpu);
            if layout == Layout::Empty {
                return Ok(());
            }
            let table = &gpu.model.mig;
            let mut profiles: Vec<_> =
                table.gpu_instances.iter().filter(|it| !it.name.contains('+')).collect();
            profiles.sort_by_key(|profile| (profile.slices, profile.size));
            if layout == Layout::Uneven && at == 0 {
                make(mig, gpu, profiles[1])?;
            }
            while mig.gpus[&gpu.uuid].remaining(table, profiles[0]) > 0 {
                make(mig, gpu, profiles[0])?;
            }
            Ok(())
        };
        node.driver().change_mig(&gpu.index.to_string(), lay).unwrap();
    }
    !able.is_empty()
}

fn make(
    mig: &mut nvml_sim::MigState,
    gpu: &nvml_sim::Gpu,
    profile: &nvml_sim::GpuInstanceProfile,
) -> Result<(), nvml_sim::Code> {
    let id = mig.create(gpu, profile.id, None)?;
    let whole = gpu.model.mig.compute_of(profile).filter(|it| it.slices == profile.slices);
    mig.create_compute(gpu, id, whole.max_by_key(|it| it.sms).unwrap().id, None)?;
    Ok(())
}

/// What feature discovery sees of a node.
fn facts(node: &SimNode) -> Facts {
    let program = sim_node::find("gpu-feature-discovery").unwrap_or_else(|error| panic!("{error}"));
    let library = node.root().join("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1");
    let extra_env = vec![("NVML_SIM_DIR".into(), node.driver().dir().into())];
    let config = nvml::Config { program, extra_env, ..nvml::Config::default() };
    let wanted = Settings { groups: Group::ALL.into(), ..Settings::default() }.details();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let driver = runtime.block_on(async {
        let nvml = Nvml::start(config, std::sync::Arc::new(move || Ok(Library::alone(&library)))).unwrap();
        let inventory = nvml.inventory().await.unwrap();
        let details = nvml.details(&wanted).await.unwrap();
        nvml.shutdown().await;
        DriverFacts { inventory, details }
    });
    let host = node_host::HostRoot::new(node.root());
    let functions = node_host::pci::nvidia_functions(&host).unwrap();
    Facts {
        driver: Some(driver),
        machine: node_host::machine_product(&host, None).unwrap(),
        pci: Some(functions.iter().map(PciFunction::from).collect()),
        flavour: node_host::driver_flavour(&host).unwrap(),
        ..Facts::default()
    }
}

/// What `gpu-device-plugin explain` says.
#[derive(Deserialize)]
struct Explained {
    refused: Option<String>,
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    ids: usize,
    devices: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    device: String,
    shares: Option<u32>,
}

fn explained(folder: &Path, strategy: &str) -> Explained {
    let plugin = sim_node::find("gpu-device-plugin").unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(plugin)
        .args(["explain", "--output=json", "--mig-strategy", strategy, "--config-file"])
        .arg(folder.join("config.yaml"))
        .arg("--node")
        .arg(folder.join("inventory.json"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One combination, and what came of it.
struct Case<'a> {
    name: String,
    inventory: &'a Inventory,
    strategy: MigStrategy,
    labels: BTreeMap<String, String>,
    offered: Explained,
}

/// How a device is offered: so many shares, and whether under the resource's own name.
type Share = (u32, bool);

impl Case<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(&format!("nvidia.com/{key}")).map(String::as_str)
    }

    fn number(&self, key: &str) -> usize {
        let value = self.label(key).unwrap_or_else(|| panic!("{}: no {key}: {:#?}", self.name, self.labels));
        value.parse().unwrap_or_else(|_| panic!("{}: {key} is {value:?}", self.name))
    }

    /// The devices of a resource, under its own name and that of its shares.
    fn devices(&self, resource: &str) -> BTreeMap<&str, Share> {
        let own = format!("nvidia.com/{resource}");
        let shared = format!("{own}.shared");
        let of = self.offered.resources.iter().filter(|it| it.name == own || it.name == shared);
        let parts = of.flat_map(|it| it.devices.iter().map(move |part| (it.name.ends_with(".shared"), part)));
        parts
            .map(|(is_renamed, part)| (part.device.as_str(), (part.shares.unwrap_or(1), is_renamed)))
            .collect()
    }

    /// As most of these devices are offered; of several such, the one of most shares.
    fn most<'b>(shares: impl Iterator<Item = &'b Share>) -> Option<Share> {
        let mut counts: BTreeMap<Share, usize> = BTreeMap::new();
        for share in shares {
            *counts.entry(*share).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(share, count)| (*count, *share)).map(|(share, _)| share)
    }

    /// The labels of a resource promise what is offered by these devices.
    fn promises(&self, resource: &str, offered: &BTreeMap<&str, Share>, described: &BTreeSet<&str>) {
        let name = &self.name;
        let devices =
            offered.iter().filter(|(device, _)| described.contains(*device)).map(|(_, share)| share);
        let (replicas, is_renamed) = Self::most(devices).unwrap_or((0, false));
        assert_eq!(self.number(&format!("{resource}.replicas")), replicas as usize, "{name}: {resource}");
        let strategy = if replicas > 1 { "time-slicing" } else { "none" };
        assert_eq!(self.label(&format!("{resource}.sharing-strategy")), Some(strategy), "{name}: {resource}");
        let product = self.label(&format!("{resource}.product")).unwrap();
        assert_eq!(product.ends_with("-SHARED"), replicas > 1 && !is_renamed, "{name}: {product}");
    }

    /// Where all devices of a resource are alike, labels and ids of the kubelet agree to the last one.
    fn adds_up(&self, resource: &str, offered: &BTreeMap<&str, Share>) {
        let all: BTreeSet<&Share> = offered.values().collect();
        if all.len() == 1 {
            let of = |it: &&Resource| {
                it.name.strip_suffix(".shared").unwrap_or(&it.name) == format!("nvidia.com/{resource}")
            };
            let ids: usize = self.offered.resources.iter().filter(of).map(|it| it.ids).sum();
            let (count, replicas) =
                (self.number(&format!("{resource}.count")), self.number(&format!("{resource}.replicas")));
            assert_eq!(count * replicas, ids, "{}: {resource}", self.name);
        }
    }

    fn check(&self) {
        assert_eq!(self.offered.refused, None, "{}", self.name);
        let gpus = &self.inventory.gpus;
        let partitioned = gpus.iter().filter(|gpu| gpu.is_partitioned()).count();
        let single = self.devices("gpu");
        if self.strategy == MigStrategy::Single && partitioned > 0 {
            return self.check_single(&single, partitioned);
        }
        assert_eq!(
            self.number("gpu.count"),
            gpus.len(),
            "{}: all of them, whatever becomes of them",
            self.name
        );
        // The labels speak of the GPUs of one model that are handed out whole.
        let whole: Vec<&Gpu> = gpus.iter().filter(|gpu| !gpu.is_partitioned()).collect();
        self.promises("gpu", &single, &of_the_product(&whole, self.label("gpu.product").unwrap()));
        match self.strategy {
            MigStrategy::None => assert_eq!(single.len(), gpus.len(), "{}", self.name),
            _ => assert_eq!(single.len(), whole.len(), "{}", self.name),
        }
        if partitioned == 0 {
            self.adds_up("gpu", &single);
        }
        self.check_profiles();
    }

    /// MIG devices stand in the place of GPUs, or the labels say that the node does not fit.
    fn check_single(&self, offered: &BTreeMap<&str, Share>, partitioned: usize) {
        let gpus = &self.inventory.gpus;
        let profiles: BTreeSet<String> =
            gpus.iter().flat_map(|gpu| &gpu.mig_devices).map(|mig| mig.profile.to_string()).collect();
        let is_empty = gpus.iter().any(|gpu| gpu.is_partitioned() && gpu.mig_devices.is_empty());
        let fits = partitioned == gpus.len() && profiles.len() == 1 && !is_empty;
        let product = self.label("gpu.product").unwrap();
        assert_eq!(product.ends_with("-MIG-INVALID"), !fits, "{}: {product}", self.name);
        if !fits {
            assert_eq!((self.number("gpu.count"), self.number("gpu.replicas")), (0, 0), "{}", self.name);
            return;
        }
        assert!(product.contains(&format!("-MIG-{}", profiles.first().unwrap())), "{}: {product}", self.name);
        assert_eq!(self.number("gpu.count"), offered.len(), "{}", self.name);
        let all = offered.keys().copied().collect();
        self.promises("gpu", offered, &all);
        self.adds_up("gpu", offered);
        self.check_profiles();
    }

    /// A set of labels for each resource of MIG devices, and none besides.
    fn check_profiles(&self) {
        let labelled: BTreeSet<&str> = self
            .labels
            .keys()
            .filter_map(|key| key.strip_prefix("nvidia.com/mig-")?.strip_suffix(".count"))
            .collect();
        let names = self.offered.resources.iter().filter_map(|it| it.name.strip_prefix("nvidia.com/mig-"));
        let offered: BTreeSet<&str> =
            names.map(|name| name.strip_suffix(".shared").unwrap_or(name)).collect();
        assert_eq!(labelled, offered, "{}", self.name);
        for profile in labelled {
            let resource = format!("mig-{profile}");
            let devices = self.devices(&resource);
            assert_eq!(self.number(&format!("{resource}.count")), devices.len(), "{}", self.name);
            self.promises(&resource, &devices, &devices.keys().copied().collect());
            self.adds_up(&resource, &devices);
        }
    }
}

/// The GPUs of the model that a product's label names.
fn of_the_product<'a>(gpus: &[&'a Gpu], label: &str) -> BTreeSet<&'a str> {
    let is_of = |gpu: &&&Gpu| {
        let name = gpu.product.value().map(|name| name.replace(' ', "-")).unwrap_or_default();
        label.strip_suffix("-SHARED").unwrap_or(label) == name
    };
    gpus.iter().filter(is_of).map(|gpu| gpu.uuid.as_str()).collect()
}

/// As Kubernetes has it, written anew.
fn is_valid(text: &str) -> bool {
    let is_edge = |sign: Option<char>| sign.is_none_or(|sign| sign.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|sign| sign.is_ascii_alphanumeric() || "-_.".contains(sign))
        && is_edge(text.chars().next())
        && is_edge(text.chars().next_back())
}

/// The same in other orders.
fn reordered(facts: &Facts) -> Vec<Facts> {
    let turned = |by: usize| {
        let mut facts = facts.clone();
        let driver = facts.driver.as_mut().unwrap();
        fn turn<T>(all: &mut [T], by: usize) {
            match all.len() {
                0 => {}
                len if by == 0 => all[..len].reverse(),
                len => all.rotate_left(by % len),
            }
        }
        turn(&mut driver.inventory.gpus, by);
        driver.inventory.gpus.iter_mut().for_each(|gpu| turn(&mut gpu.mig_devices, by));
        turn(&mut driver.details.gpus, by);
        turn(facts.pci.as_mut().unwrap(), by);
        facts
    };
    [0, 1, 3].map(turned).into()
}

/// The labels, having checked what holds of them by themselves.
fn labels(name: &str, facts: &Facts, settings: &Settings, known: &[Entry]) -> BTreeMap<String, String> {
    let labelled = label(facts, settings);
    for other in reordered(facts) {
        assert_eq!(label(&other, settings), labelled, "{name}");
    }
    for (key, value) in &labelled.labels {
        let (key, value) = (key.as_str(), value.as_str());
        let (domain, word) = key.split_once('/').unwrap();
        assert!(["nvidia.com", "gantry.dev"].contains(&domain), "{name}: {key}");
        assert!(!word.is_empty() && is_valid(word) && is_valid(value), "{name}: {key}={value}");
        let entry = known.iter().find(|entry| entry.covers(key));
        let entry = entry.unwrap_or_else(|| panic!("{name}: {key} is not in the catalogue"));
        assert!(settings.face == Face::Native || entry.origin == Origin::SameAsGfd, "{name}: {key}");
    }
    let text = |(key, value): (_, _)| (ToString::to_string(key), ToString::to_string(value));
    labelled.labels.iter().map(text).collect()
}

/// Checks a node in all ways; gives how many those were.
fn check(preset: &str, layout: Layout) -> usize {
    let node = SimNode::builder().without_kubelet().runtime(None).preset(preset).build().unwrap();
    if !partition(&node, layout) {
        return 0;
    }
    let (facts, known) = (facts(&node), entries());
    let inventory = &facts.driver.as_ref().unwrap().inventory;
    fs::write(node.dir().join("inventory.json"), serde_json::to_string(inventory).unwrap()).unwrap();
    let profiles = inventory.gpus.iter().flat_map(|gpu| &gpu.mig_devices).map(|mig| mig.profile.resource());
    let gpu = std::iter::once("gpu".to_owned());
    let resources: BTreeSet<String> =
        gpu.chain(profiles).map(|resource| format!("nvidia.com/{resource}")).collect();
    for (at, sharing) in SHARINGS.into_iter().enumerate() {
        let text = config(sharing, &resources);
        fs::write(node.dir().join("config.yaml"), &text).unwrap();
        let read = gpu_config::read("config.yaml", &text, Mode::Strict).unwrap().config;
        for (word, strategy) in STRATEGIES {
            let name = format!("{preset}, {layout:?}, {word}, sharing {at}");
            let native = Settings {
                mig_strategy: strategy,
                time_slicing: read.time_slicing.clone(),
                groups: Group::ALL.into(),
                ..Settings::default()
            };
            let compat = Settings { face: Face::Compat, ..native.clone() };
            let (ours, theirs) =
                (labels(&name, &facts, &native, &known), labels(&name, &facts, &compat, &known));
            assert!(theirs.iter().all(|(key, value)| ours.get(key) == Some(value)), "{name}: {theirs:?}");
            let offered = explained(node.dir(), word);
            Case { name, inventory, strategy, labels: ours, offered }.check();
        }
    }
    SHARINGS.len() * STRATEGIES.len()
}

#[test]
fn labels_of_every_preset_partitioning_strategy_and_sharing_are_valid_and_promise_what_the_plugin_offers() {
    let all = nvml_sim::presets::NODES.iter().flat_map(|preset| LAYOUTS.map(|layout| (preset.name, layout)));
    let all: Vec<_> = all.collect();
    let checked: usize = thread::scope(|scope| {
        let parts: Vec<_> = (0..THREADS)
            .map(|part| {
                let own = all.iter().skip(part).step_by(THREADS);
                scope.spawn(move || own.map(|(preset, layout)| check(preset, *layout)).sum::<usize>())
            })
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    assert!(checked >= 500, "{checked}");
}
