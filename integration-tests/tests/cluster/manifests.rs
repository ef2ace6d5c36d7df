//! The manifests: what kustomize makes of them, and what the plugin's container is in the end.

use std::path::Path;

use sim_node::assert_golden;
use test_cluster::{Kubectl, kubectl_program};

use crate::daemon::{PLUGIN, container};
use crate::node::{lock_own, text, workspace};

#[test]
fn manifests_put_together_by_kustomize_are_those_that_were_reviewed() {
    // The first has rights, probes and mounts; the others say what they change.
    for (folder, golden) in [
        ("base/gpu-device-plugin", "base"),
        ("base/gpu-feature-discovery", "feature-discovery"),
        ("overlays/simulated", "simulated"),
        ("overlays/gpu-nodes-only", "gpu-nodes-only"),
        ("overlays/time-slicing", "time-slicing"),
        ("overlays/least-privilege", "least-privilege"),
    ] {
        let folder = workspace().join("manifests").join(folder);
        let kubectl = Kubectl::for_kubeconfig(kubectl_program().unwrap(), Path::new("/dev/null"));
        let made = kubectl.run(&["kustomize", &folder.to_string_lossy()]).unwrap();
        assert_golden(&workspace().join(format!("integration-tests/golden/{golden}.yaml")), &made);
    }
}

#[test]
fn plugin_container_leaves_no_file_in_the_hosts_dev() {
    let Some(node) = lock_own("the plugin's mounts") else { return };
    let pod = PLUGIN.wait_until_running(&node).unwrap();
    let mounts = PLUGIN.mounts(&node, &pod).unwrap();
    let places: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let told = pod["spec"]["containers"][0]["terminationMessagePath"].as_str().unwrap();
    assert!(places.contains(&told), "{told} is not mounted: {mounts}");
    // What is mounted into /dev has a mount point there, which the runtime makes: on the host, since /dev is its.
    let in_dev: Vec<&&str> = places.iter().filter(|place| place.starts_with("/dev/termination")).collect();
    assert!(in_dev.is_empty(), "{in_dev:?}");
    assert!(places.contains(&"/dev"), "{mounts}");
    assert_eq!(text(&container(&pod)["state"]["waiting"]), "null");
}
