//! What can be learnt about GPUs, as values. Who learns it, and how, is not known here.

use std::time::Duration;

use gpu_model::{GpuUuid, HealthReason};
use serde::{Deserialize, Serialize};

/// A moment: on a clock that counts evenly from the boot, and on the wall.
///
/// All rules go by the first, so that a wall clock that jumps changes nothing; the second is for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Time since the node was booted.
    pub up: Duration,
    /// Wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// One thing that was learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// An inventory of this driver was taken.
    Driver {
        /// The version of the kernel driver.
        version: String,
    },
    /// An inventory lists this GPU.
    Listed {
        /// The GPU.
        gpu: GpuUuid,
        /// Its GPU instances; none where they are not known.
        instances: Option<Vec<u32>>,
    },
    /// The driver no longer lists this GPU.
    Vanished(GpuUuid),
    /// A probe of this GPU was answered.
    Answered {
        /// The GPU.
        gpu: GpuUuid,
        /// What it said.
        condition: Condition,
    },
    /// A call on this GPU failed.
    Refused {
        /// The GPU.
        gpu: GpuUuid,
        /// The C function that failed.
        call: String,
        /// Its return code, as in `nvmlReturn_t`, or one of [`gpu_model::failure`].
        code: u32,
    },
    /// The driver reported an XID.
    Xid {
        /// The GPU that raised it.
        gpu: GpuUuid,
        /// NVIDIA's number.
        xid: u64,
        /// The GPU instance that it concerns, if the driver named one.
        gpu_instance: Option<u32>,
    },
    /// No GPU could be asked at all.
    Silent(HealthReason),
}

/// What a GPU that answers says of itself. `None`: it does not tell, or could not be asked for this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The recovery that the driver asks for (field 230, from driver 550 on).
    pub recovery: Option<Recovery>,
    /// Whether rows of memory wait to be remapped.
    pub remap_pending: Option<bool>,
    /// Whether a row could not be remapped.
    pub remap_failed: Option<bool>,
    /// Whether uncorrectable errors of SRAM are above NVIDIA's threshold for a replacement.
    pub sram_errors: Option<bool>,
    /// NVLinks that are up.
    pub links_up: Option<u32>,
    /// The state of its NVLink fabric: an empty text when it is well.
    pub fabric: Option<String>,
    /// What slows its clocks down: an empty text for nothing.
    pub slowdown: Option<String>,
}

/// What the driver wants done to bring a GPU back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Its name, such as `reset`; none when nothing is wanted.
    pub action: Option<String>,
    /// Whether what is wanted ends with a reset of the GPU, so that its end proves one.
    pub is_reset: bool,
}

impl Recovery {
    /// Nothing is wanted.
    pub const NONE: Recovery = Recovery { action: None, is_reset: false };
}

/// `NVML_ERROR_GPU_IS_LOST`.
pub(crate) const GPU_IS_LOST: u32 = 15;

/// `NVML_ERROR_RESET_REQUIRED`: the driver itself refuses the GPU until it is reset.
pub(crate) const RESET_REQUIRED: u32 = 16;
