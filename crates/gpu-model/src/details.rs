//! What GPUs say of themselves beyond their identity: what labels and node features are made of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{GpuUuid, MigProfile, Reading};

/// One question of [`Details`], since each costs calls to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// [`GpuDetails::fabric`].
    Fabric,
    /// [`GpuDetails::ecc`].
    Ecc,
    /// [`GpuDetails::nvlinks_up`].
    NvLink,
    /// [`GpuDetails::pcie`].
    Pcie,
    /// [`GpuDetails::power_limit_milliwatts`].
    Power,
    /// [`GpuDetails::gsp`].
    Gsp,
    /// [`GpuDetails::mig_room`].
    MigRoom,
    /// [`Details::confidential_compute`].
    ConfidentialCompute,
}

/// Several of them.
pub type DetailSet = BTreeSet<Detail>;

/// The answers. What was not asked is [`Reading::NotSupported`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// By ascending index; a GPU that cannot be identified is left out, and so is one whose calls hang or crash.
    pub gpus: Vec<GpuDetails>,
    /// Whether the machine's confidential computing is on for its GPUs.
    pub confidential_compute: Reading<bool>,
}

/// Those of one GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuDetails {
    /// Which GPU.
    pub uuid: GpuUuid,
    /// How it stands in its NVLink fabric; not supported where it joins none.
    pub fabric: Reading<FabricState>,
    /// Whether its memory corrects errors.
    pub ecc: Reading<bool>,
    /// NVLinks that are up. Not supported while MIG is on, which takes them all down.
    pub nvlinks_up: Reading<u32>,
    /// The best PCI Express link that GPU and slot can have.
    pub pcie: Reading<PcieLink>,
    /// The power limit in force, the lowest of those that anybody set.
    pub power_limit_milliwatts: Reading<u32>,
    /// Whether the GPU System Processor's firmware is in use.
    pub gsp: Reading<bool>,
    /// Profiles of which one more GPU instance could be made now, in the driver's order; not supported while MIG is off.
    /// Only root is told.
    pub mig_room: Reading<Vec<MigProfile>>,
}

/// How a GPU stands in its NVLink fabric, `nvmlGpuFabricInfo_v2_t`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FabricState {
    /// It has not begun to join.
    NotStarted,
    /// It is joining.
    InProgress,
    /// It has joined.
    Joined {
        /// UUID of the fabric's cluster, 36 characters in lower case; none on a machine that is a fabric of its own.
        cluster: Option<String>,
        /// The clique in it, whose GPUs reach each other.
        clique: u32,
    },
    /// It could not join.
    Failed {
        /// The status, an `nvmlReturn_t`.
        status: u32,
    },
}

/// A PCI Express link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PcieLink {
    /// Generation, such as 4.
    pub generation: u32,
    /// Lanes, such as 16.
    pub width: u32,
}
