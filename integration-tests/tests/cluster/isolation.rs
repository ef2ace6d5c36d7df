//! A pod can open the GPUs that it was given and no other, however it tries.

use std::collections::BTreeSet;

use crate::node::lock;
use crate::pod::{Order, Pod, REFUSED, assert_isolated, gpu_nodes};
use crate::{images, simulation};

#[test]
fn pod_with_one_gpu_opens_its_own_device_and_is_refused_every_other() {
    let node = lock();
    let pod = Pod::create(&node, &Order { gpus: 1, ..Order::default() }).unwrap();
    pod.wait_for("Succeeded").unwrap();
    let report = pod.report().unwrap();

    assert_isolated(&report, 1);
    assert_eq!(report.visible.as_deref(), Some("void"), "NVIDIA's runtime must not add GPUs of its own");
}

#[test]
fn pod_with_one_gpu_gets_no_other_when_its_image_wants_all() {
    let node = lock();
    let order = Order { image: images::WANTS_ALL, gpus: 1, ..Order::default() };
    let pod = Pod::create(&node, &order).unwrap();
    pod.wait_for("Succeeded").unwrap();
    let report = pod.report().unwrap();
    assert_isolated(&report, 1);
    assert_eq!(report.visible.as_deref(), Some("void"), "the spec overrules the image");
}

#[test]
fn pod_with_gpus_has_the_device_nodes_of_those_that_the_kubelet_gave_it() {
    let node = lock();
    // The status of a pod that has ended may have forgotten what it held.
    let pod = Pod::create(&node, &Order { gpus: 3, hold: true, ..Order::default() }).unwrap();
    pod.wait_for("Running").unwrap();
    let given = pod.given().unwrap();
    assert_eq!(given.len(), 3, "{given:?}");
    if node.is_left_out("which devices the given ids stand for") {
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
    assert_eq!(report.libraries.len(), 2, "{report:?}");
    assert!(report.libraries.values().all(Option::is_none), "{report:?}");
    let all: BTreeSet<String> =
        simulation::gpu_numbers().into_iter().chain(simulation::control_numbers()).collect();
    assert_eq!(report.made.keys().cloned().collect::<BTreeSet<_>>(), all);
    assert!(report.made.values().all(|result| result == REFUSED), "{report:?}");
}
