//! How the GPUs are wired.

use gpu_model::CommonAncestor;
use nvml::{Code, NvmlError};
use nvml_sim::Effect;

use crate::node::{Node, block_on};

crate::tests![
    dgx_a100_has_each_pair_once_and_twelve_links_of_each_gpu_to_the_switch,
    t4_node_has_one_gpu_and_no_pairs,
    lost_gpu_is_left_out_of_the_topology,
    library_that_lost_its_driver_at_an_address_is_an_error,
];

fn dgx_a100_has_each_pair_once_and_twelve_links_of_each_gpu_to_the_switch() {
    let node = Node::of("dgx-a100");
    let topology = block_on(node.nvml().topology()).unwrap();
    assert_eq!(topology.gpus.len(), 8);
    for (gpu, place) in &topology.gpus {
        assert_eq!(place.nvswitch_links, 12, "{gpu}");
        assert!(place.numa_node.is_some(), "{gpu}");
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
    assert!(topology.gpus.values().all(|place| place.nvswitch_links == 0), "{topology:?}");
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
