//! Topology, NVLinks, affinities and field values, as clients read them.

use nvml_wrapper::enum_wrappers::device::TopologyLevel;
use nvml_wrapper::structs::device::FieldId;

use crate::sim::{in_child, nvml, own_folder};

/// The recovery action's number.
const RECOVERY_ACTION: u32 = 230;

#[test]
fn dgx_a100_pairs_share_a_switch_and_numa_nodes_are_apart() {
    in_child("placement::dgx_a100_pairs_share_a_switch_and_numa_nodes_are_apart", "dgx-a100", || {
        let nvml = nvml();
        let gpu = |index| nvml.device_by_index(index).unwrap();
        let level = |one, other| gpu(one).topology_common_ancestor(gpu(other)).unwrap();
        assert!(matches!(level(0, 1), TopologyLevel::Single));
        // One socket, but two of its NUMA nodes: `nvidia-smi topo -m` of such a machine says SYS.
        assert!(matches!(level(0, 2), TopologyLevel::System));
        assert!(matches!(level(0, 7), TopologyLevel::System));
    });
}

#[test]
fn dgx_h100_gpus_of_one_numa_node_share_it() {
    in_child("placement::dgx_h100_gpus_of_one_numa_node_share_it", "dgx-h100", || {
        let nvml = nvml();
        let gpu = |index| nvml.device_by_index(index).unwrap();
        let level = |one, other| gpu(one).topology_common_ancestor(gpu(other)).unwrap();
        assert!(matches!(level(0, 3), TopologyLevel::Node));
        assert!(matches!(level(0, 4), TopologyLevel::System));
    });
}

/// The PCI ids of what GPU 0's first NVLink ends at.
fn first_remote_id() -> u32 {
    nvml().device_by_index(0).unwrap().link_wrapper_for(0).remote_pci_info().unwrap().pci_device_id
}

#[test]
fn nvswitch_of_a_dgx_a100_is_of_the_ampere_generation() {
    in_child("placement::nvswitch_of_a_dgx_a100_is_of_the_ampere_generation", "dgx-a100", || {
        assert_eq!(first_remote_id(), 0x1AF1_10DE);
    });
}

#[test]
fn nvswitch_of_a_dgx_h100_is_of_the_hopper_generation() {
    in_child("placement::nvswitch_of_a_dgx_h100_is_of_the_hopper_generation", "dgx-h100", || {
        assert_eq!(first_remote_id(), 0x22A3_10DE);
    });
}

#[test]
fn affinity_within_the_socket_spans_all_of_its_numa_nodes() {
    in_child("placement::affinity_within_the_socket_spans_all_of_its_numa_nodes", "dgx-a100", || {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        let cpus = *nvml.lib().nvmlDeviceGetCpuAffinityWithinScope.as_ref().unwrap();
        let memory = *nvml.lib().nvmlDeviceGetMemoryAffinity.as_ref().unwrap();
        let within = |scope| {
            let (mut near, mut nodes) = ([0_u64; 4], [0_u64; 1]);
            // SAFETY: both arrays have as many words as is said.
            unsafe {
                assert_eq!(cpus(device.handle(), 4, near.as_mut_ptr(), scope), 0);
                assert_eq!(memory(device.handle(), 1, nodes.as_mut_ptr(), scope), 0);
            }
            (near, nodes)
        };
        // CPUs 48-63 and 176-191 of NUMA node 3.
        assert_eq!(within(0), ([0xFFFF << 48, 0, 0xFFFF << 48, 0], [0b1000]));
        // CPUs 0-63 and 128-191: NUMA nodes 0 and 2 have no GPU.
        assert_eq!(within(1), ([u64::MAX, 0, u64::MAX, 0], [0b1111]));
    });
}

#[test]
fn dgx_nvlinks_are_active_and_end_at_switches() {
    in_child("placement::dgx_nvlinks_are_active_and_end_at_switches", "dgx-h100", || {
        let nvml = nvml();
        let device = nvml.device_by_index(7).unwrap();
        for link in 0..18 {
            let link = device.link_wrapper_for(link);
            assert!(link.is_active().unwrap());
            let bus = link.remote_pci_info().unwrap().bus_id;
            assert!(bus.starts_with("00000000:0"), "{bus}");
        }
        assert!(device.link_wrapper_for(18).is_active().is_err());
    });
}

#[test]
fn cpu_affinity_is_that_of_the_numa_node() {
    in_child("placement::cpu_affinity_is_that_of_the_numa_node", "dgx-h100", || {
        let nvml = nvml();
        let mask = nvml.device_by_index(0).unwrap().cpu_affinity(4).unwrap();
        // CPUs 0-55 and 112-167.
        assert_eq!(mask, [(1 << 56) - 1, 0xFFFF << 48, (1 << 40) - 1, 0].map(|word: u64| word));
    });
}

#[test]
fn recovery_action_follows_what_was_set() {
    in_child("placement::recovery_action_follows_what_was_set", "dgx-h100", || {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        let read = || {
            let samples = device.field_values_for(&[FieldId(RECOVERY_ACTION)]).unwrap();
            samples.into_iter().next().unwrap().unwrap().value.unwrap()
        };
        assert_eq!(format!("{:?}", read()), "U32(0)");
        own_folder().set("0", "recovery-action", "reboot").unwrap();
        assert_eq!(format!("{:?}", read()), "U32(2)");
    });
}
