//! The driver's files under /proc. It knows their format, taken from what drivers print.

use super::device_nodes::{CAPABILITIES, MAJOR, has_capabilities};
use super::plan::Plan;
use crate::identity;
use crate::node::{Gpu, Node};

/// /proc/driver/nvidia, /proc/driver/nvidia-caps, and the driver's lines in /proc/modules and /proc/devices.
pub fn plan(plan: &mut Plan, node: &Node) {
    let version = &node.driver_version;
    plan.file(
        "proc/driver/nvidia/version",
        format!("NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  (simulated by nvml-sim)\n"),
    );
    plan.file("proc/driver/nvidia/params", "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\n");
    for gpu in &node.gpus {
        plan.file(format!("proc/driver/nvidia/gpus/{}/information", gpu.pci), information(gpu));
    }
    let capable = has_capabilities(node);
    if capable {
        let minors: String = CAPABILITIES.iter().map(|(name, minor)| format!("{name} {minor}\n")).collect();
        plan.file("proc/driver/nvidia-caps/mig-minors", minors);
        for (name, minor) in CAPABILITIES {
            plan.file(
                format!("proc/driver/nvidia/capabilities/mig/{name}"),
                format!("DeviceFileMinor: {minor}\nDeviceFileMode: 256\nDeviceFileModify: 1\n"),
            );
        }
    }
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
    let first = node.gpus.first().map_or("none", |gpu| gpu.uuid.as_str());
    let boot = identity::gpu_uuid(first, usize::MAX);
    plan.file("proc/sys/kernel/random/boot_id", format!("{}\n", boot.trim_start_matches("GPU-")));
}

fn information(gpu: &Gpu) -> String {
    format!(
        "Model: \t\t {}\nIRQ:   \t\t {}\nGPU UUID: \t {}\nVideo BIOS: \t {}\nBus Type: \t PCIe\n\
         DMA Size: \t 47 bits\nDMA Mask: \t 0x7fffffffffff\nBus Location: \t {}\nDevice Minor: \t {}\n\
         GPU Excluded:\t No\n",
        gpu.model.name,
        100 + gpu.index,
        gpu.uuid,
        gpu.model.vbios,
        gpu.pci,
        gpu.minor
    )
}
