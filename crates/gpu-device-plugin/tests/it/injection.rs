//! How a container gets its devices: the ways that NVIDIA's device plugin has, with the kubelet's view of the answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fake_kubelet::FakeKubelet;
use sim_node::{Process, SimNode};

use crate::harness::{
    PATIENCE, RESOURCE, bare, counts, counts_of, eventually, gpus, start_kubelet, start_plugin,
};

/// A node of one whole A100, and one with two MIG devices.
const PARTITIONED: &str = "seed: mig
driver: {version: 580.95.05, cuda: \"13.0\"}
gpus:
  - {model: A100-SXM4-80GB, pci: \"0000:07:00.0\", numa: 0, pcie: 0/0/0/0}
  - {model: A100-SXM4-80GB, pci: \"0000:0f:00.0\", numa: 0, pcie: 0/0/0/0, mig-instances: [3g.40gb, 3g.40gb]}
";

/// What those are requested by.
const PARTS: &str = "nvidia.com/mig-3g.40gb";

fn spec(node: &SimNode) -> PathBuf {
    node.cdi_dir().join("gantry.dev-gpu.json")
}

/// A plugin that has to ask a runtime for CDI, on a node that has none.
async fn unproven(node: &SimNode, flags: &[&str]) -> (FakeKubelet, Process) {
    let kubelet = start_kubelet(node).await;
    let plugin = start_plugin(node, &[&["--probe-interval=1s"], flags].concat());
    (kubelet, plugin)
}

#[tokio::test]
async fn envvar_alone_waits_for_no_proof_and_writes_no_spec() {
    let node = bare().build().unwrap();
    let (kubelet, plugin) = unproven(&node, &["--device-list-strategy=envvar", "--gds-enabled"]).await;
    counts(&kubelet, 8, 8);
    let two = kubelet.allocate("pod", "main", RESOURCE, 2).await.unwrap();
    let mut named: Vec<&str> = two.injection.envs["NVIDIA_VISIBLE_DEVICES"].split(',').collect();
    named.sort_unstable();
    assert_eq!(named, two.devices.iter().collect::<Vec<_>>());
    assert_eq!(two.injection.envs["NVIDIA_GDS"], "enabled");
    assert!(two.injection.cdi_devices.is_empty() && two.injection.annotations.is_empty());
    plugin.ready().unwrap();
    assert!(!spec(&node).exists());
}

#[tokio::test]
async fn volume_mounts_name_devices_by_index_and_the_kubelet_is_told_the_nodes() {
    let node = bare().yaml(PARTITIONED).build().unwrap();
    let flags = [
        "--device-list-strategy=volume-mounts",
        "--device-id-strategy=index",
        "--pass-device-specs",
        "--mig-strategy=mixed",
    ];
    let (kubelet, plugin) = unproven(&node, &flags).await;
    counts_of(&kubelet, PARTS, 2, 2);
    plugin.ready().unwrap();
    let parts = kubelet.allocate("pod", "main", PARTS, 2).await.unwrap().injection;
    let folder = "/var/run/nvidia-container-devices";
    assert_eq!(parts.envs, BTreeMap::from([("NVIDIA_VISIBLE_DEVICES".to_owned(), folder.to_owned())]));
    let mounts: Vec<(&str, &str)> =
        parts.mounts.iter().map(|mount| (mount.container_path.as_str(), mount.host_path.as_str())).collect();
    let null = "/dev/null";
    assert_eq!(mounts, [(&*format!("{folder}/1:0"), null), (&*format!("{folder}/1:1"), null)]);
    let paths: Vec<&str> = parts.device_nodes.iter().map(|node| node.container_path.as_str()).collect();
    let caps = paths.iter().filter(|path| path.starts_with("/dev/nvidia-caps/nvidia-cap")).count();
    assert_eq!((caps, paths.iter().filter(|path| **path == "/dev/nvidia1").count()), (4, 1), "{paths:?}");
    assert!(paths.contains(&"/dev/nvidiactl") && paths.contains(&"/dev/nvidia-uvm"), "{paths:?}");
    assert!(!paths.contains(&"/dev/nvidia0"), "{paths:?}");
    assert!(parts.device_nodes.iter().all(|node| node.permissions == "rw"));
    assert!(!spec(&node).exists());
}

#[tokio::test]
async fn cdi_annotations_carry_the_names_under_the_prefix() {
    let node = bare().build().unwrap();
    let flags = [
        "--cdi-proof=assume",
        "--device-list-strategy=cdi-annotations",
        "--cdi-annotation-prefix=nvidia.cdi.k8s.io/",
    ];
    let (kubelet, plugin) = unproven(&node, &flags).await;
    counts(&kubelet, 8, 8);
    let one = kubelet.allocate("pod", "main", RESOURCE, 1).await.unwrap();
    let uuid = one.devices.first().unwrap();
    let expected = (format!("nvidia.cdi.k8s.io/gantry_{uuid}"), format!("gantry.dev/gpu={uuid}"));
    assert_eq!(one.injection.annotations, BTreeMap::from([expected]));
    assert!(one.injection.envs.is_empty() && one.injection.cdi_devices.is_empty());
    node.resolve_cdi(&[format!("gantry.dev/gpu={uuid}")]).unwrap();
    plugin.ready().unwrap();
}

#[tokio::test]
async fn change_to_cdi_without_proof_hands_nothing_out_and_back_again_does() {
    let node = bare().build().unwrap();
    let file = node.dir().join("config.yaml");
    let write = |strategy: &str| {
        let next = node.dir().join("next.yaml");
        std::fs::write(&next, format!("flags: {{plugin: {{deviceListStrategy: {strategy}}}}}\n")).unwrap();
        std::fs::rename(next, &file).unwrap();
    };
    write("envvar");
    let named = format!("--config-file={}", file.display());
    let (kubelet, plugin) = unproven(&node, &[&named]).await;
    counts(&kubelet, 8, 8);
    let endpoints = kubelet.resources().resources.remove(RESOURCE).unwrap().endpoints;
    write("cdi-cri");
    plugin.readiness_says(&["cdi-unproven"]).unwrap();
    eventually("the spec is there", || std::fs::metadata(spec(&node)));
    let refused = kubelet.allocate("pod", "main", RESOURCE, 1).await.unwrap_err();
    assert!(refused.to_string().contains("CDI is not proven"), "{refused}");
    write("envvar");
    plugin.ready().unwrap();
    counts(&kubelet, 8, 8);
    assert!(kubelet.allocate("pod", "other", RESOURCE, 1).await.is_ok());
    assert_eq!(kubelet.resources().resources.remove(RESOURCE).unwrap().endpoints, endpoints);
}

#[tokio::test]
async fn program_under_nvidias_name_has_its_defaults_and_passes_over_what_it_would() {
    let node = bare().build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let program = node.dir().join("nvidia-device-plugin");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gpu-device-plugin"), &program).unwrap();
    let mut command = node.command_at(&program);
    command.args(node.plugin_flags()).env("MPS_ROOT", "/run/nvidia/mps").env("PASS_DEVICE_SPECS", "true");
    let plugin = node.spawn_command("nvidia-device-plugin", command).unwrap();
    plugin.says("MPS is not supported").unwrap();
    counts(&kubelet, 8, 8);
    let one = kubelet.allocate("pod", "main", RESOURCE, 1).await.unwrap();
    assert_eq!(one.injection.envs["NVIDIA_VISIBLE_DEVICES"], *one.devices.first().unwrap());
    let at = gpus(&node).iter().position(|gpu| one.devices.contains(gpu)).unwrap();
    let has = |path: &str| one.injection.device_nodes.iter().any(|node| node.container_path == path);
    assert!(has(&format!("/dev/nvidia{at}")), "{:?}", one.injection.device_nodes);
}

#[test]
fn missing_driver_is_waited_for_or_ends_the_program_as_the_flags_and_the_file_say() {
    let node = bare().without_driver().build().unwrap();
    let file = node.dir().join("config.yaml");
    std::fs::write(&file, "flags: {failOnInitError: true}\n").unwrap();
    let named = format!("--config-file={}", file.display());
    let ends = |flags: &[&str]| {
        let plugin = start_plugin(&node, flags);
        let status = plugin.wait(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(1), "{}", plugin.log());
        assert!(plugin.log().contains("NVML cannot be initialised"), "{}", plugin.log());
    };
    ends(&["--compat"]);
    ends(&[&named]);
    let waits = |flags: &[&str]| {
        let plugin = start_plugin(&node, flags);
        plugin.readiness_says(&["no-driver"]).unwrap();
    };
    waits(&[]);
    waits(&["--fail-on-init-error=false", &named]);
}

#[test]
fn setting_that_holds_until_the_end_is_read_at_the_start_and_its_change_is_told() {
    let node = bare().build().unwrap();
    let file = node.dir().join("config.yaml");
    std::fs::write(&file, "flags: {nvidiaDriverRoot: /nonexistent}\n").unwrap();
    let named = format!("--config-file={}", file.display());
    let plugin = start_plugin(&node, &[&named]);
    plugin.readiness_says(&["no-driver", "/nonexistent"]).unwrap();
    drop(plugin);
    let plugin = start_plugin(&node, &["--cdi-proof=assume", "--nvidia-driver-root=/", &named]);
    plugin.says("CDI spec written").unwrap();
    std::fs::write(&file, "flags: {nvidiaDriverRoot: /elsewhere}\n").unwrap();
    plugin.readiness_says(&["flags.nvidiaDriverRoot changed", "takes effect at the next start"]).unwrap();
}
