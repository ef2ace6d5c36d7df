//! Whether the node is a guest with virtual GPUs, and what its host's driver is: known without a driver.

use gpu_model::names::{LABEL_VGPU_HOST_DRIVER_BRANCH, LABEL_VGPU_HOST_DRIVER_VERSION, LABEL_VGPU_PRESENT};

use super::sheet::{LabelValue, Sheet};
use crate::facts::{Facts, VgpuHost, VgpuReading};

pub(super) fn label(facts: &Facts, sheet: &mut Sheet) {
    let Some(functions) = &facts.pci else { return };
    let mut hosts: Vec<_> = functions
        .iter()
        .filter_map(|function| match &function.vgpu {
            VgpuReading::Present(host) => Some((function.address, host)),
            VgpuReading::Absent | VgpuReading::Unreadable => None,
        })
        .collect();
    hosts.sort_by_key(|(address, host)| (*address, &host.driver_version, &host.driver_branch));
    if hosts.is_empty() && functions.iter().any(|function| function.vgpu == VgpuReading::Unreadable) {
        sheet.remark("whether GPUs are virtual is unknown: their PCI config space cannot be read".to_owned());
        return;
    }
    sheet.put(LABEL_VGPU_PRESENT, LabelValue::flag(!hosts.is_empty()));
    let mut first = |key: &str, of: fn(&VgpuHost) -> Option<&String>| {
        if let Some(text) = hosts.iter().find_map(|(_, host)| of(host)) {
            sheet.put(key, LabelValue::text(text));
        }
    };
    first(LABEL_VGPU_HOST_DRIVER_VERSION, |host| host.driver_version.as_ref());
    first(LABEL_VGPU_HOST_DRIVER_BRANCH, |host| host.driver_branch.as_ref());
}
