//! `gantry.dev/gpu-management`: daemons of the node that are not privileged, and the state of the GPUs.

use nvml_sim::{Effect, Fault};

use crate::harness::{RESOURCE, bare, eventually, gpus};
use crate::resources::{Rig, rig, write};

const MANAGEMENT: &str = "gantry.dev/gpu-management";
const THREE: &str = "version: v1\ndevices: {exclude: [7]}\ngpuManagement: 3\n";

/// A node of one whole A100, and one with a MIG device.
const PARTITIONED: &str = "seed: mig
driver: {version: 580.95.05, cuda: \"13.0\"}
gpus:
  - {model: A100-SXM4-80GB, pci: \"0000:07:00.0\", numa: 0, pcie: 0/0/0/0}
  - {model: A100-SXM4-80GB, pci: \"0000:0f:00.0\", numa: 0, pcie: 0/0/0/0, mig-instances: [3g.40gb]}
";

impl Rig {
    /// Waits until the kubelet counts so many ids of the management, and of these so many that can be had.
    fn manages(&self, capacity: usize, allocatable: usize) {
        eventually(&format!("{capacity} and {allocatable} of {MANAGEMENT}"), || {
            let found = self.resource(MANAGEMENT);
            let is_so = (found.capacity, found.allocatable) == (capacity, allocatable);
            if is_so { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }

    /// The device nodes that a container gets by these names.
    fn nodes(&self, names: &[String]) -> Vec<String> {
        let view = self.node.resolve_cdi(names).unwrap();
        assert!(view.env.contains(&"NVIDIA_VISIBLE_DEVICES=void".to_owned()), "{view:?}");
        view.device_nodes.into_iter().filter(|node| node.starts_with("/dev/nvidia")).collect()
    }
}

// Without `Parts` of all nodes in the CDI builder, a container would lack what the plugin does not offer.
#[tokio::test]
async fn daemon_gets_every_gpu_that_the_node_has_and_nobody_else_notices() {
    let rig = rig(bare().build().unwrap(), THREE, &[]).await;
    rig.offers(&[(MANAGEMENT, 3), (RESOURCE, 7)]);
    let ids: Vec<String> = rig.resource(MANAGEMENT).devices.into_iter().map(|device| device.id).collect();
    assert_eq!(ids, ["management::0", "management::1", "management::2"]);
    let two = rig.kubelet.allocate("exporter", "main", MANAGEMENT, 2).await.unwrap();
    assert_eq!(two.injection.cdi_devices, ["gantry.dev/gpu=management"]);
    assert!(two.injection.device_nodes.is_empty() && two.injection.envs.is_empty());
    let nodes = rig.nodes(&two.injection.cdi_devices);
    for node in (0..8).map(|minor| format!("/dev/nvidia{minor}")).chain(["/dev/nvidiactl".to_owned()]) {
        assert!(nodes.contains(&node), "{node} is not in {nodes:?}");
    }
    rig.plugin.ready_and_says(&["the config excludes it"]).unwrap();

    // Turned off, it stays for whoever has it, whose container may be started again.
    write(&rig.node, "version: v1\n");
    rig.manages(2, 0);
    assert_eq!(rig.nodes(&two.injection.cdi_devices), nodes);
    rig.kubelet.restart_container("exporter", "main", MANAGEMENT).await.unwrap();
    rig.kubelet.release("exporter");
    rig.offers(&[(RESOURCE, 8)]);
    eventually("the name is gone from the spec", || match rig.node.resolve_cdi(&two.injection.cdi_devices) {
        Ok(_) => Err("it is there"),
        Err(_) => Ok(()),
    });
}

// Without `Watching::management`, which judges no GPU, a sick GPU would take the seats of those who watch it; without its
// look at the driver they would be placed where there is none.
#[tokio::test]
async fn sick_gpus_take_no_daemon_away_and_a_driver_that_goes_does() {
    let rig = rig(bare().build().unwrap(), "version: v1\n", &["--gpu-management=2"]).await;
    rig.offers(&[(MANAGEMENT, 2), (RESOURCE, 8)]);
    rig.plugin.says("watching 8 of 8 GPUs").unwrap();
    for gpu in gpus(&rig.node) {
        rig.node.driver().inject_xid(&gpu, 79, None, None).unwrap();
    }
    eventually("no GPU may take work", || match rig.resource(RESOURCE).allocatable {
        0 => Ok(()),
        some => Err(format!("{some}")),
    });
    rig.manages(2, 2);
    rig.kubelet.allocate("validator", "main", MANAGEMENT, 1).await.unwrap();

    // NVML_ERROR_DRIVER_NOT_LOADED.
    rig.node.driver().add_fault(Fault::new("nvmlInit*", Effect::Return(9))).unwrap();
    rig.node.driver().reload(None).unwrap();
    rig.manages(2, 0);
    rig.plugin.readiness_says(&["\"no-driver\""]).unwrap();
    rig.node.driver().clear_faults(None).unwrap();
    rig.manages(2, 2);
}

// Without `grant::of_management`, NVIDIA's container runtime would be asked for a GPU called management.
#[tokio::test]
async fn kubelet_is_told_the_nodes_where_cdi_is_not_in_use() {
    let node = bare().yaml(PARTITIONED).build().unwrap();
    let envvar = ["--device-list-strategy=envvar", "--mig-strategy=mixed", "--gds-enabled"];
    let rig = rig(node, "version: v1\ngpuManagement: 1\n", &envvar).await;
    rig.manages(1, 1);
    let one = rig.kubelet.allocate("mig-partitioner", "main", MANAGEMENT, 1).await.unwrap().injection;
    assert_eq!(one.envs.into_iter().collect::<Vec<_>>(), [("NVIDIA_VISIBLE_DEVICES".into(), "void".into())]);
    assert!(one.cdi_devices.is_empty() && one.mounts.is_empty() && one.annotations.is_empty());
    let nodes: Vec<String> = one.device_nodes.into_iter().map(|node| node.container_path).collect();
    // By mig/config and mig/monitor instances are made and watched.
    for node in ["nvidiactl", "nvidia0", "nvidia1", "nvidia-caps/nvidia-cap1", "nvidia-caps/nvidia-cap2"] {
        assert!(nodes.contains(&format!("/dev/{node}")), "{node} is not in {nodes:?}");
    }
    assert_eq!(nodes.len(), 4 + 2 + 2 + 2, "and those of its instances: {nodes:?}");
}

// Without the name's reservation in gpu-config, GPUs would stand beside what is none.
#[tokio::test]
async fn no_gpu_is_called_so() {
    let rig = rig(bare().build().unwrap(), THREE, &[]).await;
    rig.offers(&[(MANAGEMENT, 3), (RESOURCE, 7)]);
    let taken = format!("resources: {{gpus: [{{pattern: '*', name: {MANAGEMENT}}}]}}\n");
    write(&rig.node, &taken);
    rig.plugin.readiness_says(&["config-invalid", "resources.gpus[0].name", "gpuManagement"]).unwrap();
    rig.offers(&[(MANAGEMENT, 3), (RESOURCE, 7)]);
}
