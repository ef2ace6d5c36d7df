//! The device nodes of a driver. It knows which numbers a simulated node gets, and why.

use super::plan::Plan;
use crate::node::Node;

/// The major number of virtual terminals. A container's default device list denies 4:40 to 4:63, as it denies
/// the driver's own numbers: so a test can prove by `open()` which devices a container was given. A clone of
/// /dev/null would always open.
pub const MAJOR: u32 = 4;
const CONTROL: [(&str, u32); 4] =
    [("nvidiactl", 40), ("nvidia-uvm", 41), ("nvidia-uvm-tools", 42), ("nvidia-modeset", 43)];
const FIRST_GPU: u32 = 44;

/// Control devices and one device per GPU, named by the GPU's minor number as the driver does.
pub fn plan(plan: &mut Plan, node: &Node) {
    for (name, minor) in CONTROL {
        plan.device(format!("dev/{name}"), MAJOR, minor);
    }
    for gpu in &node.gpus {
        // From the 21st GPU on the numbers are those of serial ports, denied to containers just so.
        let minor = FIRST_GPU + u32::try_from(gpu.index).unwrap_or_default();
        plan.device(format!("dev/nvidia{}", gpu.minor), MAJOR, minor);
    }
}
