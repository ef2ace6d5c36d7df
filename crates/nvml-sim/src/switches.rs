//! What programs switch on a GPU or a node beside its common modes: rights, NVLink's modes, a host name. It knows the
//! switches of a driver that was just loaded, not who may change them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::desktop::ClockOffsets;
use crate::model::Architecture;
use crate::snapshot::{GpuView, Snapshot};

/// The switches of a node.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Switches {
    /// The bandwidth mode of all NVLinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvlink_bandwidth: Option<u32>,
    /// By GPU UUID.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gpus: BTreeMap<String, GpuSwitches>,
}

/// The switches of one GPU.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GpuSwitches {
    /// Whether everyone may change application clocks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub application_clocks_for_all: bool,
    /// Idle time after which NVLinks sleep, in `NVLINK_SLEEP_UNIT_US`, where it is not the driver's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvlink_sleep: Option<u32>,
    /// The bandwidth mode of its NVLinks, where it is not the best one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvlink_bandwidth: Option<u8>,
    /// The host name that was given to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Offsets of clocks, by P-state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub clock_offsets: BTreeMap<u32, ClockOffsets>,
    /// The PowerMizer mode, where it is not the driver's own choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mizer: Option<u32>,
    /// The temperature that its fans are to keep to, in degrees Celsius, where it is not the board's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acoustic_celsius: Option<u32>,
    /// Requested workload power profiles.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub power_profiles: BTreeSet<u32>,
}

/// The shortest and longest time after which NVLinks sleep (`NVML_NVLINK_LOW_POWER_THRESHOLD_MIN` and `_MAX`).
pub const NVLINK_SLEEP: std::ops::RangeInclusive<u32> = 1..=0x1FFF;
/// The driver's own time after which NVLinks sleep (assumed).
const NVLINK_SLEEP_DEFAULT: u32 = 100;
/// Modes of NVLink bandwidth: full, off, least, half, three quarters (assumed: the header names their count alone).
pub const NVLINK_BANDWIDTHS: std::ops::Range<u32> = 0..5;
/// Full bandwidth.
pub const NVLINK_BANDWIDTH_FULL: u32 = 0;

impl Switches {
    /// The switches of a GPU, to change them.
    pub fn of(&mut self, uuid: &str) -> &mut GpuSwitches {
        self.gpus.entry(uuid.to_owned()).or_default()
    }

    /// What a reset of a GPU does: by NVML's documentation its host name is gone.
    pub fn reset(&mut self, uuid: &str) {
        if let Some(switches) = self.gpus.get_mut(uuid) {
            switches.hostname = None;
        }
    }
}

impl Snapshot {
    /// The bandwidth mode of all NVLinks; `NOT_SUPPORTED` where no GPU is of Hopper or newer and has NVLinks.
    pub fn nvlink_bandwidth(&self) -> Result<u32, Code> {
        let model =
            |gpu: &crate::node::Gpu| gpu.model.architecture >= Architecture::Hopper && gpu.model.nvlinks > 0;
        if !self.node.gpus.iter().any(model) {
            return Err(Code::NOT_SUPPORTED);
        }
        Ok(self.state.switches.nvlink_bandwidth.unwrap_or(NVLINK_BANDWIDTH_FULL))
    }
}

impl<'a> GpuView<'a> {
    pub(crate) fn switches(&self) -> Option<&'a GpuSwitches> {
        self.snapshot.state.switches.gpus.get(&self.gpu.uuid)
    }

    fn since(&self, architecture: Architecture) -> Result<(), Code> {
        if self.gpu.model.architecture >= architecture { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// Whether only root may change application clocks.
    pub fn are_application_clocks_for_root(&self) -> bool {
        !self.switches().is_some_and(|it| it.application_clocks_for_all)
    }

    /// Idle time after which NVLinks sleep, in units of 100 us; `NOT_SUPPORTED` before Hopper and without NVLinks.
    pub fn nvlink_sleep(&self) -> Result<u32, Code> {
        self.since(Architecture::Hopper)?;
        if self.gpu.model.nvlinks == 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        Ok(self.switches().and_then(|it| it.nvlink_sleep).unwrap_or(NVLINK_SLEEP_DEFAULT))
    }

    /// The bandwidth mode of this GPU's NVLinks; `NOT_SUPPORTED` before Blackwell and without NVLinks.
    pub fn nvlink_bandwidth(&self) -> Result<u8, Code> {
        self.since(Architecture::Blackwell)?;
        if self.gpu.model.nvlinks == 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        Ok(self.switches().and_then(|it| it.nvlink_bandwidth).unwrap_or_default())
    }

    /// The host name that was given to the GPU, empty before; `NOT_SUPPORTED` before Blackwell.
    pub fn hostname(&self) -> Result<&'a str, Code> {
        self.since(Architecture::Blackwell)?;
        Ok(self.switches().and_then(|it| it.hostname.as_deref()).unwrap_or_default())
    }
}
