//! Topology, NVLinks, affinities and field values, as clients read them.

use std::time::Duration;

use nvml_sim::Code;
use nvml_wrapper::enum_wrappers::device::TopologyLevel;
use nvml_wrapper::structs::device::FieldId;

use crate::sim::{in_child, in_child_on, nvml, own_folder};

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
fn memory_affinity_that_does_not_fit_is_not_an_empty_mask() {
    const FAR: &str = "driver: {version: 580.95.05, cuda: \"13.0\"}\nseed: far\n\
                       gpus: [{model: T4, pci: \"0000:00:1f.0\", numa: 70}]\n";
    in_child_on("placement::memory_affinity_that_does_not_fit_is_not_an_empty_mask", FAR, || {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        let memory = *nvml.lib().nvmlDeviceGetMemoryAffinity.as_ref().unwrap();
        let mut nodes = [0_u64; 2];
        // SAFETY: the array has at least as many words as is said.
        unsafe {
            assert_eq!(memory(device.handle(), 1, nodes.as_mut_ptr(), 0), Code::NOT_SUPPORTED.0);
            assert_eq!(memory(device.handle(), 2, nodes.as_mut_ptr(), 0), 0);
        }
        assert_eq!(nodes, [0, 1 << 6]);
    });
}

#[test]
fn peer_capabilities_end_before_the_unknown_one() {
    in_child("placement::peer_capabilities_end_before_the_unknown_one", "dgx-a100", || {
        let nvml = nvml();
        let status = *nvml.lib().nvmlDeviceGetP2PStatus.as_ref().unwrap();
        let (one, other) = (nvml.device_by_index(0).unwrap(), nvml.device_by_index(1).unwrap());
        for index in 0..8 {
            let mut answer = 9;
            // SAFETY: `answer` is valid for writes.
            let code = unsafe { status(one.handle(), other.handle(), index, &mut answer) };
            assert_eq!(code, if index < 5 { 0 } else { Code::INVALID_ARGUMENT.0 }, "{index}");
        }
    });
}

#[test]
fn energy_follows_the_clock_and_never_falls() {
    in_child("placement::energy_follows_the_clock_and_never_falls", "t4", || {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        let energy = || device.total_energy_consumption().unwrap();
        own_folder().freeze_clock().unwrap();
        let before = energy();
        assert_eq!(energy(), before);
        own_folder().advance_clock(Duration::from_secs(3600)).unwrap();
        // 9 W for an hour.
        let after = energy();
        assert_eq!(after - before, 9 * 3600 * 1000);
        own_folder().resume_clock().unwrap();
        assert!(energy() >= after);
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
