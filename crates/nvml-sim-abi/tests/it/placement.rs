//! Topology, NVLinks, affinities and field values, as clients read them.

use nvml_wrapper::enum_wrappers::device::TopologyLevel;
use nvml_wrapper::structs::device::FieldId;

use crate::sim::{in_child, nvml, own_folder};

/// The recovery action's number.
const RECOVERY_ACTION: u32 = 230;

#[test]
fn dgx_a100_pairs_share_a_switch_and_sockets_are_apart() {
    in_child("placement::dgx_a100_pairs_share_a_switch_and_sockets_are_apart", "dgx-a100", || {
        let nvml = nvml();
        let gpu = |index| nvml.device_by_index(index).unwrap();
        let level = |one, other| gpu(one).topology_common_ancestor(gpu(other)).unwrap();
        assert!(matches!(level(0, 1), TopologyLevel::Single));
        assert!(matches!(level(0, 2), TopologyLevel::Node));
        assert!(matches!(level(0, 7), TopologyLevel::System));
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
