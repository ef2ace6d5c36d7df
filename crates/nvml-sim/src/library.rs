//! What the library is in one process: initialisation, event sets, and the one point through which every call
//! goes. It knows no C type; `nvml-sim-abi` translates.

mod call;
mod call_log;
mod complaints;
mod delays;
mod drain;
mod ecc;
mod enumeration;
mod event_sets;
mod find;
mod gpm;
mod handle;
mod mig;
mod suffer;
mod switching;
mod system_events;
mod tuning;
mod wait;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::code::Code;
use crate::driver_load::KnownLoad;
use crate::events::RegisteredEvents;
use crate::mig::DeviceView;
use crate::modes::{ComputeMode, Modes};
use crate::snapshot::{GpuView, Snapshot};
use crate::state::{State, StateFolder, StateFolderError};
use call_log::CallLog;
pub(crate) use complaints::Complaints;
use delays::Delays;
use enumeration::Enumeration;
use find::FindError;
use gpm::GpmSamples;
use system_events::SystemEventSet;

pub use call::Call;
pub use event_sets::LibraryEvent;
pub use mig::{compute_instance_handle, gpu_instance_handle, mig_handle};

/// The library in this process. Nothing in it outlives the last shutdown but handles, which are only numbers.
#[derive(Debug)]
pub struct Library {
    /// An address within the library, by which it finds out where it lies.
    address: usize,
    process: Mutex<Process>,
    call_log: CallLog,
    complaints: Complaints,
    delays: Delays,
    /// Calls that answered nonsense.
    garbled: AtomicU64,
}

#[derive(Debug, Default)]
struct Process {
    initialisations: u32,
    folder: Option<Arc<StateFolder>>,
    gpus: Option<Enumeration>,
    event_sets: BTreeMap<u32, RegisteredEvents>,
    event_sets_made: u32,
    gpm: GpmSamples,
    system_event_sets: BTreeMap<u32, SystemEventSet>,
    load: KnownLoad,
}

impl Library {
    /// The library, given the address of one of its functions.
    pub fn new(address: usize) -> Library {
        let call_log = CallLog::of(find::state_dir(address).ok());
        Library {
            address,
            process: Mutex::default(),
            call_log,
            complaints: Complaints::default(),
            delays: Delays::default(),
            garbled: AtomicU64::new(0),
        }
    }

    /// One initialisation more; the first takes the node, and the folder in which it was seen.
    fn begin(&self, folder: &Arc<StateFolder>, snapshot: &Snapshot) {
        let mut process = self.process();
        if process.initialisations == 0 {
            process.folder = Some(Arc::clone(folder));
            process.gpus = Some(Enumeration::new(&snapshot.node, &snapshot.state.drains));
            process.load.begin(&snapshot.state.driver);
        }
        process.initialisations = process.initialisations.saturating_add(1);
    }

    /// `nvmlShutdown`: undoes one initialisation; the last one frees everything.
    pub fn shutdown(&self) -> Result<(), Code> {
        let mut process = self.process();
        match process.initialisations {
            0 => return Err(Code::UNINITIALIZED),
            1 => {
                process.gpus = None;
                process.event_sets.clear();
                process.gpm = GpmSamples::default();
                process.system_event_sets.clear();
                process.load.end();
            }
            _ => {}
        }
        process.initialisations -= 1;
        Ok(())
    }

    /// `nvmlDeviceSetPersistenceMode`, which only root may.
    pub fn set_persistence_mode(&self, gpu: GpuView<'_>, on: bool) -> Result<(), Code> {
        self.change(|state| {
            state.modes_of(gpu.gpu).persistence_mode = on;
            Ok(())
        })
    }

    /// `nvmlDeviceSetComputeMode`, which only root may. With MIG on it is that of a MIG device, and
    /// cannot be changed of the GPU.
    pub fn set_compute_mode(&self, device: DeviceView<'_>, mode: ComputeMode) -> Result<(), Code> {
        match device {
            DeviceView::Gpu(gpu) => self.change_modes(gpu, |modes| modes.compute_mode = mode),
            DeviceView::Mig(device) => self.set_compute_mode_of_mig(device, mode),
        }
    }

    /// `nvmlDeviceSetAccountingMode`, which only root may. Switched off, it forgets all.
    pub fn set_accounting_mode(&self, gpu: GpuView<'_>, on: bool) -> Result<(), Code> {
        self.change_modes(gpu, |modes| modes.set_accounting(on))
    }

    /// `nvmlDeviceClearAccountingPids`, which only root may.
    pub fn clear_accounting(&self, gpu: GpuView<'_>) -> Result<(), Code> {
        self.change_modes(gpu, |modes| {
            if let Some(accounting) = &mut modes.accounting {
                accounting.clear();
            }
        })
    }

    fn change_modes(&self, gpu: GpuView<'_>, change: impl FnOnce(&mut Modes)) -> Result<(), Code> {
        self.change_state_of(gpu, |state| {
            if state.mig.gpus.get(&gpu.gpu.uuid).is_some_and(|mig| mig.enabled) {
                return Err(Code::NOT_SUPPORTED);
            }
            change(state.modes_of(gpu.gpu));
            Ok(())
        })
    }

    /// Changes the state of a GPU that answers, which only root may.
    fn change_state_of<T>(
        &self,
        gpu: GpuView<'_>,
        change: impl FnOnce(&mut State) -> Result<T, Code>,
    ) -> Result<T, Code> {
        self.change(|state| {
            if state.lost.contains(&gpu.gpu.uuid) {
                return Err(Code::GPU_IS_LOST);
            }
            change(state)
        })
    }

    /// Changes the state, which only root may; looked at and changed under one lock.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T, Code>) -> Result<T, Code> {
        if !rustix::process::geteuid().is_root() {
            return Err(Code::NO_PERMISSION);
        }
        let folder = self.folder().map_err(|_| Code::UNINITIALIZED)?;
        let changed = folder.commit(change).map_err(|error| {
            self.complaints.say(&error);
            Code::UNKNOWN
        })?;
        changed.map(|(value, _)| value)
    }

    /// A consistent look at the node, if initialised.
    fn snapshot(&self) -> Result<Snapshot, Code> {
        let folder = {
            let process = self.process();
            process.folder.clone().filter(|_| process.gpus.is_some()).ok_or(Code::UNINITIALIZED)?
        };
        let state = self.state_of(&folder)?;
        let mut process = self.process();
        process.load.check(&state.driver)?;
        let node = process.gpus.as_mut().ok_or(Code::UNINITIALIZED)?.look(&state.drains);
        Ok(Snapshot { node, state })
    }

    fn state_of(&self, folder: &StateFolder) -> Result<Arc<State>, Code> {
        folder.state().map_err(|error| {
            self.complaints.say(&error);
            match error {
                StateFolderError::Format { .. } => Code::LIB_RM_VERSION_MISMATCH,
                _ => Code::UNKNOWN,
            }
        })
    }

    /// The state folder. Looked for until found, since the driver may appear after the client started.
    fn folder(&self) -> Result<Arc<StateFolder>, FindError> {
        let mut process = self.process();
        if let Some(folder) = process.folder.as_ref().filter(|_| process.initialisations > 0) {
            return Ok(Arc::clone(folder));
        }
        let dir = find::state_dir(self.address)?;
        let known = process.folder.take().filter(|folder| folder.dir() == dir && folder.is_there());
        let folder = known.map_or_else(|| StateFolder::open(&dir).map(Arc::new), Ok)?;
        process.folder = Some(Arc::clone(&folder));
        Ok(folder)
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
