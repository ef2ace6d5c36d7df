//! The device nodes of a driver. It knows which numbers a simulated node gets, and why.

use std::collections::{BTreeMap, BTreeSet};
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

/// The folder of the capabilities' device nodes.
pub const CAPABILITIES: &str = "dev/nvidia-caps";

/// Control devices, one device per GPU, named by the GPU's minor number as the driver does, and the MIG capabilities.
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
    plan_capabilities(plan, node, state);
}

/// The MIG capabilities. Those of instances have the numbers that the GPUs leave, and keep the one that they have.
pub fn plan_capabilities(plan: &mut Plan, node: &Node, state: &State) {
    if capabilities::are_there(node) {
        for (_, number) in capabilities::FIXED {
            plan.device(path(number), MAJOR, FIRST_CAPABILITY + number);
        }
    }
    let mut free: BTreeSet<u32> = GPUS.skip(node.gpus.len()).collect();
    let mut kept = BTreeMap::new();
    let living = capabilities::of_instances(node, state);
    for capability in &living {
        let there = plan.number_there(&path(capability.number));
        if let Some((MAJOR, minor)) = there.filter(|(_, minor)| free.remove(minor)) {
            kept.insert(capability.number, minor);
        }
    }
    for capability in living {
        let path = path(capability.number);
        match kept.remove(&capability.number).or_else(|| free.pop_first()) {
            Some(minor) => plan.device(path, MAJOR, minor),
            None => plan.device_without_number(path),
        }
    }
}

fn path(capability: u32) -> String {
    format!("{CAPABILITIES}/nvidia-cap{capability}")
}
