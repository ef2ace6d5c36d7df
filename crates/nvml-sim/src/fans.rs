//! Fans of GPUs that have some: their speed follows the temperature, or is what was set. It knows no other cooling.

use crate::code::Code;
use crate::snapshot::GpuView;

/// Percent that a fan turns at least, and at most (assumed).
pub const FAN_RANGE: (u32, u32) = (30, 100);
/// Turns a minute at full speed (assumed).
const RPM_MAX: u32 = 3300;

/// Who decides the speed; numbers are `nvmlFanControlPolicy_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanPolicy {
    /// The temperature.
    Temperature = 0,
    /// A program.
    Manual = 1,
}

impl GpuView<'_> {
    /// Checks a fan's number; `NOT_SUPPORTED` where the machine's fans cool the GPU, as NVML's header says.
    pub fn fan(&self, fan: u32) -> Result<u32, Code> {
        match self.gpu.model.fans {
            0 => Err(Code::NOT_SUPPORTED),
            fans if fan < fans => Ok(fan),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    /// Percent of a fan's full speed.
    pub fn fan_percent(&self, fan: u32) -> Result<u32, Code> {
        let fan = self.fan(fan)?;
        if let Some(set) = self.modes().fan_percents.get(&fan) {
            return Ok(*set);
        }
        let model = &self.gpu.model;
        let (low, high) = FAN_RANGE;
        let span = model.temperature_slowdown_celsius.saturating_sub(model.temperature_idle_celsius).max(1);
        let above = self.temperature().saturating_sub(model.temperature_idle_celsius).min(span);
        Ok(low + (high - low) * above / span)
    }

    /// Turns of a fan in a minute.
    pub fn fan_rpm(&self, fan: u32) -> Result<u32, Code> {
        Ok(self.fan_percent(fan)? * RPM_MAX / 100)
    }

    /// Who decides a fan's speed.
    pub fn fan_policy(&self, fan: u32) -> Result<FanPolicy, Code> {
        let is_set = self.modes().fan_percents.contains_key(&self.fan(fan)?);
        Ok(if is_set { FanPolicy::Manual } else { FanPolicy::Temperature })
    }
}
