//! What a host's files tell beside NVML: its NUMA nodes' CPUs, sockets, product name, NVSwitches. It reads `/sys` below
//! a root and judges nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The class of a PCI bridge of no further kind, as an NVSwitch is one, and NVIDIA's number.
const NVSWITCH_CLASS: &str = "0x068000";
const NVIDIA: &str = "0x10de";

/// What the files tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Host {
    /// Product name of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// NUMA node -> its CPUs.
    pub cpus: BTreeMap<u32, String>,
    /// PCI device -> its NUMA node, for NVIDIA's.
    pub numa: BTreeMap<String, u32>,
    /// PCI addresses of NVSwitches, and their PCI device id.
    pub nvswitches: BTreeMap<String, String>,
}

/// Reads the files below a root. What is not there is not told.
pub fn read(root: &Path) -> Host {
    let text = |path: &Path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let mut host = Host {
        machine: text(&root.join("sys/class/dmi/id/product_name")).filter(|name| !name.is_empty()),
        ..Host::default()
    };
    for (name, path) in entries(&root.join("sys/devices/system/node")) {
        let number = name.strip_prefix("node").and_then(|number| number.parse().ok());
        let cpus = text(&path.join("cpulist")).filter(|cpus| !cpus.is_empty());
        host.cpus.extend(number.zip(cpus));
    }
    for (name, path) in entries(&root.join("sys/bus/pci/devices")) {
        if text(&path.join("vendor")).as_deref() != Some(NVIDIA) {
            continue;
        }
        let numa = text(&path.join("numa_node")).and_then(|numa| numa.parse().ok());
        if text(&path.join("class")).as_deref() == Some(NVSWITCH_CLASS) {
            host.nvswitches.extend(text(&path.join("device")).map(|device| (name, device)));
        } else if let Some(numa) = numa {
            host.numa.insert(name, numa);
        }
    }
    host
}

fn entries(dir: &Path) -> Vec<(String, std::path::PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}
