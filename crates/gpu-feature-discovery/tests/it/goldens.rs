//! Whole sets of labels, each with what only it shows.

use std::fmt::Write as _;
use std::path::Path;

use gpu_config::MigStrategy;
use gpu_feature_discovery::facts::{Face, Facts, Group, PciFunction, Settings};
use gpu_feature_discovery::labels::label;
use gpu_model::{GpuFailure, Health, HealthReason, PcieLink, Reading};
use node_host::DriverFlavour;
use node_host::vgpu::{VgpuError, VgpuHostDriver};

use crate::nodes::{A100, H100, Model, T4, address, cut, gpu, joined, node, settings, uuid};

/// Compares a node's labels, one a line, and behind them what is remarked, with the golden of this name.
#[track_caller]
fn check(name: &str, facts: &Facts, settings: &Settings) {
    let labelled = label(facts, settings);
    let mut text = String::new();
    for (key, value) in &labelled.labels {
        let _ = writeln!(text, "{key}={value}");
    }
    for remark in &labelled.remarks {
        let _ = writeln!(text, "# {remark}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden");
    golden::assert_golden(&folder.join(format!("{name}.txt")), &text);
}

fn dgx() -> Facts {
    let mut facts = node((0..8).map(|index| gpu(index, H100)).collect());
    for details in &mut facts.driver.as_mut().unwrap().details.gpus {
        details.fabric = joined(7);
    }
    facts
}

/// Every label of a node on which nothing is special.
#[test]
fn plain_node_has_every_label_of_a_node() {
    check("plain", &dgx(), &Settings { timestamp: Some(1_764_158_400), ..Settings::default() });
}

/// That NVIDIA's face has exactly NVIDIA's labels: also on a node where ours would have much to say.
#[test]
fn compat_face_has_the_labels_of_nvidias_alone() {
    let mut facts = dgx();
    facts.health.insert(uuid(0), Health::Unhealthy { reason: HealthReason::Lost });
    let compat =
        Settings { face: Face::Compat, groups: Group::ALL.into(), timestamp: Some(1), ..Settings::default() };
    check("compat", &facts, &compat);
}

/// MIG devices in the place of GPUs, whose family stays; `-SHARED` behind the profile.
#[test]
fn single_strategy_with_shared_devices() {
    let facts = node(vec![cut(0, H100, &["1g.10gb"; 7]), cut(1, H100, &["1g.10gb"; 7])]);
    let file = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}";
    check("single-shared", &facts, &settings(MigStrategy::Single, file));
}

/// What tells that a node does not fit the strategy.
#[test]
fn single_strategy_on_an_uneven_node() {
    let facts = node(vec![cut(0, H100, &["1g.10gb", "2g.20gb"]), cut(1, H100, &["1g.10gb"])]);
    check("single-invalid", &facts, &settings(MigStrategy::Single, ""));
}

/// A set for each profile, one of them shared under another name, beside GPUs that are whole and shared under their own;
/// a GPU with MIG on and no MIG device is counted.
#[test]
fn mixed_strategy_with_some_shared() {
    let facts = node(vec![
        cut(0, H100, &["3g.40gb", "1g.10gb+me", "1c.2g.20gb"]),
        cut(1, H100, &[]),
        gpu(2, H100),
        gpu(3, H100),
    ]);
    let file = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 10}, {name: nvidia.com/mig-3g.40gb, rename: nvidia.com/half, replicas: 2}]}}";
    check("mixed-shared", &facts, &settings(MigStrategy::Mixed, file));
}

/// Several models, with GPUs that fail beside them: the primary model, the node's count, each model's own labels, and what
/// is of no use.
#[test]
fn several_models_and_gpus_that_fail() {
    let mut unread = gpu(4, A100);
    unread.memory_bytes = Reading::Failed { call: "nvmlDeviceGetMemoryInfo".to_owned(), code: 999 };
    let mut facts = node(vec![gpu(0, T4), gpu(1, A100), unread, gpu(3, A100)]);
    let lost = |index| GpuFailure { index, call: "nvmlDeviceGetHandleByIndex_v2".to_owned(), code: 15 };
    facts.driver.as_mut().unwrap().inventory.failures = vec![lost(2), lost(5)];
    // The report knows one of the two by name.
    facts.health.insert(uuid(2), Health::Unhealthy { reason: HealthReason::Vanished });
    facts.health.insert(uuid(3), Health::Unhealthy { reason: HealthReason::Xid { xid: 79 } });
    check("models", &facts, &Settings::default());
}

/// What is known without a driver, of a guest with virtual GPUs: of those that tell their host's driver, the first by address.
#[test]
fn guest_without_a_driver() {
    let host = |version: &str| VgpuHostDriver { version: version.to_owned(), branch: "r550_00".to_owned() };
    let function =
        |at, version| PciFunction { address: address(at), class: 0x03_0000, vgpu: Ok(Some(host(version))) };
    let mut silent = function(0, "");
    silent.vgpu = Err(VgpuError::NoHostDriver { at: 0x40, problem: "there is no record of it" });
    let pci = Some(vec![function(2, "550.2"), function(1, "550.1"), silent]);
    check("guest", &Facts { pci, ..Facts::default() }, &Settings::default());
}

/// Every group, where GPUs answer differently.
#[test]
fn every_group_has_its_labels_where_gpus_differ() {
    let mut facts = node(vec![gpu(0, A100), cut(1, A100, &["3g.40gb"])]);
    let details = &mut facts.driver.as_mut().unwrap().details;
    details.confidential_compute = Reading::Value(false);
    for (details, at) in details.gpus.iter_mut().zip(0u32..) {
        details.ecc = Reading::Value(at == 0);
        details.nvlinks_up = Reading::Value(12 - at);
        details.pcie = Reading::Value(PcieLink { generation: 4, width: 16 - 8 * at });
        details.power_limit_milliwatts = Reading::Value(400_000 - at);
        details.gsp = Reading::Value(true);
        details.fabric = joined(at);
    }
    let room = ["1g.10gb", "3g.40gb", "1g.10gb+me"].map(|profile| profile.parse().unwrap());
    details.gpus[1].mig_room = Reading::Value(room.into());
    facts.flavour = Some(DriverFlavour::Open);
    check("groups", &facts, &Settings { groups: Group::ALL.into(), ..Settings::default() });
}

/// What a part with the CPU's memory leaves out, and a machine that tells nothing: no DMI, no bus, no CUDA, and a driver with
/// a version of four parts.
#[test]
fn machine_that_tells_little() {
    const THOR: Model = ("NVIDIA Thor", 0, (11, 0));
    let mut facts = node(vec![gpu(0, THOR)]);
    facts.machine = None;
    facts.pci = None;
    let driver = &mut facts.driver.as_mut().unwrap().inventory.driver;
    driver.driver = "580.00.1.2-rc".to_owned();
    driver.cuda = Reading::Failed { call: "nvmlSystemGetCudaDriverVersion_v2".to_owned(), code: 12 };
    check("silent", &facts, &Settings::default());
}

/// Names that are too long for a value, and one that only a rule of the config tells is shared: profile, sharing and model stay
/// readable.
#[test]
fn names_too_long_for_a_value() {
    const MAX_Q: Model = ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 97_887, (12, 0));
    let facts = node(vec![gpu(0, MAX_Q), gpu(1, MAX_Q), cut(2, MAX_Q, &["1g.24gb+me.all", "1g.24gb-me"])]);
    let file = "resources: {gpus: [{pattern: '*Max-Q*', name: max-q}]}\nsharing: {timeSlicing: {resources: [{name: nvidia.com/max-q, replicas: 2}, {name: nvidia.com/mig-1g.24gb.me.all, replicas: 2}]}}";
    check("long-names", &facts, &settings(MigStrategy::Mixed, file));
}
