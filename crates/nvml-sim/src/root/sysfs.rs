//! PCI, DMI, NUMA and module files under /sys. It knows sysfs' format and the head of a PCI configuration space.

use super::plan::Plan;
use crate::node::{Gpu, Node};
use crate::pci::PciAddress;

const VENDOR: u16 = 0x10DE;
/// Bridge, other: the class of an NVSwitch.
const NVSWITCH_CLASS: u32 = 0x06_80_00;

/// One folder per PCI device, the machine's name, NUMA nodes and the kernel module.
pub fn plan(plan: &mut Plan, node: &Node) {
    for gpu in &node.gpus {
        let model = &gpu.model;
        let ids = Ids { device: model.pci_device, subsystem: model.pci_subsystem, class: model.pci_class };
        pci_device(plan, gpu.pci, &ids, gpu.numa);
        let folder = folder(gpu.pci);
        plan.link(folder.clone() + "/driver", "../../../../bus/pci/drivers/nvidia");
        plan.file(folder + "/local_cpulist", cpus(node, gpu));
        plan.link(
            format!("sys/bus/pci/drivers/nvidia/{}", gpu.pci),
            format!("../../../../bus/pci/devices/{}", gpu.pci),
        );
    }
    for switch in &node.nvswitches {
        let ids = Ids { device: node.nvswitch_device, subsystem: 0, class: NVSWITCH_CLASS };
        pci_device(plan, *switch, &ids, None);
    }
    for (numa, list) in &node.cpus {
        plan.file(format!("sys/devices/system/node/node{numa}/cpulist"), format!("{}\n", list.as_str()));
    }
    plan.file("sys/class/dmi/id/product_name", format!("{}\n", node.machine));
    plan.file("sys/class/dmi/id/sys_vendor", "Simulated\n");
    plan.file("sys/module/nvidia/version", format!("{}\n", node.driver_version));
    plan.file("sys/module/nvidia/initstate", "live\n");
}

struct Ids {
    device: u16,
    subsystem: u16,
    class: u32,
}

fn folder(pci: PciAddress) -> String {
    format!("sys/bus/pci/devices/{pci}")
}

fn pci_device(plan: &mut Plan, pci: PciAddress, ids: &Ids, numa: Option<u32>) {
    let folder = folder(pci);
    let mut put = |name: &str, text: String| plan.file(format!("{folder}/{name}"), text + "\n");
    put("vendor", format!("0x{VENDOR:04x}"));
    put("device", format!("0x{:04x}", ids.device));
    put("subsystem_vendor", format!("0x{VENDOR:04x}"));
    put("subsystem_device", format!("0x{:04x}", ids.subsystem));
    put("class", format!("0x{:06x}", ids.class));
    put("numa_node", numa.map_or("-1".to_owned(), |numa| numa.to_string()));
    plan.file(folder + "/config", config_space(ids));
}

/// 256 bytes: ids and class, no capabilities.
fn config_space(ids: &Ids) -> Vec<u8> {
    let mut space = vec![0_u8; 256];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = space.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0x00, &VENDOR.to_le_bytes());
    put(0x02, &ids.device.to_le_bytes());
    put(0x09, &ids.class.to_le_bytes()[..3]);
    put(0x2C, &VENDOR.to_le_bytes());
    put(0x2E, &ids.subsystem.to_le_bytes());
    space
}

fn cpus(node: &Node, gpu: &Gpu) -> String {
    let list = gpu.numa.and_then(|numa| node.cpus.get(&numa));
    format!("{}\n", list.map_or("", |list| list.as_str()))
}
