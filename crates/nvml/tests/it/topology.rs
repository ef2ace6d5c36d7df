//! How the GPUs are wired.

use gpu_model::{CommonAncestor, Reading};
use nvml::{Code, NvmlError};
use nvml_sim::Effect;

use crate::node::{Node, block_on};

crate::tests![
    dgx_a100_has_each_pair_once_and_twelve_links_of_each_gpu_to_the_switch,
    t4_node_has_one_gpu_and_no_pairs,
    lost_gpu_is_left_out_of_the_topology,
    library_that_lost_its_driver_at_an_address_is_an_error,
    links_between_two_gpus_are_counted_once,
    link_that_a_gpu_does_not_have_hides_none_of_the_others,
    links_that_cannot_be_asked_are_a_failure_and_not_none,
];

/// Two GPUs that four links join, without a switch.
const JOINED: &str = "driver: {version: 580.95.05, cuda: '13.0'}
seed: joined
cpus: {0: 0-7, 1: 8-15}
gpus:
  - {model: A100-SXM4-80GB, pci: '0000:17:00.0', numa: 0, pcie: 0/0/0/0, nvlink-peers: [1, 1, 1, 1]}
  - {model: A100-SXM4-80GB, pci: '0000:65:00.0', numa: 1, pcie: 1/0/0/0, nvlink-peers: [0, 0, 0, 0]}
";

fn dgx_a100_has_each_pair_once_and_twelve_links_of_each_gpu_to_the_switch() {
    let node = Node::of("dgx-a100");
    let topology = block_on(node.nvml().topology()).unwrap();
    assert_eq!(topology.gpus.len(), 8);
    for (gpu, place) in &topology.gpus {
        assert_eq!(place.nvswitch_links, Reading::Value(12), "{gpu}");
    }
    assert_eq!(topology.pairs.len(), 28);
    assert!(topology.pairs.iter().all(|(a, b, _)| a < b), "{:?}", topology.pairs);
    assert!(topology.pairs.is_sorted_by(|(a, b, _), (c, d, _)| (a, b) < (c, d)), "{:?}", topology.pairs);
    assert!(topology.pairs.iter().all(|(_, _, link)| link.nvlinks == 0), "{:?}", topology.pairs);
    let of = |a: usize, b: usize| {
        topology.link(&node.uuid(a).parse().unwrap(), &node.uuid(b).parse().unwrap()).unwrap().ancestor
    };
    assert_eq!(of(0, 7), CommonAncestor::System);
    assert!(of(0, 1) < of(0, 7), "{:?}", of(0, 1));
}

fn t4_node_has_one_gpu_and_no_pairs() {
    let node = Node::of("t4");
    let topology = block_on(node.nvml().topology()).unwrap();
    assert_eq!((topology.gpus.len(), topology.pairs.len()), (1, 0));
    assert!(
        topology.gpus.values().all(|place| place.nvswitch_links == Reading::NotSupported),
        "{topology:?}"
    );
}

fn lost_gpu_is_left_out_of_the_topology() {
    let node = Node::of("dgx-a100");
    node.state.lose("0", None).unwrap();
    let topology = block_on(node.nvml().topology()).unwrap();
    assert_eq!((topology.gpus.len(), topology.pairs.len()), (7, 21));
}

fn library_that_lost_its_driver_at_an_address_is_an_error() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    node.fault("nvmlDeviceGetPciInfo_v3", Effect::Return(1), Some(1));
    let error = block_on(nvml.topology()).unwrap_err();
    assert_eq!(error, NvmlError::Call { call: "nvmlDeviceGetPciInfo_v3".into(), code: Code::Uninitialized });
    assert_eq!(block_on(nvml.topology()).unwrap().gpus.len(), 8);
}

fn links_between_two_gpus_are_counted_once() {
    let node = Node::from_yaml(JOINED);
    let topology = block_on(node.nvml().topology()).unwrap();
    let [(_, _, link)] = topology.pairs.as_slice() else { panic!("{topology:?}") };
    assert_eq!((link.nvlinks, link.ancestor), (4, CommonAncestor::System));
    assert!(topology.gpus.values().all(|place| place.nvswitch_links == Reading::Value(0)), "{topology:?}");
}

fn link_that_a_gpu_does_not_have_hides_none_of_the_others() {
    let node = Node::of("dgx-a100");
    node.fault("nvmlDeviceGetNvLinkState", Effect::Return(3), Some(1));
    let topology = block_on(node.nvml().topology()).unwrap();
    let first = &topology.gpus[&node.uuid(0).parse().unwrap()];
    assert_eq!(first.nvswitch_links, Reading::Value(11));
}

fn links_that_cannot_be_asked_are_a_failure_and_not_none() {
    let node = Node::of("dgx-a100");
    node.fault_of_gpu(4, "nvmlDeviceGetNvLinkState", Effect::Return(999));
    let topology = block_on(node.nvml().topology()).unwrap();
    let links = |gpu: usize| topology.gpus[&node.uuid(gpu).parse().unwrap()].nvswitch_links.clone();
    assert_eq!(links(4), Reading::Failed { call: "nvmlDeviceGetNvLinkState".into(), code: 999 });
    assert_eq!(links(5), Reading::Value(12));
}
