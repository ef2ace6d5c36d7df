//! A pod can open the GPUs that it was given and no other, however it tries.

use std::collections::BTreeSet;

use crate::node::lock;
use crate::pod::{Order, Pod, gpu_nodes};
use crate::{images, simulation};

#[test]
fn pod_with_one_gpu_opens_its_own_device_and_is_refused_every_other() {
    let node = lock();
    let pod = Pod::create(&node, &Order { gpus: 1, ..Order::default() }).unwrap();
    pod.wait_for("Succeeded").unwrap();
    let report = pod.report().unwrap();

    let nodes = gpu_nodes(&report);
    assert_eq!(nodes.len(), 1, "{report:?}");
    for (name, result) in &report.opened {
        assert_eq!(result, "ok", "/dev/{name}: {report:?}");
    }
    for control in ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"] {
        assert!(report.nodes.contains_key(control), "no /dev/{control}: {report:?}");
    }
    let own = &report.nodes[nodes.first().unwrap()];
    for (number, result) in &report.made {
        let expected = if number == own { "ok" } else { "Operation not permitted (os error 1)" };
        assert_eq!(result, expected, "device {number}, own {own}: {report:?}");
    }
    assert_eq!(report.made.len(), 8, "{report:?}");
    assert_eq!(report.visible.as_deref(), Some("void"), "NVIDIA's runtime must not add GPUs of its own");
}

#[test]
fn pod_with_gpus_has_the_device_nodes_of_those_that_the_kubelet_gave_it() {
    let node = lock();
    let pod = Pod::create(&node, &Order { gpus: 3, ..Order::default() }).unwrap();
    pod.wait_for("Succeeded").unwrap();
    let given = pod.given().unwrap();
    assert_eq!(given.len(), 3, "{given:?}");
    if !node.is_own() {
        return;
    }
    let minors = simulation::minors(&node).unwrap();
    let expected: BTreeSet<String> = given.iter().map(|uuid| format!("nvidia{}", minors[uuid])).collect();
    assert_eq!(gpu_nodes(&pod.report().unwrap()), expected);
}

#[test]
fn pod_without_a_request_gets_no_gpu() {
    gets_nothing(images::DEBIAN, None);
}

#[test]
fn pod_without_a_request_gets_no_gpu_when_its_image_wants_all() {
    gets_nothing(images::WANTS_ALL, Some("all"));
}

fn gets_nothing(image: &str, visible: Option<&str>) {
    let node = lock();
    let pod = Pod::create(&node, &Order { image, libraries: true, ..Order::default() }).unwrap();
    pod.wait_for("Succeeded").unwrap();
    let report = pod.report().unwrap();
    assert_eq!(report.visible.as_deref(), visible);
    assert!(report.nodes.is_empty(), "{report:?}");
    assert!(report.libraries.values().all(Option::is_none), "{report:?}");
    assert!(
        report.made.values().all(|result| result == "Operation not permitted (os error 1)"),
        "{report:?}"
    );
}
