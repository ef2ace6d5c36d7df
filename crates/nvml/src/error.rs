//! What can come of asking NVML through a worker.

use std::time::Duration;

use thiserror::Error;
use worker::CallError;

use crate::Code;

/// Why an operation has no answer. One GPU's failure is not among these: it stands in the answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NvmlError {
    /// There is no driver to ask, or its library cannot be loaded or initialised.
    #[error("no NVIDIA driver: {reason}")]
    NoDriver {
        /// Where it was looked for, or which call says so.
        reason: String,
    },
    /// The driver's library and its kernel modules are of different versions, so that nothing answers.
    #[error(
        "{call} failed: the driver's library and its kernel modules have different versions, as while a \
         driver is upgraded: reload the kernel modules or reboot the node"
    )]
    VersionMismatch {
        /// The C function that says so.
        call: String,
    },
    /// This process may not open the driver.
    #[error(
        "{call} failed: no permission: the device nodes /dev/nvidia* refuse this process; run it \
         privileged, or give it these devices"
    )]
    NoPermission {
        /// The C function that says so.
        call: String,
    },
    /// This driver cannot do it.
    #[error("not supported: {reason}")]
    NotSupported {
        /// What is missing.
        reason: String,
    },
    /// A call that concerns all GPUs failed.
    #[error("{call} failed: {code}")]
    Call {
        /// The C function.
        call: String,
        /// Its return code; `u32::from` gives the number, [`Code::meaning`] the words.
        code: Code,
    },
    /// A call did not return in time, and its worker was given up. One GPU's call comes here only when
    /// more GPUs hang than one question leaves out.
    #[error("{call} did not return within {after:?}")]
    Stuck {
        /// The C function, or what the worker did itself.
        call: String,
        /// The deadline that passed.
        after: Duration,
    },
    /// The worker died.
    #[error("the NVML worker died in {call}: {how}")]
    Crashed {
        /// The C function that it was in, or what the worker did itself.
        call: String,
        /// The signal or exit code.
        how: String,
    },
    /// The answer makes no sense, and its worker was given up.
    #[error("the NVML worker answered garbage: {reason}")]
    Garbage {
        /// What is wrong with it.
        reason: String,
    },
    /// No worker can be started.
    #[error("cannot start the NVML worker: {reason}")]
    CannotStart {
        /// The cause.
        reason: String,
    },
    /// As many workers as allowed hang in the driver and cannot be ended; no more are started until
    /// one goes.
    #[error("{count} NVML workers hang in the driver and cannot be ended")]
    TooManyAbandoned {
        /// How many.
        count: usize,
    },
    /// [`crate::Nvml::release`] ended the worker meanwhile.
    #[error("the NVML worker was ended to release the GPUs")]
    Released,
    /// The thread that tends the worker died: a defect of this program, mended by a restart alone.
    #[error("the thread that tends the NVML worker died")]
    Lost,
    /// [`crate::Nvml::shutdown`] was called.
    #[error("NVML was shut down")]
    Closed,
}

impl NvmlError {
    /// Whether the driver that answers next is another one.
    pub(crate) fn ends_the_driver(&self) -> bool {
        matches!(self, NvmlError::NoDriver { .. } | NvmlError::VersionMismatch { .. })
    }
}

impl From<CallError> for NvmlError {
    fn from(error: CallError) -> NvmlError {
        match error {
            CallError::NotReady { reason } => NvmlError::NoDriver { reason },
            CallError::Stuck { call, after, .. } => NvmlError::Stuck { call, after },
            CallError::Crashed { call, how, .. } => NvmlError::Crashed { call, how },
            CallError::Garbage { reason } => NvmlError::Garbage { reason },
            CallError::TooManyAbandoned { count } => NvmlError::TooManyAbandoned { count },
            CallError::Released => NvmlError::Released,
            CallError::Lost => NvmlError::Lost,
            CallError::Closed => NvmlError::Closed,
            CallError::CannotStart { step, source } => {
                NvmlError::CannotStart { reason: format!("cannot {step}: {source}") }
            }
            other => NvmlError::CannotStart { reason: other.to_string() },
        }
    }
}
