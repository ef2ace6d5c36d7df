//! Every label that can be written: its key, where its value comes from, what it means, and whether NVIDIA's
//! gpu-feature-discovery writes it too. The page `docs/labels.md` is made of it.

use std::fmt::Write as _;

use gpu_model::names::*;

use crate::facts::Group;

/// One label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key, in which `<profile>` stands for a MIG profile and `<model>` for a GPU's model.
    pub key: String,
    /// Whose it is.
    pub origin: Origin,
    /// Where its value comes from.
    pub source: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// Whose label it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// NVIDIA's gpu-feature-discovery v0.20 writes it too.
    SameAsGfd,
    /// Only we write it.
    Ours,
    /// Only we write it, if its group is asked for.
    OursIn(Group),
}

/// A part of a key that stands for many.
const PROFILE: &str = "<profile>";
const MODEL: &str = "<model>";

impl Entry {
    /// Whether this is the entry of a key.
    pub fn covers(&self, key: &str) -> bool {
        match self.key.split_once(PROFILE).or_else(|| self.key.split_once(MODEL)) {
            None => self.key == key,
            Some((before, after)) => {
                let rest = key.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                rest.is_some_and(|part| !part.is_empty())
            }
        }
    }
}

/// Whether a key is one that can be written, now or on a node with other GPUs.
pub fn covers(key: &str) -> bool {
    entries().iter().any(|entry| entry.covers(key))
}

/// All of them, as the page has them.
pub fn entries() -> Vec<Entry> {
    let node = NODE.iter().map(|(key, source, meaning)| Entry {
        key: (*key).to_owned(),
        origin: Origin::SameAsGfd,
        source,
        meaning,
    });
    let of = |resource: &str, (suffix, source, meaning): &(&str, &'static str, &'static str)| Entry {
        key: format!("{resource}{suffix}"),
        origin: Origin::SameAsGfd,
        source,
        meaning,
    };
    let gpus = DEVICES.iter().chain(&WHOLE).chain(&SLICES).map(|row| of(RESOURCE_GPU, row));
    let mig = format!("{NVIDIA_DOMAIN}/mig-{PROFILE}");
    let slices = DEVICES.iter().chain(&SLICES).map(|row| of(&mig, row));
    let ours = OURS.iter().map(|(key, source, meaning)| Entry {
        key: (*key).to_owned(),
        origin: Origin::Ours,
        source,
        meaning,
    });
    let models = MODELS.iter().map(|(suffix, source, meaning)| Entry {
        key: format!("{LABEL_MODEL_PREFIX}{MODEL}{suffix}"),
        origin: Origin::Ours,
        source,
        meaning,
    });
    let groups = GROUPS.iter().map(|(group, key, source, meaning)| Entry {
        key: (*key).to_owned(),
        origin: Origin::OursIn(*group),
        source,
        meaning,
    });
    node.chain(gpus).chain(slices).chain(ours).chain(models).chain(groups).collect()
}

/// Key, source, meaning.
type Row = (&'static str, &'static str, &'static str);

const NODE: [Row; 22] = [
    (LABEL_GFD_TIMESTAMP, "clock", "When the process began, in seconds since 1970: no sign of life."),
    (LABEL_GPU_MACHINE, "DMI", "Product name of the machine; `unknown` where it cannot be read."),
    (LABEL_DRIVER_VERSION_FULL, "NVML", "Version of the driver."),
    (LABEL_DRIVER_VERSION_MAJOR, "NVML", "Its first part. Absent where the version begins with no number."),
    (LABEL_DRIVER_VERSION_MINOR, "NVML", "Its second part."),
    (LABEL_DRIVER_VERSION_REVISION, "NVML", "All that follows; empty where nothing does."),
    (LABEL_DRIVER_MAJOR, "NVML", "As `cuda.driver-version.major`. Deprecated."),
    (LABEL_DRIVER_MINOR, "NVML", "As `cuda.driver-version.minor`. Deprecated."),
    (LABEL_DRIVER_REVISION, "NVML", "As `cuda.driver-version.revision`. Deprecated."),
    (LABEL_RUNTIME_VERSION_FULL, "NVML", "Highest CUDA version that the driver serves: of no toolkit."),
    (LABEL_RUNTIME_VERSION_MAJOR, "NVML", "Its first part."),
    (LABEL_RUNTIME_VERSION_MINOR, "NVML", "Its second part."),
    (LABEL_RUNTIME_MAJOR, "NVML", "As `cuda.runtime-version.major`. Deprecated."),
    (LABEL_RUNTIME_MINOR, "NVML", "As `cuda.runtime-version.minor`. Deprecated."),
    (
        LABEL_GPU_MODE,
        "PCI class",
        "`compute`, `graphics`, or `unknown` where GPUs differ or the bus cannot be read.",
    ),
    (
        LABEL_GPU_CLIQUE,
        "NVML",
        "`<cluster UUID>.<clique>` of the NVLink fabric, where all GPUs that joined one agree.",
    ),
    (LABEL_MIG_CAPABLE, "NVML", "Whether a GPU of the node can be partitioned."),
    (LABEL_MIG_STRATEGY, "config", "`single` or `mixed`; absent with `none`."),
    (LABEL_MPS_CAPABLE, "config", "`false`: sharing by MPS is not supported."),
    (
        LABEL_VGPU_PRESENT,
        "PCI config space",
        "Whether a GPU is a virtual one. Needs no driver; absent where it cannot be read.",
    ),
    (LABEL_VGPU_HOST_DRIVER_VERSION, "PCI config space", "Version of the driver on a virtual GPU's host."),
    (LABEL_VGPU_HOST_DRIVER_BRANCH, "PCI config space", "Branch of that driver."),
];

const DEVICES: [Row; 5] = [
    (
        SUFFIX_PRODUCT,
        "NVML",
        "Product name; of MIG devices with `-MIG-<profile>`, and with `-SHARED` where a device is shared under its own resource's name. Uneven nodes under the strategy `single` have `-MIG-INVALID`.",
    ),
    (
        SUFFIX_COUNT,
        "NVML",
        "How many there are, whether or not their health lets the kubelet hand them out. Of `gpu`: GPUs, partitioned ones too; MIG devices under `single`.",
    ),
    (
        SUFFIX_REPLICAS,
        "config",
        "How many containers have one at once: 1 without sharing, 0 of GPUs that are all partitioned.",
    ),
    (SUFFIX_SHARING_STRATEGY, "config", "`none` or `time-slicing`; empty on an uneven node under `single`."),
    (SUFFIX_MEMORY, "NVML", "Memory in MiB; absent where a GPU has none of its own."),
];

const WHOLE: [Row; 3] = [
    (
        SUFFIX_FAMILY,
        "table",
        "Architecture, such as `hopper`; `cc-<major>.<minor>` of one that is not known yet.",
    ),
    (SUFFIX_COMPUTE_MAJOR, "NVML", "First part of the compute capability."),
    (SUFFIX_COMPUTE_MINOR, "NVML", "Its second part."),
];

const SLICES: [Row; 8] = [
    (SUFFIX_MULTIPROCESSORS, "NVML", "Streaming multiprocessors of a MIG device."),
    (SUFFIX_SLICES_GI, "NVML", "Slices of its GPU instance."),
    (SUFFIX_SLICES_CI, "NVML", "Slices of its compute instance."),
    (SUFFIX_ENGINES_COPY, "NVML", "Its copy engines."),
    (SUFFIX_ENGINES_DECODER, "NVML", "Its video decoders."),
    (SUFFIX_ENGINES_ENCODER, "NVML", "Its video encoders."),
    (SUFFIX_ENGINES_JPEG, "NVML", "Its JPEG decoders."),
    (SUFFIX_ENGINES_OFA, "NVML", "Its optical flow accelerators."),
];

const OURS: [Row; 2] = [
    (
        LABEL_GPU_PRESENT,
        "PCI bus",
        "`true` on a node with GPUs, driver or not; else absent. Where the bus cannot be read, the driver's word counts, and that of Node Feature Discovery. NVIDIA's operator writes it where that is installed.",
    ),
    (
        LABEL_UNHEALTHY_COUNT,
        "device plugin's report, NVML",
        "GPUs on which no work can be placed, and those that the driver does not let us identify.",
    ),
];

const MODELS: [Row; 2] = [
    (
        SUFFIX_COUNT,
        "NVML",
        "GPUs of this model. The model is the product name in lower case, shortened with a hash behind 46 characters.",
    ),
    (SUFFIX_MEMORY, "NVML", "Memory in MiB of a GPU of this model."),
];

const GROUPS: [(Group, &str, &str, &str); 11] = [
    (Group::Ecc, LABEL_ECC, "NVML", "Whether memory corrects errors: `true`, `false`, or `mixed`."),
    (Group::NvLink, LABEL_NVLINK_COUNT, "NVML", "NVLinks that are up on each GPU, at least."),
    (
        Group::Pcie,
        LABEL_PCIE_GENERATION,
        "NVML",
        "Generation of the best PCI Express link that GPU and slot can have, at least.",
    ),
    (Group::Pcie, LABEL_PCIE_WIDTH, "NVML", "Its lanes, at least."),
    (Group::Numa, LABEL_NUMA_COUNT, "sysfs", "NUMA nodes that have GPUs."),
    (Group::Power, LABEL_POWER_LIMIT, "NVML", "The power limit in force in watts: the lowest."),
    (Group::DriverFlavour, LABEL_DRIVER_FLAVOUR, "/proc", "`open` or `proprietary` kernel driver."),
    (
        Group::Gsp,
        LABEL_GSP,
        "NVML",
        "Whether the GPU System Processor is in use: `true`, `false`, or `mixed`.",
    ),
    (Group::ConfidentialCompute, LABEL_CONFIDENTIAL_COMPUTE, "NVML", "Whether confidential computing is on."),
    (Group::MigRoom, LABEL_MIG_ROOM, "NVML", "The largest MIG profile that could be created now, or `none`."),
    (
        Group::Fabric,
        LABEL_FABRIC_STATE,
        "NVML",
        "How the GPUs stand in their NVLink fabric: `not-started`, `in-progress`, `joined`, `failed`, or `mixed`.",
    ),
];

/// The page for people, in Markdown.
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    for entry in entries() {
        let origin = match entry.origin {
            Origin::SameAsGfd => "same as GFD".to_owned(),
            Origin::Ours => "ours".to_owned(),
            Origin::OursIn(group) => format!("ours, group `{group}`"),
        };
        let _ = writeln!(page, "| `{}` | {origin} | {} | {} |", entry.key, entry.source, entry.meaning);
    }
    page.push_str(TAIL);
    page
}

const HEAD: &str = "\
# Labels

What `gpu-feature-discovery` says of a node. \"Same as GFD\" are the labels of NVIDIA's gpu-feature-discovery v0.20; with
`--compat` there are no others. \"Ours\" are there besides, those of a group only if it is asked for. `<profile>` is a MIG
profile with `.` for `+`, such as `1g.10gb.me`; there is a set for each under the MIG strategy `mixed`. `<model>` is a
model of GPU, such as `nvidia-a100-sxm4-80gb`.

| Label | Whose | Source | Meaning |
|---|---|---|---|
";

const TAIL: &str = "
## Which GPU a label speaks of

- GPUs that drive a display only, and those that the config's `devices` leaves out, have no part in any label.
- `nvidia.com/gpu.*` describe GPUs that are handed out whole where the node has some, else those with MIG on.
- Of several models, `nvidia.com/gpu.*` describe the one with most GPUs, and of several such the one at the lowest PCI
  address. `nvidia.com/gpu.count` counts all. `gantry.dev/gpu.model.<model>.*` tell each.
- MIG devices of one profile on GPUs of several models are one set: it counts all, and describes the model with most of them.
- Where devices of one resource are shared differently, `replicas` is that of most of them.
- A GPU that the driver does not let us identify is not counted but by `gantry.dev/gpu.unhealthy.count`; one whose memory or
  other fact cannot be read is counted, and that fact taken from the next of its model.
- Without a driver, only `gpu.present`, `vgpu.*` and `gfd.timestamp` are made anew.

## Values

NVIDIA's characters are kept: letters, digits, `-`, `_`, `.`, and `-` for blanks. What follows is done where NVIDIA's would
give a value that no label may have, and that NFD then drops: other characters at the ends go; of more than 63 characters the
model is shortened and ends in a hash (FNV-1a, 32 bits), what stands behind it (`-MIG-1g.24gb`, `-SHARED`) stays; and where
no character is left, the value is `x` and the hash.

## Where values differ from NVIDIA's

| Case | NVIDIA's | Ours |
|---|---|---|
| GPUs of several models | one of them, from loop to loop another; its count | the primary model; the node's count |
| a GPU that fails | no labels | the others' labels |
| driver version of one part, of four, or without number | no labels | the parts that there are; all behind the second dot is the revision |
| compute capability 11.0 (Thor) | `undefined` | `blackwell` |
| unknown compute capability | `undefined` | `cc-<major>.<minor>` |
| value of more than 63 characters, or that ends in a dot | refused by the cluster | valid |
| MIG device without memory of its own | `0` | absent |
| devices that are shared through `rename` or `devices`, GPUs named by `resources` (not with `--compat`) | ignored | followed |

This page is generated from `crates/gpu-feature-discovery/src/labels/catalogue.rs`; `UPDATE_GOLDEN=1 cargo test -p
gpu-feature-discovery --test it` writes it anew.
";
