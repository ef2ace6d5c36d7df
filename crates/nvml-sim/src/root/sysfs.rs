//! PCI, DMI, NUMA and module files under /sys. It knows sysfs' format.

use super::config_space::{self, Ids};
use super::plan::Plan;
use crate::drain::PciDevice;
use crate::node::{Gpu, Node};
use crate::pci::PciAddress;
use crate::state::State;

/// Where all PCI devices are.
pub const PCI: &str = "sys/bus/pci";

const VENDOR: u16 = 0x10DE;
/// Bridge, other: the class of an NVSwitch.
const NVSWITCH_CLASS: u32 = 0x06_80_00;

/// Lines of a `resource` file: six BARs, the ROM, six BARs of virtual functions.
const REGIONS: usize = 13;
/// Flags of a region, as `<linux/ioport.h>` has them: memory of 32 bits, and of 64 bits that may be prefetched.
const MEMORY_32: u64 = 0x0004_0200;
const MEMORY_64_PREFETCH: u64 = 0x0014_220C;
/// The registers, and the window behind BAR1 that holds them for the CPU: their sizes (assumed).
const REGISTERS_BYTES: u64 = 16 << 20;
const WINDOW_BYTES: u64 = 32 << 20;
/// Where a machine has the regions of its first GPU, and how far those of the next are (assumed).
const LOW: u64 = 0x8000_0000;
const HIGH: u64 = 0x2000_0000_0000;
const STRIDE: u64 = 1 << 40;

/// One folder per PCI device, the machine's name, NUMA nodes and the kernel module.
pub fn plan(plan: &mut Plan, node: &Node, state: &State) {
    plan_pci(plan, node, state);
    for (numa, list) in &node.cpus {
        plan.file(format!("sys/devices/system/node/node{numa}/cpulist"), format!("{}\n", list.as_str()));
    }
    if node.dmi {
        plan.file("sys/class/dmi/id/product_name", format!("{}\n", node.machine));
        plan.file("sys/class/dmi/id/sys_vendor", "Simulated\n");
    }
    plan.file("sys/module/nvidia/version", format!("{}\n", node.driver_version));
    plan.file("sys/module/nvidia/initstate", "live\n");
}

/// The PCI devices, and which of them the driver has.
pub fn plan_pci(plan: &mut Plan, node: &Node, state: &State) {
    for gpu in &node.gpus {
        let removed = state.drains.removed.get(&gpu.uuid);
        if removed == Some(&PciDevice::Removed) {
            continue;
        }
        let model = &gpu.model;
        let (device, subsystem, class) = (model.pci_device, model.pci_subsystem, model.pci_class);
        let ids = Ids { vendor: VENDOR, device, subsystem, class };
        let config = config_space::of_gpu(&ids, gpu.vgpu.as_ref(), gpu.pci_config);
        pci_device(plan, gpu.pci, &ids, gpu.numa, config);
        let folder = folder(gpu.pci);
        plan.file(folder.clone() + "/resource", regions(gpu));
        plan.file(folder.clone() + "/local_cpulist", cpus(node, gpu));
        if removed.is_some() {
            continue;
        }
        plan.link(folder + "/driver", "../../../../bus/pci/drivers/nvidia");
        plan.link(
            format!("sys/bus/pci/drivers/nvidia/{}", gpu.pci),
            format!("../../../../bus/pci/devices/{}", gpu.pci),
        );
    }
    for switch in &node.nvswitches {
        let device = node.nvswitch_device;
        let ids = Ids { vendor: VENDOR, device, subsystem: 0, class: NVSWITCH_CLASS };
        pci_device(plan, *switch, &ids, None, Some(config_space::header(&ids)));
        plan.file(folder(*switch) + "/resource", resource_file(&[]));
    }
}

fn folder(pci: PciAddress) -> String {
    format!("sys/bus/pci/devices/{pci}")
}

fn pci_device(plan: &mut Plan, pci: PciAddress, ids: &Ids, numa: Option<u32>, config: Option<Vec<u8>>) {
    let folder = folder(pci);
    let mut put = |name: &str, text: String| plan.file(format!("{folder}/{name}"), text + "\n");
    put("vendor", format!("0x{:04x}", ids.vendor));
    put("device", format!("0x{:04x}", ids.device));
    put("subsystem_vendor", format!("0x{:04x}", ids.vendor));
    put("subsystem_device", format!("0x{:04x}", ids.subsystem));
    put("class", format!("0x{:06x}", ids.class));
    put("numa_node", numa.map_or("-1".to_owned(), |numa| numa.to_string()));
    if let Some(config) = config {
        plan.file(folder + "/config", config);
    }
}

/// A GPU's regions: registers, frame buffer, and a window.
fn regions(gpu: &Gpu) -> String {
    let index = gpu.place as u64;
    let high = HIGH + index * STRIDE;
    let bar1 = gpu.model.bar1.0;
    resource_file(&[
        (0, LOW + index * REGISTERS_BYTES, REGISTERS_BYTES, MEMORY_32),
        (1, high, bar1, MEMORY_64_PREFETCH),
        (3, high + bar1, WINDOW_BYTES, MEMORY_64_PREFETCH),
    ])
}

/// First address, last address and flags of each region, as the kernel prints them.
fn resource_file(regions: &[(usize, u64, u64, u64)]) -> String {
    let line = |place| {
        let region = regions.iter().find(|(at, _, bytes, _)| *at == place && *bytes > 0);
        let (first, last, flags) =
            region.map_or((0, 0, 0), |(_, first, bytes, flags)| (*first, first + bytes - 1, *flags));
        format!("0x{first:016x} 0x{last:016x} 0x{flags:016x}\n")
    };
    (0..REGIONS).map(line).collect()
}

fn cpus(node: &Node, gpu: &Gpu) -> String {
    let list = gpu.numa.and_then(|numa| node.cpus.get(&numa));
    format!("{}\n", list.map_or("", |list| list.as_str()))
}
