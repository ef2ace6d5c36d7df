//! What the library is in one process: initialisation, event sets, and the one point through which every call
//! goes. It knows no C type; `nvml-sim-abi` translates.

mod call;
mod call_log;
mod event_wait;
mod find;
mod handle;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::code::Code;
use crate::node::Node;
use crate::snapshot::{GpuView, Snapshot};
use crate::state::StateFolder;
use call_log::CallLog;

use crate::events::RegisteredEvents;
pub use call::Call;
pub use event_wait::LibraryEvent;

/// The library in this process. Nothing in it outlives the last shutdown but handles, which are only numbers.
#[derive(Debug)]
pub struct Library {
    /// An address within the library, by which it finds out where it lies.
    address: usize,
    process: Mutex<Process>,
    call_log: CallLog,
}

#[derive(Debug, Default)]
struct Process {
    initialisations: u32,
    folder: Option<Arc<StateFolder>>,
    node: Option<Arc<Node>>,
    event_sets: BTreeMap<u32, RegisteredEvents>,
    event_sets_made: u32,
}

impl Library {
    /// The library, given the address of one of its functions.
    pub fn new(address: usize) -> Library {
        Library { address, process: Mutex::default(), call_log: CallLog::of(find::state_dir(address)) }
    }

    /// `nvmlInit`: loads the node on the first of nested initialisations.
    pub fn init(&self) -> Result<(), Code> {
        let folder = self.folder().ok_or(Code::DRIVER_NOT_LOADED)?;
        let mut process = self.process();
        if process.initialisations == 0 {
            let node = folder.node().map_err(|error| {
                find::complain(&error);
                Code::DRIVER_NOT_LOADED
            })?;
            process.node = Some(Arc::new(node));
        }
        process.initialisations = process.initialisations.saturating_add(1);
        Ok(())
    }

    /// `nvmlShutdown`: undoes one initialisation; the last one frees everything.
    pub fn shutdown(&self) -> Result<(), Code> {
        let mut process = self.process();
        match process.initialisations {
            0 => return Err(Code::UNINITIALIZED),
            1 => {
                process.node = None;
                process.event_sets.clear();
            }
            _ => {}
        }
        process.initialisations -= 1;
        Ok(())
    }

    /// `nvmlDeviceSetPersistenceMode`, which only root may.
    pub fn set_persistence_mode(&self, gpu: GpuView<'_>, on: bool) -> Result<(), Code> {
        if !rustix::process::geteuid().is_root() {
            return Err(Code::NO_PERMISSION);
        }
        let folder = self.folder().ok_or(Code::UNINITIALIZED)?;
        let uuid = gpu.gpu.uuid.clone();
        let set = folder.update(|state| state.overrides.entry(uuid).or_default().persistence_mode = Some(on));
        set.map_err(|error| {
            find::complain(&error);
            Code::UNKNOWN
        })
    }

    /// A consistent look at the node, if initialised.
    fn snapshot(&self) -> Result<Snapshot, Code> {
        let (folder, node) = {
            let process = self.process();
            let node = process.node.clone().ok_or(Code::UNINITIALIZED)?;
            (process.folder.clone().ok_or(Code::UNINITIALIZED)?, node)
        };
        let state = folder.state().map_err(|error| {
            find::complain(&error);
            Code::UNKNOWN
        })?;
        Ok(Snapshot { node, state })
    }

    /// The state folder. Looked for until found, since the driver may appear after the client started.
    fn folder(&self) -> Option<Arc<StateFolder>> {
        let mut process = self.process();
        if process.initialisations > 0 {
            return process.folder.clone();
        }
        let dir = find::state_dir(self.address)?;
        match &process.folder {
            Some(folder) if folder.dir() == dir && dir.join("node.yaml").exists() => {}
            _ => process.folder = StateFolder::open(&dir).ok().map(Arc::new),
        }
        process.folder.clone()
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
