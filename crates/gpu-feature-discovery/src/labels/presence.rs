//! Whether there are GPUs at all: known without a driver.

use gpu_model::names::LABEL_GPU_PRESENT;

use super::sheet::{LabelValue, Sheet};
use crate::facts::{Facts, PciFunction};

/// PCI class and subclass of a VGA controller, and of a 3D controller.
const GPUS: [u32; 2] = [0x0300, 0x0302];

/// `true`, or no label: as NVIDIA's operator has it. Where the bus cannot be read, the word of the driver and of Node Feature
/// Discovery counts.
pub(super) fn label(facts: &Facts, sheet: &mut Sheet) {
    let by_driver = || {
        facts
            .driver
            .as_ref()
            .is_some_and(|driver| !(driver.inventory.gpus.is_empty() && driver.inventory.failures.is_empty()))
    };
    let on_bus = facts.pci.as_ref().is_some_and(|functions| functions.iter().any(is_gpu));
    let by_nfd = facts.pci.is_none() && facts.nfd == Some(true);
    if on_bus || by_driver() || by_nfd {
        sheet.put(LABEL_GPU_PRESENT, LabelValue::flag(true));
    }
}

fn is_gpu(function: &PciFunction) -> bool {
    GPUS.contains(&(function.class >> 8))
}
