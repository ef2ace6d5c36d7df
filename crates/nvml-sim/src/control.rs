//! What a person or a test does to a running node: XIDs, lost GPUs, settings, clock, faults. It knows the
//! concerns and their rules; the command line and tests both come here.

use std::time::Duration;

use thiserror::Error;

use crate::code::Code;
use crate::events::{EventKind, EventRecord};
use crate::faults::{Effect, Fault};
use crate::functions::{self, UnknownFunctionError};
use crate::latency::{Delay, Latency};
use crate::mig::MigState;
use crate::node::{Gpu, Node};
use crate::overrides::Overrides;
use crate::settings::{self, SettingError, Target};
use crate::state::{State, StateFolder, StateFolderError};

/// The XID of a GPU that has fallen off the bus.
pub const XID_OFF_THE_BUS: u64 = 79;

/// Why a command changed nothing.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The state folder could not be used.
    #[error(transparent)]
    Folder(#[from] StateFolderError),
    /// No such GPU.
    #[error("no GPU `{name}`: name it by index, UUID or PCI address; {known}")]
    NoGpu {
        /// The name given.
        name: String,
        /// What would be right.
        known: String,
    },
    /// No such function.
    #[error(transparent)]
    NoFunction(#[from] UnknownFunctionError),
    /// A fault of one GPU's calls, of a function that takes no GPU.
    #[error("no call of `{function}` takes a GPU's handle; leave the GPU out, and every call is struck")]
    TakesNoGpu {
        /// The function, as it was written.
        function: String,
    },
    /// A wrong code from a function that returns none.
    #[error("`{function}` returns no code: its calls can hang or crash")]
    ReturnsNoCode {
        /// The function.
        function: String,
    },
    /// A change of MIG mode or instances that the driver refuses.
    #[error("GPU {gpu} refuses it with {code}: {}", refusal(*code))]
    Mig {
        /// Its index.
        gpu: usize,
        /// What NVML's function would return.
        code: Code,
    },
    /// A setting that cannot be.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

impl StateFolder {
    /// Adds a critical XID to the event log, and wakes who waits for it.
    pub fn inject_xid(
        &self,
        gpu: &str,
        xid: u64,
        gpu_instance: Option<u32>,
        compute_instance: Option<u32>,
    ) -> Result<(), ControlError> {
        let gpu = self.uuid_of(gpu)?;
        Ok(self.update(|state| push_xid(state, &gpu, xid, gpu_instance, compute_instance))?)
    }

    /// Loses a GPU: every call on it gives `GPU_IS_LOST`. With `xid`, that XID is logged at the same moment.
    pub fn lose(&self, gpu: &str, xid: Option<u64>) -> Result<(), ControlError> {
        let gpu = self.uuid_of(gpu)?;
        Ok(self.update(|state| {
            state.lost.lose(&gpu);
            if let Some(xid) = xid {
                push_xid(state, &gpu, xid, None, None);
            }
        })?)
    }

    /// Brings a lost GPU back.
    pub fn give_back(&self, gpu: &str) -> Result<(), ControlError> {
        let gpu = self.uuid_of(gpu)?;
        Ok(self.update(|state| state.lost.give_back(&gpu))?)
    }

    /// Sets a reading or mode of a GPU; empty text gives it back.
    pub fn set(&self, gpu: &str, key: &str, value: &str) -> Result<(), ControlError> {
        self.set_all(gpu, &[(key, value)])
    }

    /// Sets readings and modes of a GPU, all or none.
    pub fn set_all(&self, gpu: &str, values: &[(&str, &str)]) -> Result<(), ControlError> {
        let gpu = self.gpu(gpu)?;
        self.commit(|state| {
            let mut readings = state.overrides.remove(&gpu.uuid).unwrap_or_default();
            let modes = state.modes_of(&gpu);
            for (key, value) in values {
                let target = Target { model: &gpu.model, readings: &mut readings, modes: &mut *modes };
                settings::set(key, value, target)?;
            }
            if readings != Overrides::default() {
                state.overrides.insert(gpu.uuid.clone(), readings);
            }
            Ok::<_, SettingError>(())
        })??;
        Ok(())
    }

    /// Sets how long a function's calls take, or with no function all calls; no delay gives it back to the node
    /// file (a function: to the default).
    pub fn set_latency(&self, function: Option<&str>, delay: Option<Delay>) -> Result<(), ControlError> {
        function.map_or(Ok(()), functions::check)?;
        let declared = self.node()?.latency;
        Ok(self.update(|state| {
            let mut latency = state.latency.take().unwrap_or_else(|| declared.clone());
            match (function, delay) {
                (None, Some(delay)) => latency.default = delay,
                (None, None) => latency = declared.clone(),
                (Some(function), Some(delay)) => {
                    latency.functions.insert(function.to_owned(), delay);
                }
                (Some(function), None) => {
                    latency.functions.remove(function);
                }
            }
            state.latency = (latency != declared).then_some(latency);
        })?)
    }

    /// Replaces all delays.
    pub fn set_latencies(&self, latency: Latency) -> Result<(), ControlError> {
        latency.functions.keys().try_for_each(|function| functions::check(function))?;
        Ok(self.update(|state| state.latency = Some(latency))?)
    }

    /// Stops the node's clock.
    pub fn freeze_clock(&self) -> Result<(), ControlError> {
        Ok(self.update(|state| state.clock = state.clock.freeze())?)
    }

    /// Moves the node's clock on.
    pub fn advance_clock(&self, by: Duration) -> Result<(), ControlError> {
        Ok(self.update(|state| state.clock = state.clock.advance(by))?)
    }

    /// Lets the node's clock run again, without going back.
    pub fn resume_clock(&self) -> Result<(), ControlError> {
        Ok(self.update(|state| state.clock = state.clock.resume())?)
    }

    /// Changes MIG mode or instances of a GPU, all or nothing.
    pub fn change_mig<T>(
        &self,
        gpu: &str,
        change: impl FnOnce(&mut MigState, &Gpu) -> Result<T, Code>,
    ) -> Result<T, ControlError> {
        let gpu = self.gpu(gpu)?;
        let changed = self.commit(|state| change(&mut state.mig, &gpu))?;
        changed.map(|(value, _)| value).map_err(|code| ControlError::Mig { gpu: gpu.index, code })
    }

    /// Adds a fault. Its GPU may be named by index, UUID or PCI address.
    pub fn add_fault(&self, mut fault: Fault) -> Result<(), ControlError> {
        functions::check(&fault.function)?;
        if let (Effect::Return(_), "nvmlErrorString") = (fault.effect, fault.function.as_str()) {
            return Err(ControlError::ReturnsNoCode { function: fault.function });
        }
        if let Some(name) = &fault.gpu {
            let uuid = self.uuid_of(name)?;
            if !functions::takes_gpu(&fault.function) {
                return Err(ControlError::TakesNoGpu { function: fault.function });
            }
            fault.gpu = Some(uuid);
        }
        Ok(self.update(|state| state.faults.push(fault))?)
    }

    /// Removes the faults of a function (as it was written when added), or all. Returns how many there were.
    pub fn clear_faults(&self, function: Option<&str>) -> Result<usize, ControlError> {
        Ok(self.update(|state| {
            let before = state.faults.len();
            state.faults.retain(|fault| function.is_some_and(|function| fault.function != function));
            before - state.faults.len()
        })?)
    }

    /// Removes the faults of one GPU's calls: of a function, or all. Returns how many there were.
    pub fn clear_faults_of_gpu(&self, gpu: &str, function: Option<&str>) -> Result<usize, ControlError> {
        let gpu = self.uuid_of(gpu)?;
        Ok(self.update(|state| {
            let before = state.faults.len();
            state.faults.retain(|fault| {
                fault.gpu.as_ref() != Some(&gpu)
                    || function.is_some_and(|function| fault.function != function)
            });
            before - state.faults.len()
        })?)
    }

    fn uuid_of(&self, name: &str) -> Result<String, ControlError> {
        Ok(self.gpu(name)?.uuid)
    }

    /// The GPU that a person names.
    pub(crate) fn gpu(&self, name: &str) -> Result<Gpu, ControlError> {
        let node: Node = self.node()?;
        node.find(name).cloned().ok_or_else(|| {
            let known = match node.gpus.len() {
                0 => "the node has none".to_owned(),
                1 => "there is one, index 0".to_owned(),
                count => format!("there are indexes 0 to {}", count - 1),
            };
            ControlError::NoGpu { name: name.to_owned(), known }
        })
    }
}

/// What a refusal of the MIG rules means.
fn refusal(code: Code) -> &'static str {
    match code {
        Code::NOT_SUPPORTED => "it cannot do MIG, or MIG is off",
        Code::INSUFFICIENT_RESOURCES => "what is there already leaves no room",
        Code::IN_USE => "instances are left that must go first",
        Code::NOT_FOUND => "there is no such instance",
        Code::INVALID_ARGUMENT => "no such profile or place there",
        _ => "the driver says no more",
    }
}

fn push_xid(
    state: &mut State,
    gpu: &str,
    xid: u64,
    gpu_instance: Option<u32>,
    compute_instance: Option<u32>,
) {
    let time_us = state.clock.now_us();
    state.events.push(EventRecord {
        sequence: 0,
        gpu: gpu.to_owned(),
        kind: EventKind::Xid,
        data: xid,
        time_us,
        gpu_instance,
        compute_instance,
    });
}
