//! The choke point: every exported function passes here. It counts the call, looks at the node once, lets the call
//! take its time, strikes it with the fault that waits for it, and gives the function what was seen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Library;
use super::handle::{self, Kind};
use super::mig::gpu_of_mig_device;
use super::suffer::{Met, Suffered};
use crate::code::Code;
use crate::faults::spread;
use crate::garbage;
use crate::node::{Gpu, Node};
use crate::snapshot::{GpuView, Snapshot};
use crate::state::{State, StateFolder, StateFolderError, pause};

/// The functions that work before initialisation begin so: those that initialise, and those for whose answer NVML's
/// header asks none.
const EARLY: [&str; 3] = ["nvmlInit", "nvmlSystemGetNVMLVersion", "nvmlSystemGetCudaDriverVersion"];

const SHUTDOWN: &str = "nvmlShutdown";

/// One call in progress.
#[derive(Debug)]
pub struct Call<'a> {
    /// The library.
    pub library: &'a Library,
    folder: Option<Arc<StateFolder>>,
    snapshot: Result<Snapshot, Code>,
}

/// What a call sees of the node, all of one moment.
struct Look {
    folder: Option<Arc<StateFolder>>,
    /// Every GPU of it.
    declared: Result<Arc<Node>, Code>,
    /// The GPUs that this process sees.
    node: Result<Arc<Node>, Code>,
    state: Result<Arc<State>, Code>,
}

impl Library {
    /// Runs one call and gives its return value; `device` is the first GPU handle among its arguments, if it takes
    /// one. A panic is `NVML_ERROR_UNKNOWN`: it must not cross into C.
    pub fn call(
        &self,
        function: &'static str,
        device: Option<u64>,
        body: impl FnOnce(&Call<'_>) -> Result<(), Code>,
    ) -> u32 {
        let run = || {
            let mut look = self.look(function);
            let suffered = self.meet_conditions(function, device, &look)?;
            if let Suffered::Change = suffered {
                look = self.look(function);
            }
            let (folder, snapshot) = (look.folder.clone(), look.snapshot());
            // A program of an earlier load of the driver can still shut down, to initialise anew.
            let is_current = |snapshot: Snapshot| match self.process().load.check(&snapshot.state.driver) {
                Err(code) if function != SHUTDOWN => Err(code),
                _ => Ok(snapshot),
            };
            let snapshot = snapshot.and_then(is_current);
            if !is_early(function) {
                snapshot.as_ref().map_err(|code| *code)?;
            }
            let call = Call { library: self, folder, snapshot };
            match suffered {
                // Each struck call of a process gives other nonsense, and the same in each run.
                Suffered::Garbage { seed } => {
                    let number = self.garbled.fetch_add(1, Ordering::Relaxed);
                    garbage::answering(spread(seed, number), || body(&call))
                }
                Suffered::Nothing | Suffered::Change => body(&call),
            }
        };
        let began = self.call_log.begin(function);
        let code = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => 0,
            Ok(Err(code)) => code.0,
            Err(_) => Code::UNKNOWN.0,
        };
        self.call_log.end(function, began);
        code
    }

    /// Runs a call of a function that returns no code and looks at no node: a fault can hold it or end its process,
    /// and nothing else.
    pub fn call_without_code(&self, function: &'static str) {
        let _ = self.call(function, None, |_| Ok(()));
    }

    fn look(&self, function: &str) -> Look {
        let folder = match self.folder() {
            Ok(folder) => Some(folder),
            Err(error) => {
                if is_early(function) {
                    self.complaints.say(&error);
                }
                None
            }
        };
        let loaded = self.process().gpus.as_ref().map(|gpus| Arc::clone(gpus.declared()));
        let declared = match (loaded, &folder) {
            (Some(node), _) => Ok(node),
            (None, _) if !is_early(function) => Err(Code::UNINITIALIZED),
            (None, None) => Err(Code::DRIVER_NOT_LOADED),
            (None, Some(folder)) => folder.node().map(Arc::new).map_err(|error| {
                self.complaints.say(&error);
                match error {
                    StateFolderError::Format { .. } => Code::LIB_RM_VERSION_MISMATCH,
                    StateFolderError::Damaged { .. } => Code::UNKNOWN,
                    _ => Code::DRIVER_NOT_LOADED,
                }
            }),
        };
        let state = folder.as_deref().ok_or(Code::DRIVER_NOT_LOADED).and_then(|folder| self.state_of(folder));
        // Another thread may have shut NVML down meanwhile.
        let seen = match (self.process().gpus.as_mut(), &state) {
            (Some(gpus), Ok(state)) => Some(gpus.look(&state.drains)),
            _ => None,
        };
        let node = seen.map_or_else(|| declared.clone(), Ok);
        Look { folder, declared, node, state }
    }

    /// Latency and faults.
    fn meet_conditions(
        &self,
        function: &'static str,
        device: Option<u64>,
        look: &Look,
    ) -> Result<Suffered, Code> {
        let (Some(folder), Ok(state)) = (&look.folder, &look.state) else { return Ok(Suffered::Nothing) };
        let node = look.node.as_deref().ok();
        let gpu = node.zip(device).and_then(|(node, device)| {
            gpu_of(node, device).or_else(|_| gpu_of_mig_device(node, state, device)).ok()
        });
        let gpu = gpu.map(|gpu| gpu.uuid.as_str());
        if let Some(latency) = state.latency.as_ref().or(node.map(|node| &node.latency)) {
            let delay = self.delays.next(latency, function, gpu);
            if !delay.is_zero() {
                pause(delay);
            }
        }
        let declared = look.declared.as_deref().ok();
        let met = Met { function, gpu, node: declared, folder, complaints: &self.complaints };
        met.suffer(state)
    }
}

fn is_early(function: &str) -> bool {
    EARLY.iter().any(|beginning| function.starts_with(beginning))
}

fn gpu_of(node: &Node, handle: u64) -> Result<&Gpu, Code> {
    let number = handle::decode(Kind::Gpu, handle)?;
    node.gpus.iter().find(|gpu| gpu.handle == number).ok_or(Code::INVALID_ARGUMENT)
}

impl Look {
    fn snapshot(self) -> Result<Snapshot, Code> {
        Ok(Snapshot { node: self.node?, state: self.state? })
    }
}

impl<'a> Call<'a> {
    /// `nvmlInit`: loads the node on the first of nested initialisations.
    pub fn init(&self) -> Result<(), Code> {
        let folder = self.folder.as_ref().ok_or(Code::DRIVER_NOT_LOADED)?;
        self.library.begin(folder, self.snapshot()?);
        Ok(())
    }

    /// The look at the node; `UNINITIALIZED` before `nvmlInit`.
    pub fn snapshot(&self) -> Result<&Snapshot, Code> {
        self.snapshot.as_ref().map_err(|code| *code)
    }

    /// The GPU of a handle, lost or not.
    pub fn any_gpu(&self, handle: u64) -> Result<&Gpu, Code> {
        gpu_of(&self.snapshot()?.node, handle)
    }

    /// The GPU of a handle, if it answers.
    pub fn gpu(&self, handle: u64) -> Result<GpuView<'_>, Code> {
        self.snapshot()?.view(self.any_gpu(handle)?)
    }

    /// The handle of a GPU.
    pub fn handle_of(&self, gpu: &Gpu) -> u64 {
        handle::encode(Kind::Gpu, gpu.handle)
    }
}
