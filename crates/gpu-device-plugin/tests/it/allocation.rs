//! What a pod gets, and what is refused.

use std::path::Path;

use kubelet_api::deviceplugin::v1beta1::{
    AllocateRequest, ContainerAllocateRequest, ContainerPreferredAllocationRequest, PreStartContainerRequest,
    PreferredAllocationRequest,
};
use sim_node::assert_golden;
use tonic::Code;

use crate::harness::{RESOURCE, client, counts, eventually, gpus, serving};

fn asking(ids: &[&str]) -> AllocateRequest {
    let devices_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    AllocateRequest { container_requests: vec![ContainerAllocateRequest { devices_ids }] }
}

#[tokio::test]
async fn plugin_registers_and_lists_8_gpus_with_their_numa_nodes() {
    let (node, kubelet, plugin) = serving().await;
    let state = kubelet.resources();
    let mut listed: Vec<_> =
        state.resources[RESOURCE].devices.iter().map(|device| device.id.clone()).collect();
    let mut expected = gpus(&node);
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    assert!(state.resources[RESOURCE].devices.iter().all(|device| device.numa.len() == 1), "{state:?}");
    plugin.ready().unwrap();
}

#[tokio::test]
async fn pod_that_asks_for_2_gets_exactly_two_cdi_names_that_the_spec_has() {
    let (node, kubelet, _plugin) = serving().await;
    let allocation = kubelet.allocate("pod", "main", RESOURCE, 2).await.unwrap();

    let mut expected: Vec<_> = allocation.devices.iter().map(|id| format!("gantry.dev/gpu={id}")).collect();
    expected.sort();
    let mut names = allocation.injection.cdi_devices.clone();
    names.sort();
    assert_eq!(names, expected);
    let spec: serde_json::Value =
        serde_json::from_slice(&std::fs::read(node.cdi_dir().join("gantry.dev-gpu.json")).unwrap()).unwrap();
    let in_spec: Vec<_> =
        spec["devices"].as_array().unwrap().iter().map(|device| device["name"].as_str().unwrap()).collect();
    assert!(allocation.devices.iter().all(|id| in_spec.contains(&id.as_str())), "{in_spec:?}");
}

#[tokio::test]
async fn answer_to_allocate_is_as_the_golden_says() {
    let (node, _kubelet, _plugin) = serving().await;
    let gpus = gpus(&node);
    let answer = client(&node).await.allocate(asking(&[&gpus[5], &gpus[2]])).await.unwrap().into_inner();
    let shown = format!("{answer:#?}\n");
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/allocate-two-gpus.txt");
    assert_golden(Path::new(golden), &shown);
}

// Fails if allocate.rs passes over ids that it does not know.
#[tokio::test]
async fn f19_unknown_device_is_an_invalid_argument_and_changes_nothing() {
    let (node, kubelet, plugin) = serving().await;
    let mut client = client(&node).await;
    let status = client.allocate(asking(&["GPU-00000000-0000-0000-0000-000000000000"])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("GPU-00000000-0000-0000-0000-000000000000"), "{}", status.message());

    assert!(client.allocate(asking(&[&gpus(&node)[0]])).await.is_ok());
    counts(&kubelet, 8, 8);
    assert!(
        (plugin
            .metric("gantry_device_plugin_allocations_total{resource=\"nvidia.com/gpu\",result=\"refused\"}")
            .unwrap()
            - 1.0)
            .abs()
            < 0.1
    );
}

// Fails if preferred.rs refuses ids that it does not know.
#[tokio::test]
async fn k08_k09_f20_preference_is_answered_for_any_question() {
    let (node, _kubelet, plugin) = serving().await;
    plugin.says("topology known").unwrap();
    let mut client = client(&node).await;
    let gpus = gpus(&node);
    for (available, must, size, expected) in [
        (gpus.clone(), vec![], 4, 4),
        (gpus[3..].to_vec(), vec![gpus[4].clone()], 2, 2),
        (vec!["nonsense".to_owned(), gpus[0].clone()], vec![], 2, 2),
        (vec![], vec![], 3, 0),
        (gpus.clone(), vec![], -1, 0),
    ] {
        let asked = ContainerPreferredAllocationRequest {
            available_device_i_ds: available,
            must_include_device_i_ds: must,
            allocation_size: size,
        };
        let request = PreferredAllocationRequest { container_requests: vec![asked.clone()] };
        let answer = client.get_preferred_allocation(request).await.unwrap().into_inner();
        assert_eq!(answer.container_responses[0].device_i_ds.len(), expected, "{asked:?}");
    }
    assert!(client.pre_start_container(PreStartContainerRequest::default()).await.is_ok());
}

#[tokio::test]
async fn spec_that_somebody_removes_is_written_again() {
    let (node, _kubelet, _plugin) = serving().await;
    let before = std::fs::read(node.cdi_dir().join("gantry.dev-gpu.json")).unwrap();
    std::fs::remove_file(node.cdi_dir().join("gantry.dev-gpu.json")).unwrap();
    let after = eventually("the spec is back", || std::fs::read(node.cdi_dir().join("gantry.dev-gpu.json")));
    assert_eq!(before, after);
}
