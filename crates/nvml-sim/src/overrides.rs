//! Readings of one GPU that a person has set. It knows neither how they are set nor how they are asked for.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::fabric::{FabricHealth, FabricState};
use crate::load::Load;
use crate::throttle::Reasons;

/// Readings that replace the model's idle ones.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Overrides {
    /// Degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<u32>,
    /// Percent of time that kernels ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_gpu: Option<u32>,
    /// Percent of time that memory was read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_memory: Option<u32>,
    /// Watts drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<u32>,
    /// What it is busy with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// What keeps clocks down, besides what follows from power and temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Reasons>,
    /// Frame buffer used by processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<Bytes>,
    /// What the driver says must be done with the GPU (field 230).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_action: Option<RecoveryAction>,
    /// How far it is in joining its fabric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fabric_state: Option<FabricState>,
    /// What is wrong with its place in the fabric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fabric_health: Option<FabricHealth>,
}

/// What the driver says must be done with a GPU; numbers are `nvmlDeviceGpuRecoveryAction_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryAction {
    /// Nothing.
    None = 0,
    /// Reset the GPU.
    Reset = 1,
    /// Reboot the machine.
    Reboot = 2,
    /// Let work finish first, then reset at point-to-point level.
    DrainP2p = 3,
    /// Let work finish, then reset.
    DrainAndReset = 4,
}
