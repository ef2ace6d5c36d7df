//! A driver that does not answer.

use nvml::NvmlError;

use super::{Watching, evidence};

impl Watching {
    pub(super) fn take_silence(&mut self, error: &NvmlError) {
        let reason = daemon::error_chain(error).to_string();
        self.with.components.driver.not_ready(code_of(error), &reason);
        if self.is_answering {
            tracing::warn!(
                reason,
                "NVML does not answer; GPUs keep their last state for {:?}",
                gpu_health::GRACE
            );
        }
        self.is_answering = false;
        self.is_driver_gone = matches!(error, NvmlError::NoDriver { .. });
        self.learn(&[gpu_health::Evidence::Silent(evidence::silence(error))]);
    }
}

/// The code under which an error of NVML stands on `/ready`.
pub(super) fn code_of(error: &NvmlError) -> &'static str {
    match error {
        NvmlError::NoDriver { .. } => "no-driver",
        NvmlError::Stuck { .. } | NvmlError::TooManyAbandoned { .. } => "nvml-stuck",
        _ => "nvml-failed",
    }
}
