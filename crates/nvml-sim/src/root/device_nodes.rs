//! The device nodes of a driver. It knows which numbers a simulated node gets, and why.

use std::ops::RangeInclusive;

use super::capabilities;
use super::plan::Plan;
use crate::node::Node;
use crate::state::State;

/// The major number of virtual terminals. A container's default device list denies 4:40 to 4:63, as it denies
/// the driver's own numbers: so a test can prove by `open()` which devices a container was given. A clone of
/// /dev/null would always open.
pub const MAJOR: u32 = 4;
const CONTROL: [(&str, u32); 4] =
    [("nvidiactl", 40), ("nvidia-uvm", 41), ("nvidia-uvm-tools", 42), ("nvidia-modeset", 43)];
/// From 64 on the numbers are those of serial ports: whoever may open one could speak to what is plugged in there.
const GPUS: RangeInclusive<u32> = 44..=61;
const FIRST_CAPABILITY: u32 = 61;

/// Control devices, one device per GPU, named by the GPU's minor number as the driver does, and the MIG capabilities:
/// those of instances have the numbers that the GPUs leave.
pub fn plan(plan: &mut Plan, node: &Node, state: &State) {
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
    if capabilities::are_there(node) {
        for (_, number) in capabilities::FIXED {
            plan.device(format!("dev/nvidia-caps/nvidia-cap{number}"), MAJOR, FIRST_CAPABILITY + number);
        }
    }
    for capability in capabilities::of_instances(node, state) {
        let path = format!("dev/nvidia-caps/nvidia-cap{}", capability.number);
        match numbers.next() {
            Some(minor) => plan.device(path, MAJOR, minor),
            None => plan.device_without_number(path),
        }
    }
}
