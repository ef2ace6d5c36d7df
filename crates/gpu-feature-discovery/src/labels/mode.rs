//! What the GPUs are for by their PCI class.

use std::collections::BTreeSet;

use gpu_model::PciAddress;
use gpu_model::names::LABEL_GPU_MODE;

use super::node::Node;
use super::sheet::{LabelValue, Sheet};
use crate::facts::PciFunction;

/// Class of a VGA controller, and of a 3D controller.
const VGA: u32 = 0x03_0000;
const THREE_D: u32 = 0x03_0200;

/// `unknown` where classes differ or cannot be read.
pub(super) fn label(node: &Node<'_>, functions: Option<&[PciFunction]>, sheet: &mut Sheet) {
    sheet.put(LABEL_GPU_MODE, LabelValue::text(mode(node, functions.unwrap_or_default())));
}

fn mode(node: &Node<'_>, functions: &[PciFunction]) -> &'static str {
    // A GPU that does not tell where it is costs the others nothing.
    let addresses = node.gpus.iter().filter_map(|gpu| gpu.pci.value());
    let class = |address: &PciAddress| {
        functions.iter().find(|function| function.address == *address).map(|function| function.class)
    };
    let classes: BTreeSet<Option<u32>> = addresses.map(class).collect();
    match classes.into_iter().collect::<Vec<_>>().as_slice() {
        [Some(VGA)] => "graphics",
        [Some(THREE_D)] => "compute",
        _ => "unknown",
    }
}
