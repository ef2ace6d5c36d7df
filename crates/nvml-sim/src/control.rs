//! What a person or a test does to a running node: XIDs, lost GPUs, settings, clock, faults. It knows the
//! concerns and their rules; the command line and tests both come here.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use crate::code::Code;
use crate::drain::DrainError;
use crate::faults::{Declared, Effect, Fault, FaultEntry, FaultError};
use crate::freeze;
use crate::functions::{self, TakesNoGpuError, UnknownFunctionError};
use crate::incidents::Recovery;
use crate::latency::{Distribution, GpuLatency, Latency};
use crate::loss::Loss;
use crate::mig::MigState;
use crate::node::{self, Gpu, NoGpuError};
use crate::processes::{InUseError, ProcessError};
use crate::settings::SettingError;
use crate::state::{StateFolder, StateFolderError};

/// The XID of a GPU that has fallen off the bus.
pub const XID_OFF_THE_BUS: u64 = 79;

/// Why a command changed nothing.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The state folder could not be used.
    #[error(transparent)]
    Folder(#[from] StateFolderError),
    /// No such GPU.
    #[error(transparent)]
    NoGpu(#[from] NoGpuError),
    /// No such function.
    #[error(transparent)]
    NoFunction(#[from] UnknownFunctionError),
    /// A change of MIG mode or instances that the driver refuses.
    #[error("GPU {gpu} refuses it with {code}: {}", refusal(*code))]
    Mig {
        /// Its index.
        gpu: usize,
        /// What NVML's function would return.
        code: Code,
    },
    /// A function that takes no GPU, of a GPU's calls.
    #[error(transparent)]
    TakesNoGpu(#[from] TakesNoGpuError),
    /// A fault that cannot be.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// A setting that cannot be.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A process that cannot be.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A GPU that the driver does not let go of.
    #[error(transparent)]
    Drain(#[from] DrainError),
    /// A reset of a GPU that is in use.
    #[error(transparent)]
    InUse(#[from] InUseError),
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
        let entry = FaultEntry { xid: Some(xid), gi: gpu_instance, ci: compute_instance, ..of_gpu(gpu) };
        self.declare(entry)
    }

    /// Loses a GPU: every call on it gives `GPU_IS_LOST`. With `xid`, that XID is logged at the same moment.
    pub fn lose(&self, gpu: &str, xid: Option<u64>) -> Result<(), ControlError> {
        self.declare(FaultEntry { lose: Some(Loss::Lost), xid, ..of_gpu(gpu) })
    }

    /// Does or schedules what an entry of a node file would say.
    pub fn declare(&self, entry: FaultEntry) -> Result<(), ControlError> {
        self.add(entry.declared()?)
    }

    /// Adds what was declared, in a machine that is ready for it.
    fn add(&self, declared: Declared) -> Result<(), ControlError> {
        let node = self.node()?;
        let declared = declared.checked(&node.gpus)?;
        if declared.freezes() {
            freeze::freeze(self.dir()).map_err(StateFolderError::Freeze)?;
        }
        let added = self.commit(|state| state.add(&node, declared, state.clock.now_us()));
        if added.is_err() {
            let _ = self.thaw_if_done();
        }
        added??;
        Ok(())
    }

    /// Thaws what no fault needs any more.
    fn thaw_if_done(&self) -> Result<(), ControlError> {
        if !self.state()?.faults.iter().any(|fault| fault.effect == Effect::Freeze) {
            freeze::thaw(self.dir()).map_err(StateFolderError::Freeze)?;
        }
        Ok(())
    }

    /// Loads the driver anew, in another version if one is given: what programs have initialised ends, and modes are those
    /// of a driver that was just loaded.
    pub fn reload(&self, version: Option<&str>) -> Result<(), ControlError> {
        version.map_or(Ok(()), node::check_driver_version).map_err(StateFolderError::Node)?;
        let node = self.node()?;
        Ok(self.update(|state| state.reload(&node, version))?)
    }

    /// Brings a lost GPU back.
    pub fn give_back(&self, gpu: &str) -> Result<(), ControlError> {
        self.declare(FaultEntry { recover: Some(Recovery::Return), ..of_gpu(gpu) })
    }

    /// Sets a reading or mode of a GPU; empty text gives it back.
    pub fn set(&self, gpu: &str, key: &str, value: &str) -> Result<(), ControlError> {
        self.set_all(gpu, &[(key, value)])
    }

    /// Sets readings and modes of a GPU, all or none.
    pub fn set_all(&self, gpu: &str, values: &[(&str, &str)]) -> Result<(), ControlError> {
        let gpu = self.gpu(gpu)?;
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.commit(|state| state.set(&gpu, &values))??;
        Ok(())
    }

    /// Sets how long a function's calls take, or with no function all calls; nothing gives it back to the node
    /// file (a function: to the default).
    pub fn set_latency(
        &self,
        function: Option<&str>,
        delay: Option<Distribution>,
    ) -> Result<(), ControlError> {
        function.map_or(Ok(()), functions::check)?;
        self.change_latency(|latency, declared| match (function, delay) {
            (None, Some(delay)) => latency.default = delay,
            (None, None) => {
                latency.default = declared.default.clone();
                latency.functions = declared.functions.clone();
            }
            (Some(function), delay) => put(&mut latency.functions, function, delay),
        })
    }

    /// The same for the calls on one GPU: those that take its handle first.
    pub fn set_latency_of_gpu(
        &self,
        gpu: &str,
        function: Option<&str>,
        delay: Option<Distribution>,
    ) -> Result<(), ControlError> {
        let gpu = self.uuid_of(gpu)?;
        function.map_or(Ok(()), functions::check)?;
        function.map_or(Ok(()), functions::check_takes_gpu)?;
        self.change_latency(|latency, declared| {
            let mut own = latency.gpus.remove(&gpu).unwrap_or_default();
            match (function, delay) {
                (None, Some(delay)) => own.default = Some(delay),
                (None, None) => own = declared.gpus.get(&gpu).cloned().unwrap_or_default(),
                (Some(function), delay) => put(&mut own.functions, function, delay),
            }
            if own != GpuLatency::default() {
                latency.gpus.insert(gpu, own);
            }
        })
    }

    /// Sets which draws are made of distributions; nothing gives it back to the node file.
    pub fn set_latency_seed(&self, seed: Option<u64>) -> Result<(), ControlError> {
        self.change_latency(|latency, declared| latency.seed = seed.unwrap_or(declared.seed))
    }

    fn change_latency(&self, change: impl FnOnce(&mut Latency, &Latency)) -> Result<(), ControlError> {
        let declared = self.node()?.latency;
        Ok(self.update(|state| {
            let mut latency = state.latency.take().unwrap_or_else(|| declared.clone());
            change(&mut latency, &declared);
            state.latency = (latency != declared).then_some(latency);
        })?)
    }

    /// Replaces all delays; GPUs are told by UUID.
    pub fn set_latencies(&self, latency: Latency) -> Result<(), ControlError> {
        let of_gpus = latency.gpus.values().flat_map(|own| own.functions.keys());
        latency.functions.keys().chain(of_gpus).try_for_each(|function| functions::check(function))?;
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
        let changed = self.commit(|state| state.change_mig(&gpu, change))?;
        changed.map(|(value, _)| value).map_err(|code| ControlError::Mig { gpu: gpu.index, code })
    }

    /// Asks for a MIG mode of a GPU. The inner error is the activation status: why it is not the current one.
    pub fn set_mig_mode(&self, gpu: &str, on: bool) -> Result<Result<(), Code>, ControlError> {
        let gpu = self.gpu(gpu)?;
        let changed = self.commit(|state| state.set_mig_mode(&gpu, on))?;
        changed.map(|(status, _)| status).map_err(|code| ControlError::Mig { gpu: gpu.index, code })
    }

    /// Lets a GPU take no new programs, or take them again.
    pub fn drain(&self, gpu: &str, on: bool) -> Result<(), ControlError> {
        self.declare(FaultEntry { drain: Some(on), ..of_gpu(gpu) })
    }

    /// Removes a GPU that drains; its PCI device may stay.
    pub fn remove_gpu(&self, gpu: &str, keep_device: bool) -> Result<(), ControlError> {
        self.declare(FaultEntry { remove: true, keep_device, ..of_gpu(gpu) })
    }

    /// Discovers the GPUs that were removed, or one of them.
    pub fn discover_gpus(&self, gpu: Option<&str>) -> Result<(), ControlError> {
        self.declare(FaultEntry { discover: true, gpu: gpu.map(str::to_owned), ..FaultEntry::default() })
    }

    /// Adds a fault. Its GPU may be named by index, UUID or PCI address.
    pub fn add_fault(&self, fault: Fault) -> Result<(), ControlError> {
        self.add(Declared::Fault(fault))
    }

    /// Removes the faults of a function (as it was written when added), or all. Returns how many there were.
    pub fn clear_faults(&self, function: Option<&str>) -> Result<usize, ControlError> {
        self.clear(None, function)
    }

    /// Removes the faults of one GPU's calls: of a function, or all. Returns how many there were.
    pub fn clear_faults_of_gpu(&self, gpu: &str, function: Option<&str>) -> Result<usize, ControlError> {
        self.clear(Some(&self.uuid_of(gpu)?), function)
    }

    fn clear(&self, gpu: Option<&str>, function: Option<&str>) -> Result<usize, ControlError> {
        let is_other = |own: &Option<String>| gpu.is_some_and(|gpu| own.as_deref() != Some(gpu));
        let cleared = self.update(|state| {
            let before = state.faults.len() + state.incidents.len();
            state.faults.retain(|fault| {
                is_other(&fault.gpu) || function.is_some_and(|function| fault.function != function)
            });
            state.incidents.retain(|incident| is_other(&incident.gpu) || function.is_some());
            before - state.faults.len() - state.incidents.len()
        })?;
        self.thaw_if_done()?;
        Ok(cleared)
    }

    fn uuid_of(&self, name: &str) -> Result<String, ControlError> {
        Ok(self.gpu(name)?.uuid)
    }

    /// The GPU that a person names.
    pub(crate) fn gpu(&self, name: &str) -> Result<Gpu, ControlError> {
        Ok(node::find_or_tell(&self.node()?.gpus, name)?.clone())
    }
}

fn put(delays: &mut BTreeMap<String, Distribution>, function: &str, delay: Option<Distribution>) {
    match delay {
        Some(delay) => delays.insert(function.to_owned(), delay),
        None => delays.remove(function),
    };
}

fn of_gpu(gpu: &str) -> FaultEntry {
    FaultEntry { gpu: Some(gpu.to_owned()), ..FaultEntry::default() }
}

/// What a refusal of the MIG rules means.
fn refusal(code: Code) -> &'static str {
    match code {
        Code::NOT_SUPPORTED => "it cannot do MIG, or MIG is off",
        Code::INSUFFICIENT_RESOURCES => "what is there already leaves no room",
        Code::IN_USE => "instances or processes are left that must go first",
        Code::NOT_FOUND => "there is no such instance",
        Code::INVALID_ARGUMENT => "no such profile or place there",
        _ => "the driver says no more",
    }
}
