//! Switching MIG on and off: at once from Hopper on, by a reset before.

use super::instances::GpuMig;
use crate::code::Code;
use crate::model::Architecture;

impl GpuMig {
    /// Asks for a mode. An error is the activation status: what keeps the mode from being current. It stays pending.
    pub fn set_mode(&mut self, on: bool, architecture: Architecture) -> Result<(), Code> {
        self.pending = on;
        if self.enabled == on {
            return Ok(());
        }
        if !self.instances.is_empty() {
            return Err(Code::IN_USE);
        }
        if architecture < Architecture::Hopper {
            return Err(Code::RESET_REQUIRED);
        }
        self.enabled = on;
        Ok(())
    }

    /// What a load of the driver does: a reset, and from Hopper on the mode does not outlive the driver.
    pub fn reload(&mut self, architecture: Architecture) {
        if architecture >= Architecture::Hopper {
            self.pending = false;
        }
        self.reset();
    }

    /// What a reset of the GPU does: its instances are gone, and the pending mode is the current one.
    pub fn reset(&mut self) {
        self.instances.clear();
        self.enabled = self.pending;
    }
}
