//! MIG devices: the parts into which a GPU is cut.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Gpu, MigProfile, MigUuid, Reading};

/// MIG mode of a GPU that can be partitioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigMode {
    /// Whether MIG is on now.
    pub current: bool,
    /// Whether MIG will be on after the next reset.
    pub pending: bool,
}

/// A compute instance, which programs see as a GPU of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigDevice {
    /// Identity, as long as the instance lives.
    pub uuid: MigUuid,
    /// Position among the GPU's MIG devices, as NVML and `<gpu>:<index>` name it. There may be gaps.
    pub index: u32,
    /// The GPU instance that it is in.
    pub gpu_instance: u32,
    /// Its number in the GPU instance.
    pub compute_instance: u32,
    /// What it is.
    pub profile: MigProfile,
    /// Frame buffer in bytes, which all compute instances of a GPU instance share. Not supported where a GPU has no
    /// memory of its own.
    pub memory_bytes: Reading<u64>,
    /// What else it has. None in inventories that older builds wrote.
    #[serde(default)]
    pub attributes: MigAttributes,
}

/// What a MIG device has beside slices and memory, as `nvmlDeviceAttributes_t` counts it. The engines are shared by the
/// compute instances of a GPU instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigAttributes {
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Copy engines.
    pub copy_engines: u32,
    /// Video decoders.
    pub decoders: u32,
    /// Video encoders.
    pub encoders: u32,
    /// JPEG decoders.
    pub jpeg_engines: u32,
    /// Optical flow accelerators.
    pub ofa_engines: u32,
}

/// A MIG device that is there and could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigFailure {
    /// Position among the GPU's MIG devices; none where it is not even known how many there are.
    pub index: Option<u32>,
    /// The C function that failed.
    pub call: String,
    /// Its return code, as in `nvmlReturn_t`, or one of [`crate::failure`].
    pub code: u32,
}

/// So much of a GPU's partitioning as shows a change of it, and as is cheap to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigOutline {
    /// The mode.
    pub mode: MigMode,
    /// The MIG devices by index; none for one that could not be read.
    pub devices: BTreeMap<u32, Option<MigSketch>>,
}

/// One MIG device in a [`MigOutline`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigSketch {
    /// Its identity. One that is made again in the same place may have the same.
    pub uuid: MigUuid,
    /// Compute slices of its GPU instance.
    pub gpu_slices: u32,
    /// Its own.
    pub compute_slices: u32,
    /// Its memory in bytes.
    pub memory_bytes: Reading<u64>,
}

impl Gpu {
    /// Whether the GPU is partitioned otherwise by now than when it was looked at, so that it is worth another look. A
    /// partitioning that cannot be read says nothing.
    pub fn is_repartitioned(&self, now: &Reading<MigOutline>) -> bool {
        now.value().is_some_and(|now| self.mig_outline().as_ref() != Some(now))
    }

    /// The outline as of this look; `None` where it could not be read.
    fn mig_outline(&self) -> Option<MigOutline> {
        let mode = *self.mig_mode.value()?;
        let unread = self.mig_failures.iter().map(|failure| Some((failure.index?, None)));
        let read = self.mig_devices.iter().map(|device| Some((device.index, Some(device.sketch()))));
        Some(MigOutline { mode, devices: unread.chain(read).collect::<Option<_>>()? })
    }
}

impl MigDevice {
    fn sketch(&self) -> MigSketch {
        MigSketch {
            uuid: self.uuid.clone(),
            gpu_slices: self.profile.gpu_slices(),
            compute_slices: self.profile.compute_slices(),
            memory_bytes: self.memory_bytes.clone(),
        }
    }
}
