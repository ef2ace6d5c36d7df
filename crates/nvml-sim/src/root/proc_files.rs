//! The driver's files under /proc. It knows their format, taken from what drivers print.

use super::capabilities;
use super::device_nodes::MAJOR;
use super::plan::Plan;
use crate::identity;
use crate::node::{Gpu, Node};
use crate::node_file::KernelModule;
use crate::state::State;

/// File modes of capabilities' device nodes, as the driver prints them: in decimal.
const ROOT_MAY_READ: u32 = 0o400;
const ALL_MAY_READ: u32 = 0o444;

/// Where the driver's version is told.
pub const VERSION: &str = "proc/driver/nvidia/version";
/// Which boot this is.
pub const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";
/// The GPUs that the driver has.
pub const GPUS: &str = "proc/driver/nvidia/gpus";
/// The capabilities that are there.
pub const CAPABILITIES: &str = "proc/driver/nvidia/capabilities";

/// /proc/driver/nvidia, /proc/driver/nvidia-caps, and the driver's lines in /proc/modules and /proc/devices.
pub fn plan(plan: &mut Plan, node: &Node, state: &State) {
    plan_version(plan, node);
    plan.file("proc/driver/nvidia/params", "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\n");
    plan_gpus(plan, node, state);
    let capable = capabilities::are_there(node);
    if capable {
        plan.file("proc/driver/nvidia-caps/mig-minors", capabilities::minors());
    }
    plan_capabilities(plan, node, state);
    plan.file(
        "proc/modules",
        "nvidia_uvm 2000000 0 - Live 0x0000000000000000 (O)\n\
         nvidia_modeset 1600000 0 - Live 0x0000000000000000 (O)\n\
         nvidia 60000000 2 nvidia_uvm,nvidia_modeset, Live 0x0000000000000000 (O)\n",
    );
    let caps = if capable { &["nvidia-caps"][..] } else { &[] };
    let names = ["nvidia", "nvidiactl", "nvidia-uvm"].iter().chain(caps);
    let devices: String = names.map(|name| format!("{MAJOR:3} {name}\n")).collect();
    plan.file("proc/devices", format!("Character devices:\n{devices}\nBlock devices:\n"));
    plan_boot(plan, node, state);
}

/// The id of this boot, which follows from the machine and how often it booted.
pub fn plan_boot(plan: &mut Plan, node: &Node, state: &State) {
    let first = node.gpus.first().map_or("none", |gpu| gpu.uuid.as_str());
    let boots = usize::try_from(state.reboots).unwrap_or(usize::MAX);
    let boot = identity::gpu_uuid(first, usize::MAX.saturating_sub(boots));
    plan.file(BOOT_ID, format!("{}\n", boot.trim_start_matches("GPU-")));
}

/// The version of the driver that is loaded.
pub fn plan_version(plan: &mut Plan, node: &Node) {
    let version = &node.driver_version;
    let module = match node.kernel_module {
        KernelModule::Open => "Open Kernel Module for x86_64",
        KernelModule::Proprietary => "x86_64 Kernel Module",
    };
    plan.file(VERSION, format!("NVRM version: NVIDIA UNIX {module}  {version}  (simulated by nvml-sim)\n"));
}

/// The GPUs that the driver has.
pub fn plan_gpus(plan: &mut Plan, node: &Node, state: &State) {
    for gpu in node.gpus.iter().filter(|gpu| !state.drains.is_removed(&gpu.uuid)) {
        plan.file(format!("{GPUS}/{}/information", gpu.pci), information(gpu));
    }
}

/// The capabilities that are there.
pub fn plan_capabilities(plan: &mut Plan, node: &Node, state: &State) {
    if capabilities::are_there(node) {
        for (name, number) in capabilities::FIXED {
            plan.file(format!("{CAPABILITIES}/mig/{name}"), capability(number, ROOT_MAY_READ));
        }
    }
    for instance in capabilities::of_instances(node, state) {
        let path = format!("{CAPABILITIES}/{}/access", instance.folder);
        plan.file(path, capability(instance.number, ALL_MAY_READ));
    }
}

fn capability(number: u32, mode: u32) -> String {
    format!("DeviceFileMinor: {number}\nDeviceFileMode: {mode}\nDeviceFileModify: 1\n")
}

fn information(gpu: &Gpu) -> String {
    format!(
        "Model: \t\t {}\nIRQ:   \t\t {}\nGPU UUID: \t {}\nVideo BIOS: \t {}\nBus Type: \t PCIe\n\
         DMA Size: \t 47 bits\nDMA Mask: \t 0x7fffffffffff\nBus Location: \t {}\nDevice Minor: \t {}\n\
         GPU Excluded:\t No\n",
        gpu.model.name,
        100 + gpu.place,
        gpu.uuid,
        gpu.model.vbios,
        gpu.pci,
        gpu.minor
    )
}
