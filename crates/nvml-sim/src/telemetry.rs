//! Readings of a GPU: the model's idle figures, or what a person has set. It knows how readings follow from each
//! other, not how they are asked for.

use crate::bytes::Bytes;
use crate::modes::Modes;
use crate::overrides::RecoveryAction;
use crate::snapshot::GpuView;

/// From when the energy counter counts: 2024-01-01, in microseconds since 1970.
const ENERGY_SINCE_US: u64 = 1_704_067_200_000_000;

impl GpuView<'_> {
    /// Degrees Celsius.
    pub fn temperature(&self) -> u32 {
        let set = self.overrides().and_then(|set| set.temperature);
        set.unwrap_or(self.gpu.model.temperature_idle_celsius)
    }

    /// Percent of time that kernels ran, and that memory was read or written.
    pub fn utilization(&self) -> (u32, u32) {
        let set = self.overrides();
        let read = |value: Option<u32>| value.unwrap_or(0);
        (read(set.and_then(|set| set.utilization_gpu)), read(set.and_then(|set| set.utilization_memory)))
    }

    /// Whether no kernel runs.
    pub fn is_idle(&self) -> bool {
        self.utilization().0 == 0
    }

    /// Watts drawn.
    pub fn power_watts(&self) -> u32 {
        self.overrides().and_then(|set| set.power).unwrap_or(self.gpu.model.power_idle_watts)
    }

    /// Energy since a fixed day, in millijoules. It follows the node's clock alone, which never goes back, so that it
    /// only rises.
    pub fn energy_millijoules(&self) -> u64 {
        let us = self.snapshot.state.clock.now_us().saturating_sub(ENERGY_SINCE_US);
        u64::from(self.gpu.model.power_idle_watts).saturating_mul(us / 1000)
    }

    /// Frame buffer used by processes.
    pub fn memory_used(&self) -> Bytes {
        let wanted = self.overrides().and_then(|set| set.memory_used).unwrap_or_default();
        // The node file may have changed since.
        wanted.min(self.gpu.model.memory_usable())
    }

    /// Current graphics and SM clock in MHz.
    pub fn clock_graphics_mhz(&self) -> u32 {
        if self.is_idle() { self.gpu.model.clock_idle_mhz } else { self.gpu.model.clock_graphics_mhz }
    }

    /// Whether the driver stays loaded without clients.
    pub fn persistence_mode(&self) -> bool {
        let modes = self.snapshot.state.modes.get(&self.gpu.uuid);
        modes.map_or(Modes::initial().persistence_mode, |modes| modes.persistence_mode)
    }

    /// What the driver says must be done with the GPU.
    pub fn recovery_action(&self) -> RecoveryAction {
        self.overrides().and_then(|set| set.recovery_action).unwrap_or(RecoveryAction::None)
    }
}
