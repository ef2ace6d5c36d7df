//! Whether the node is a guest with virtual GPUs, and what its host's driver is: known without a driver.

use gpu_model::names::{LABEL_VGPU_HOST_DRIVER_BRANCH, LABEL_VGPU_HOST_DRIVER_VERSION, LABEL_VGPU_PRESENT};

use super::sheet::{LabelValue, Sheet};
use crate::facts::Facts;

pub(super) fn label(facts: &Facts, sheet: &mut Sheet) {
    let Some(functions) = &facts.pci else { return };
    let mut functions: Vec<_> = functions.iter().collect();
    functions.sort_by_key(|function| function.address);
    let hosts: Vec<_> =
        functions.iter().filter_map(|function| function.vgpu.as_ref().ok()?.as_ref()).collect();
    let errors: Vec<_> = functions
        .iter()
        .filter_map(|function| Some((function.address, function.vgpu.as_ref().err()?)))
        .collect();
    let is_present = !hosts.is_empty() || errors.iter().any(|(_, error)| error.is_vgpu());
    if let Some((address, error)) = errors.first() {
        sheet.remark(format!("of the PCI function {address}: {error}"));
        if !is_present {
            return;
        }
    }
    sheet.put(LABEL_VGPU_PRESENT, LabelValue::flag(is_present));
    // Of several, the first that tells something.
    if let Some(host) = hosts.iter().find(|host| !host.version.is_empty()).or(hosts.first()) {
        sheet.put(LABEL_VGPU_HOST_DRIVER_VERSION, LabelValue::text(&host.version));
        sheet.put(LABEL_VGPU_HOST_DRIVER_BRANCH, LabelValue::text(&host.branch));
    }
}
