//! The device nodes of a driver. It knows which numbers a simulated node gets, and why.

use std::ops::RangeInclusive;

use super::plan::Plan;
use crate::node::Node;

/// The major number of virtual terminals. A container's default device list denies 4:40 to 4:63, as it denies
/// the driver's own numbers: so a test can prove by `open()` which devices a container was given. A clone of
/// /dev/null would always open.
pub const MAJOR: u32 = 4;
const CONTROL: [(&str, u32); 4] =
    [("nvidiactl", 40), ("nvidia-uvm", 41), ("nvidia-uvm-tools", 42), ("nvidia-modeset", 43)];
/// From 64 on the numbers are those of serial ports: whoever may open one could speak to what is plugged in there.
const GPUS: RangeInclusive<u32> = 44..=61;
/// The MIG capabilities by their number in /proc/driver/nvidia-caps, which also names their device node.
pub const CAPABILITIES: [(&str, u32); 2] = [("config", 1), ("monitor", 2)];
const FIRST_CAPABILITY: u32 = 61;

/// Control devices, one device per GPU, named by the GPU's minor number as the driver does, and the MIG capabilities.
pub fn plan(plan: &mut Plan, node: &Node) {
    for (name, minor) in CONTROL {
        plan.device(format!("dev/{name}"), MAJOR, minor);
    }
    let mut numbers = GPUS;
    for gpu in &node.gpus {
        let path = format!("dev/nvidia{}", gpu.minor);
        match numbers.next() {
            Some(minor) => plan.device(path, MAJOR, minor),
            None => plan.device_without_number(path),
        }
    }
    if has_capabilities(node) {
        for (_, number) in CAPABILITIES {
            plan.device(format!("dev/nvidia-caps/nvidia-cap{number}"), MAJOR, FIRST_CAPABILITY + number);
        }
    }
}

/// Whether the driver has MIG capabilities to give: where a GPU can do MIG.
pub fn has_capabilities(node: &Node) -> bool {
    node.gpus.iter().any(|gpu| gpu.model.is_mig_capable())
}
