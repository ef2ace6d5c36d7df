//! Several resources: shares, MIG devices, and configs that change while pods run.

use std::path::PathBuf;

use fake_kubelet::{FakeKubelet, ResourceState};
use nvml_sim::FaultEntry;
use sim_node::{Process, Signal, SimNode};

use crate::harness::{QUICK, bare, counts, eventually, gpus, start_kubelet, start_plugin};

pub const SHARED_4: &str =
    "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n";

/// A node of two whole A100s, and one with two MIG devices of different profiles.
pub const PARTITIONED: &str = "seed: mig
driver: {version: 580.95.05, cuda: \"13.0\"}
gpus:
  - {model: A100-SXM4-80GB, pci: \"0000:07:00.0\", numa: 0, pcie: 0/0/0/0}
  - {model: A100-SXM4-80GB, pci: \"0000:0f:00.0\", numa: 0, pcie: 0/0/0/0}
  - {model: A100-SXM4-80GB, pci: \"0000:47:00.0\", numa: 0, pcie: 0/0/0/0, mig-instances: [1g.10gb, 3g.40gb]}
";

/// A node with a config file, its kubelet, and the plugin.
pub struct Rig {
    // The process goes before its node.
    pub plugin: Process,
    pub kubelet: FakeKubelet,
    pub node: SimNode,
}

pub fn config_file(node: &SimNode) -> PathBuf {
    node.dir().join("config.yaml")
}

/// Replaces the file by a rename, as the config agent does.
pub fn write(node: &SimNode, config: &str) {
    let next = node.dir().join("next.yaml");
    std::fs::write(&next, config).unwrap();
    std::fs::rename(next, config_file(node)).unwrap();
}

pub async fn rig(node: SimNode, config: &str, flags: &[&str]) -> Rig {
    write(&node, config);
    let kubelet = start_kubelet(&node).await;
    let file = format!("--config-file={}", config_file(&node).display());
    let plugin = start_plugin(&node, &[&QUICK, flags, &[file.as_str()]].concat());
    Rig { plugin, kubelet, node }
}

impl Rig {
    pub fn resource(&self, name: &str) -> ResourceState {
        self.kubelet.resources().resources.remove(name).unwrap_or_default()
    }

    /// Waits until the kubelet counts so many devices of each resource, all healthy, and none of any other.
    pub fn offers(&self, expected: &[(&str, usize)]) {
        eventually(&format!("the kubelet has {expected:?}"), || {
            let state = self.kubelet.resources();
            let counted = state.resources.iter().filter(|(_, resource)| resource.capacity > 0);
            let counted: Vec<_> =
                counted.map(|(name, it)| (name.clone(), it.capacity, it.allocatable)).collect();
            let expected: Vec<_> =
                expected.iter().map(|(name, count)| ((*name).to_owned(), *count, *count)).collect();
            if counted == expected { Ok(()) } else { Err(format!("{counted:?}")) }
        });
    }
}

#[tokio::test]
async fn shares_are_ids_of_their_own_and_a_container_gets_each_gpu_once() {
    let rig = rig(bare().build().unwrap(), SHARED_4, &[]).await;
    counts(&rig.kubelet, 32, 32);
    let first = gpus(&rig.node)[0].clone();
    assert!(rig.resource("nvidia.com/gpu").devices.iter().any(|device| device.id == format!("{first}::3")));
    // Distributed: each on another GPU.
    let eight = rig.kubelet.allocate("one", "main", "nvidia.com/gpu", 8).await.unwrap();
    assert_eq!(eight.injection.cdi_devices.len(), 8);
    let rest = rig.kubelet.allocate("two", "main", "nvidia.com/gpu", 24).await.unwrap();
    assert_eq!(rest.injection.cdi_devices.len(), 8);
    assert!(rest.injection.cdi_devices.contains(&format!("gantry.dev/gpu={first}")));
    rig.plugin.ready().unwrap();
}

#[tokio::test]
async fn sick_gpu_takes_all_its_shares_in_one_message() {
    let rig = rig(bare().build().unwrap(), SHARED_4, &[]).await;
    counts(&rig.kubelet, 32, 32);
    let before = rig.plugin.metric("gantry_device_plugin_sent_list_generation").unwrap();
    rig.plugin.says("watching 8 of 8 GPUs").unwrap();
    rig.node.driver().inject_xid("3", 79, None, None).unwrap();
    counts(&rig.kubelet, 32, 28);
    let after = rig.plugin.metric("gantry_device_plugin_sent_list_generation").unwrap();
    assert!((after - before - 1.0).abs() < 0.1, "{before} {after}");
}

// Without `Watching::judge_by` a file that changes leaves XIDs as the table has them.
#[tokio::test]
async fn xids_are_judged_as_the_file_says_as_soon_as_it_does() {
    let class = |class| format!("version: v1\nhealth: {{xids: [{{xid: 79, class: {class}}}]}}\n");
    let rig = rig(bare().build().unwrap(), &class("notice"), &[]).await;
    counts(&rig.kubelet, 8, 8);
    rig.plugin.says("watching 8 of 8 GPUs").unwrap();
    let xid = |gpu: &str| {
        let entry = FaultEntry {
            gpu: Some(gpu.to_owned()),
            xid: Some(79),
            no_recovery_action: true,
            ..FaultEntry::default()
        };
        rig.node.driver().declare(entry).unwrap();
    };
    xid("1");
    eventually("the XID is counted as a notice", || {
        let count = rig.plugin.metric("gantry_device_plugin_xids_total{class=\"notice\",xid=\"79\"}");
        if count.is_ok_and(|count| count > 0.5) { Ok(()) } else { Err("not yet") }
    });
    counts(&rig.kubelet, 8, 8);
    write(&rig.node, &class("critical"));
    rig.plugin.says("the config file gives XIDs their classes").unwrap();
    eventually("the second config is in force", || {
        let generation = rig.plugin.metric("gantry_device_plugin_config_generation").unwrap();
        if generation > 1.5 { Ok(()) } else { Err(generation) }
    });
    xid("2");
    counts(&rig.kubelet, 8, 7);
}

#[tokio::test]
async fn config_that_changes_is_taken_up_on_the_same_socket_and_a_bad_one_changes_nothing() {
    let rig = rig(bare().build().unwrap(), SHARED_4, &[]).await;
    counts(&rig.kubelet, 32, 32);
    let endpoints = rig.resource("nvidia.com/gpu").endpoints;
    write(&rig.node, &SHARED_4.replace("4}", "2}"));
    counts(&rig.kubelet, 16, 16);
    write(&rig.node, &SHARED_4.replace("replicas", "replica"));
    rig.plugin.readiness_says(&["config-invalid", "replica", "did you mean", "stays in force"]).unwrap();
    counts(&rig.kubelet, 16, 16);
    write(&rig.node, &SHARED_4.replace("4}", "3000}"));
    rig.plugin.readiness_says(&["too-many-devices", "8 devices x 3000 replicas = 24000", "16384"]).unwrap();
    counts(&rig.kubelet, 16, 16);
    write(&rig.node, "version: v1\n");
    counts(&rig.kubelet, 8, 8);
    rig.plugin.ready().unwrap();
    assert_eq!(rig.resource("nvidia.com/gpu").endpoints, endpoints);
}

#[tokio::test]
async fn last_good_config_survives_a_restart_beside_a_bad_one() {
    let rig = rig(bare().build().unwrap(), SHARED_4, &[]).await;
    counts(&rig.kubelet, 32, 32);
    eventually("the config is kept", || rig.node.state_dir().join("device-plugin/config.yaml").metadata());
    write(&rig.node, "version: v2\n");
    let Rig { plugin, kubelet, node } = rig;
    drop(plugin);
    let file = format!("--config-file={}", config_file(&node).display());
    let plugin = start_plugin(&node, &[&QUICK[..], &[file.as_str()]].concat());
    plugin.readiness_says(&["config-invalid", "v2", "stays in force"]).unwrap();
    counts(&kubelet, 32, 32);
}

#[tokio::test]
async fn renamed_resource_comes_and_the_old_one_goes() {
    let rig = rig(bare().build().unwrap(), "version: v1\n", &[]).await;
    rig.offers(&[("nvidia.com/gpu", 8)]);
    let renamed = SHARED_4.replace("timeSlicing: {", "timeSlicing: {renameByDefault: true, ");
    write(&rig.node, &renamed);
    rig.offers(&[("nvidia.com/gpu.shared", 32)]);
    eventually("the socket is gone", || {
        let sockets = crate::harness::plugin_sockets(&rig.node);
        if sockets.len() == 1 { Ok(()) } else { Err(format!("{sockets:?}")) }
    });
    rig.plugin.ready().unwrap();
    write(&rig.node, "version: v1\n");
    rig.offers(&[("nvidia.com/gpu", 8)]);
}

#[tokio::test]
async fn change_of_mig_devices_reaches_their_resources_and_leaves_the_others_alone() {
    let rig =
        rig(bare().yaml(PARTITIONED).build().unwrap(), "version: v1\n", &["--mig-strategy=mixed"]).await;
    rig.offers(&[("nvidia.com/gpu", 2), ("nvidia.com/mig-1g.10gb", 1), ("nvidia.com/mig-3g.40gb", 1)]);
    let before = (rig.resource("nvidia.com/gpu").endpoints, rig.resource("nvidia.com/mig-1g.10gb").endpoints);
    mig(&rig.node, &["create", "--gpu=2", "2g.20gb"]);
    rig.offers(&[
        ("nvidia.com/gpu", 2),
        ("nvidia.com/mig-1g.10gb", 1),
        ("nvidia.com/mig-2g.20gb", 1),
        ("nvidia.com/mig-3g.40gb", 1),
    ]);
    // The instance of 3g.40gb, which `mig-instances` makes first.
    mig(&rig.node, &["destroy", "--gpu=2", "--gi=1"]);
    rig.offers(&[("nvidia.com/gpu", 2), ("nvidia.com/mig-1g.10gb", 1), ("nvidia.com/mig-2g.20gb", 1)]);
    let after = (rig.resource("nvidia.com/gpu").endpoints, rig.resource("nvidia.com/mig-1g.10gb").endpoints);
    assert_eq!(after, before);
}

#[tokio::test]
async fn gpu_that_is_partitioned_under_a_running_plugin_is_offered_in_parts_that_can_be_had() {
    let whole =
        PARTITIONED.replace(", mig-instances: [1g.10gb, 3g.40gb]", "").replace("A100-SXM4", "H100-SXM5");
    let rig = rig(bare().yaml(&whole).build().unwrap(), "version: v1\n", &["--mig-strategy=mixed"]).await;
    rig.offers(&[("nvidia.com/gpu", 3)]);
    mig(&rig.node, &["mode", "--gpu=2", "on"]);
    mig(&rig.node, &["create", "--gpu=2", "1g.10gb"]);
    rig.offers(&[("nvidia.com/gpu", 2), ("nvidia.com/mig-1g.10gb", 1)]);
}

#[tokio::test]
async fn uneven_node_offers_the_profile_that_most_have_under_single_and_says_what_it_leaves_out() {
    let uneven = PARTITIONED.replace("[1g.10gb, 3g.40gb]", "[1g.10gb, 1g.10gb, 3g.40gb]");
    let rig = rig(bare().yaml(&uneven).build().unwrap(), "version: v1\n", &["--mig-strategy=single"]).await;
    rig.offers(&[("nvidia.com/gpu", 2)]);
    rig.plugin.ready_and_says(&["1 of 3g.40gb", "GPU 0"]).unwrap();
}

#[tokio::test]
async fn sighup_reads_config_and_driver_again() {
    let rig = rig(bare().build().unwrap(), SHARED_4, &[]).await;
    counts(&rig.kubelet, 32, 32);
    rig.plugin.signal(Signal::HUP).unwrap();
    rig.plugin.says("the config file is read again, as asked").unwrap();
    rig.plugin.says("looking at everything, as asked").unwrap();
    counts(&rig.kubelet, 32, 32);
}

pub fn mig(node: &SimNode, words: &[&str]) {
    let mut command = node.command("nvml-sim").unwrap();
    let done = command.arg("mig").args(words).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}
