//! What a GPU knows of its NVLink fabric: whether it has joined, where it belongs, how well it is. It knows the words
//! that people set and NVML's numbers for them.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::snapshot::GpuView;

/// How far a GPU is in joining its fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FabricState {
    /// Nothing has begun.
    NotStarted,
    /// It is on its way.
    InProgress,
    /// It has joined.
    Completed,
    /// It came to an end without having joined.
    Failed,
}

/// What is wrong with a GPU's place in its fabric; NVML's mask has a field for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FabricHealth {
    /// Nothing.
    Healthy,
    /// Less bandwidth than there should be.
    DegradedBandwidth,
    /// A route is being mended.
    RouteRecovery,
    /// A route is broken.
    RouteUnhealthy,
    /// An access timed out and is being mended.
    AccessTimeout,
    /// The GPU is in no partition.
    NoPartition,
}

/// A GPU's answer on its fabric, in NVML's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FabricView {
    /// UUID of the cluster, all zeros on a single machine and before joining.
    pub cluster_uuid: [u8; 16],
    /// The clique in the cluster.
    pub clique: u32,
    /// `NVML_GPU_FABRIC_STATE_*`.
    pub state: u8,
    /// A code of NVML; means something once the state is completed.
    pub status: u32,
    /// `NVML_GPU_FABRIC_HEALTH_MASK_*`.
    pub health_mask: u32,
    /// `NVML_GPU_FABRIC_HEALTH_SUMMARY_*`.
    pub health_summary: u8,
}

const NOT_STARTED: u8 = 1;
const IN_PROGRESS: u8 = 2;
const COMPLETED: u8 = 3;
/// In the mask's two-bit fields.
const TRUE: u32 = 1;
const FALSE: u32 = 2;
/// In the mask's field of the configuration.
const CONFIGURATION_RIGHT: u32 = 1;
const CONFIGURATION_NO_PARTITION: u32 = 4;
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;
const LIMITED_CAPACITY: u8 = 3;

impl FabricHealth {
    fn mask(self) -> u32 {
        let field = |of: FabricHealth, shift: u32| if self == of { TRUE << shift } else { FALSE << shift };
        let configuration =
            if self == FabricHealth::NoPartition { CONFIGURATION_NO_PARTITION } else { CONFIGURATION_RIGHT };
        field(FabricHealth::DegradedBandwidth, 0)
            | field(FabricHealth::RouteRecovery, 2)
            | field(FabricHealth::RouteUnhealthy, 4)
            | field(FabricHealth::AccessTimeout, 6)
            | configuration << 8
    }

    fn summary(self) -> u8 {
        match self {
            FabricHealth::Healthy => HEALTHY,
            FabricHealth::DegradedBandwidth => LIMITED_CAPACITY,
            _ => UNHEALTHY,
        }
    }
}

impl GpuView<'_> {
    /// The GPU's fabric; `NOT_SUPPORTED` where the node has none, or the GPU joins none.
    pub fn fabric(&self) -> Result<FabricView, Code> {
        let fabric = self.snapshot.node.fabric.as_ref().filter(|_| self.gpu.model.fabric);
        let fabric = fabric.ok_or(Code::NOT_SUPPORTED)?;
        let set = self.overrides();
        let state = set.and_then(|set| set.fabric_state).unwrap_or(FabricState::Completed);
        let health = set.and_then(|set| set.fabric_health).unwrap_or(FabricHealth::Healthy);
        let joined = FabricView {
            cluster_uuid: fabric.cluster_uuid,
            clique: fabric.clique,
            state: COMPLETED,
            status: 0,
            health_mask: health.mask(),
            health_summary: health.summary(),
        };
        // Without a fabric there is nothing to be well or unwell.
        let apart =
            FabricView { cluster_uuid: [0; 16], clique: 0, health_mask: 0, health_summary: 0, ..joined };
        Ok(match state {
            FabricState::Completed => joined,
            FabricState::NotStarted => FabricView { state: NOT_STARTED, ..apart },
            FabricState::InProgress => FabricView { state: IN_PROGRESS, ..apart },
            FabricState::Failed => FabricView { status: Code::UNKNOWN.0, ..apart },
        })
    }
}
