//! What pods hold, while configs, MIG devices, the plugin and the kubelet change under them.

use fake_kubelet::{Event, FakeKubelet};
use sim_node::SimNode;

use crate::harness::{QUICK, RESOURCE, bare, counts, eventually, gpus, start_plugin};
use crate::resources::{PARTITIONED, SHARED_4, config_file, mig, rig, write};

/// Ids that the kubelet takes for sick.
fn unhealthy(kubelet: &FakeKubelet, resource: &str) -> Vec<String> {
    let found = kubelet.resources().resources.remove(resource).unwrap_or_default();
    found.devices.into_iter().filter(|device| !device.healthy).map(|device| device.id).collect()
}

fn restart_plugin(node: &SimNode) -> sim_node::Process {
    let file = format!("--config-file={}", config_file(node).display());
    start_plugin(node, &[&QUICK[..], &[file.as_str()]].concat())
}

// Fails without `Staged::retired` in `observe/projection.rs`, and at the restart without the kept file.
#[tokio::test]
async fn k12_held_shares_beyond_a_smaller_config_stay_listed_over_restarts_until_released() {
    let rig = rig(bare().build().unwrap(), SHARED_4, &[]).await;
    counts(&rig.kubelet, 32, 32);
    let held = rig.kubelet.allocate("pod", "main", RESOURCE, 32).await.unwrap().devices;
    write(&rig.node, &SHARED_4.replace("4}", "2}"));
    // The kubelet's own list, at once and in one message: 16 that are offered, and 16 that are held beside them.
    counts(&rig.kubelet, 32, 16);
    let gone: Vec<String> =
        held.into_iter().filter(|id| id.ends_with("::2") || id.ends_with("::3")).collect();
    assert_eq!(unhealthy(&rig.kubelet, RESOURCE), gone);
    rig.plugin.ready_and_says(&["held by pods and not offered any more", "and 8 more"]).unwrap();
    let metric = format!("gantry_device_plugin_retired_devices{{resource=\"{RESOURCE}\"}}");
    assert!((rig.plugin.metric(&metric).unwrap() - 16.0).abs() < 0.1);
    eventually("what is held is kept", || rig.node.state_dir().join("device-plugin/held.json").metadata());

    let crate::resources::Rig { plugin, kubelet, node } = rig;
    let seen = kubelet.log().len();
    drop(plugin);
    // The kubelet tells nothing to the next one, until it is back.
    kubelet.stop().await;
    let plugin = restart_plugin(&node);
    plugin.readiness_says(&["kubelet"]).unwrap();
    kubelet.restart().await.unwrap();
    counts(&kubelet, 32, 16);
    assert_eq!(unhealthy(&kubelet, RESOURCE), gone);
    let lists: Vec<usize> = kubelet.log()[seen..]
        .iter()
        .filter_map(|happening| match happening.event {
            Event::Listed { devices, .. } => Some(devices),
            _ => None,
        })
        .collect();
    assert!(lists.iter().all(|devices| *devices == 32), "{lists:?}");

    kubelet.release("pod");
    counts(&kubelet, 16, 16);
    plugin.ready().unwrap();
}

// Without `Staged::waiting` the GPU is offered whole and in shares at once.
#[tokio::test]
async fn held_whole_gpu_is_shared_only_when_its_pod_has_ended() {
    let rig = rig(bare().build().unwrap(), "version: v1\n", &[]).await;
    counts(&rig.kubelet, 8, 8);
    let held = rig.kubelet.allocate("pod", "main", RESOURCE, 1).await.unwrap().devices.remove(0);
    write(&rig.node, SHARED_4);
    counts(&rig.kubelet, 29, 28);
    assert_eq!(unhealthy(&rig.kubelet, RESOURCE), std::slice::from_ref(&held));
    let share = format!("{held}::");
    assert!(rig.resource(RESOURCE).devices.iter().all(|device| !device.id.starts_with(&share)));
    rig.plugin.ready_and_says(&["4 shares of GPU", "will be offered", &held]).unwrap();
    assert!((rig.plugin.metric("gantry_device_plugin_config_staged_devices").unwrap() - 1.0).abs() < 0.1);
    // A container that crashes is started again, as if nothing were.
    rig.kubelet.restart_container("pod", "main", RESOURCE).await.unwrap();
    rig.kubelet.release("pod");
    counts(&rig.kubelet, 32, 32);
    rig.plugin.ready().unwrap();
}

#[tokio::test]
async fn held_gpu_that_the_config_leaves_out_or_renames_stays_under_its_resource_until_released() {
    let rig = rig(bare().build().unwrap(), "version: v1\n", &[]).await;
    counts(&rig.kubelet, 8, 8);
    let held = rig.kubelet.allocate("pod", "main", RESOURCE, 1).await.unwrap().devices.remove(0);
    write(&rig.node, &SHARED_4.replace("timeSlicing: {", "timeSlicing: {renameByDefault: true, "));
    counts(&rig.kubelet, 1, 0);
    eventually("the others are shared under the other name", || {
        let shared = rig.resource("nvidia.com/gpu.shared");
        if shared.allocatable == 28 { Ok(()) } else { Err(format!("{shared:?}")) }
    });
    rig.kubelet.release("pod");
    rig.offers(&[("nvidia.com/gpu.shared", 32)]);
    assert!(gpus(&rig.node).contains(&held));
}

// Fails without `Staged::retired` in `observe/projection.rs`.
#[tokio::test]
async fn k12_held_mig_device_that_is_destroyed_stays_listed_until_released() {
    let rig =
        rig(bare().yaml(PARTITIONED).build().unwrap(), "version: v1\n", &["--mig-strategy=mixed"]).await;
    rig.offers(&[("nvidia.com/gpu", 2), ("nvidia.com/mig-1g.10gb", 1), ("nvidia.com/mig-3g.40gb", 1)]);
    let profile = "nvidia.com/mig-3g.40gb";
    let held = rig.kubelet.allocate("pod", "main", profile, 1).await.unwrap().devices;
    mig(&rig.node, &["destroy", "--gpu=2", "--gi=1"]);
    eventually("the device is listed as sick", || {
        let sick = unhealthy(&rig.kubelet, profile);
        if sick == held { Ok(()) } else { Err(format!("{:?}", rig.resource(profile))) }
    });
    rig.kubelet.release("pod");
    rig.offers(&[("nvidia.com/gpu", 2), ("nvidia.com/mig-1g.10gb", 1)]);
}

/// What the kubelet's checkpoint becomes while it is down: its pods' containers run on.
async fn kubelet_forgets_its_pods(damage: impl Fn(&std::path::Path)) {
    let rig = rig(bare().build().unwrap(), SHARED_4, &[]).await;
    counts(&rig.kubelet, 32, 32);
    rig.kubelet.allocate("pod", "main", RESOURCE, 32).await.unwrap();
    write(&rig.node, &SHARED_4.replace("4}", "2}"));
    counts(&rig.kubelet, 32, 16);
    eventually("what is held is kept", || rig.node.state_dir().join("device-plugin/held.json").metadata());
    rig.kubelet.stop().await;
    damage(&rig.node.plugin_dir().join("kubelet_internal_checkpoint"));
    let seen = rig.kubelet.log().len();
    rig.kubelet.restart().await.unwrap();
    assert!(rig.kubelet.resources().pods.is_empty());

    // It may only not have heard of its pods yet: first all is as it was, and then what it says counts.
    rig.plugin.says("it has lost its checkpoint").unwrap();
    counts(&rig.kubelet, 16, 16);
    let first = rig.kubelet.log()[seen..].iter().find_map(|happening| match happening.event {
        Event::Listed { devices, .. } => Some(devices),
        _ => None,
    });
    assert_eq!(first, Some(32));
    let is = |sample: &str, wanted: f64| {
        let value = rig.plugin.metric(sample).unwrap();
        assert!((value - wanted).abs() < 0.1, "{sample} is {value}, wanted {wanted}");
    };
    is("gantry_device_plugin_holdings_forgotten_total", 32.0);
    is(&format!("gantry_device_plugin_held_devices{{resource=\"{RESOURCE}\"}}"), 0.0);
    is(&format!("gantry_device_plugin_retired_devices{{resource=\"{RESOURCE}\"}}"), 0.0);
    rig.plugin.ready().unwrap();
    assert!(rig.kubelet.allocate("next", "main", RESOURCE, 16).await.is_ok());
}

// Fails without `settling` in `Belief::answered`, and without `tell_forgotten`: nothing is told.
#[tokio::test]
async fn k15_f14_kubelet_whose_checkpoint_is_deleted_is_believed_after_a_while_and_told() {
    kubelet_forgets_its_pods(|checkpoint| std::fs::remove_file(checkpoint).unwrap()).await;
}

// Fails without `settling` in `Belief::answered`, and without `tell_forgotten`: nothing is told.
#[tokio::test]
async fn k15_f15_kubelet_whose_checkpoint_is_cut_short_is_believed_after_a_while_and_told() {
    kubelet_forgets_its_pods(|checkpoint| {
        let whole = std::fs::read(checkpoint).unwrap();
        std::fs::write(checkpoint, &whole[..whole.len() / 2]).unwrap();
    })
    .await;
}

// Fails if `Belief::answered` takes every container that held something for one that is still there.
#[tokio::test]
async fn pod_that_ended_during_an_update_of_the_plugin_is_not_told_as_a_lost_checkpoint() {
    let rig = rig(bare().build().unwrap(), SHARED_4, &[]).await;
    counts(&rig.kubelet, 32, 32);
    rig.kubelet.allocate("pod", "main", RESOURCE, 3).await.unwrap();
    let crate::resources::Rig { plugin, kubelet, node } = rig;
    eventually("its holder is kept", || {
        let kept =
            std::fs::read_to_string(node.state_dir().join("device-plugin/held.json")).unwrap_or_default();
        if kept.contains("default/pod/main") { Ok(()) } else { Err(kept) }
    });
    drop(plugin);
    kubelet.release("pod");
    let plugin = restart_plugin(&node);
    plugin.says("do not any more").unwrap();
    assert!(!plugin.log().contains("checkpoint"), "{}", plugin.log());
}
