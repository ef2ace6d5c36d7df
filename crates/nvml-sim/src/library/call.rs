//! The choke point: every exported function passes here. It counts the call, lets it take its time, strikes it
//! with the fault that waits for it, and gives the function its look at the node.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Signal, getpid, kill_process};

use super::handle::{self, Kind};
use super::{Library, find};
use crate::code::Code;
use crate::faults::{Effect, Fault, strike};
use crate::node::{Gpu, Node};
use crate::snapshot::{GpuView, Snapshot};
use crate::state::{State, StateFolder, Watch, pause};

/// With this the functions begin that work before initialisation: those that initialise.
const INIT: &str = "nvmlInit";

/// One call in progress.
#[derive(Debug)]
pub struct Call<'a> {
    /// The library.
    pub library: &'a Library,
    snapshot: Result<Snapshot, Code>,
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
            self.call_log.record(function);
            self.meet_conditions(function, device)?;
            let snapshot = self.snapshot();
            if !function.starts_with(INIT) {
                snapshot.as_ref().map_err(|code| *code)?;
            }
            body(&Call { library: self, snapshot })
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => 0,
            Ok(Err(code)) => code.0,
            Err(_) => Code::UNKNOWN.0,
        }
    }

    /// Writes down a call of a function that cannot fail and so does not pass `call`.
    pub fn note(&self, function: &'static str) {
        self.call_log.record(function);
    }

    /// Latency and faults.
    fn meet_conditions(&self, function: &str, device: Option<u64>) -> Result<(), Code> {
        let Some(folder) = self.folder() else { return Ok(()) };
        let Ok(state) = folder.state() else { return Ok(()) };
        let node = self.process().node.clone();
        let latency = state.latency.as_ref().or(node.as_deref().map(|node| &node.latency));
        let delay = latency.map(|latency| latency.of(function)).unwrap_or_default();
        if !delay.is_zero() {
            pause(delay);
        }
        let gpu = node.as_deref().zip(device).and_then(|(node, device)| gpu_of(node, device).ok());
        let met = Met { function, gpu: gpu.map(|gpu| gpu.uuid.as_str()), folder: &folder };
        match state.faults.iter().find(|fault| met.concerned_by(fault)) {
            None => Ok(()),
            Some(fault) => met.suffer(fault),
        }
    }
}

/// A call that meets faults.
struct Met<'a> {
    function: &'a str,
    /// UUID of its GPU.
    gpu: Option<&'a str>,
    folder: &'a StateFolder,
}

impl Met<'_> {
    fn concerned_by(&self, fault: &Fault) -> bool {
        fault.concerns(self.function, self.gpu)
    }

    fn suffer(&self, fault: &Fault) -> Result<(), Code> {
        let effect = if fault.is_steady() {
            Some(fault.effect)
        } else {
            // Counted in the state, so that "once" is once over all processes. Where the folder cannot be
            // written (a read-only mount) the fault strikes each time.
            let strike = |state: &mut State| strike(&mut state.faults, self.function, self.gpu);
            self.folder.update(strike).unwrap_or_else(|error| {
                find::complain(&error);
                Some(fault.effect)
            })
        };
        match effect {
            None => Ok(()),
            Some(Effect::Return(code)) => Err(Code(code)),
            Some(Effect::Hang) => {
                self.hang(fault);
                Ok(())
            }
            Some(Effect::Crash) => crash(),
        }
    }

    /// Blocks until no hang waits for this call any more. A hang that strikes a number of calls holds each of
    /// them for ever: nothing is left in the state that could be cleared.
    fn hang(&self, fault: &Fault) {
        let watch = Watch::new(self.folder.dir());
        let holds = |faults: &[Fault]| {
            faults.iter().any(|fault| fault.effect == Effect::Hang && self.concerned_by(fault))
        };
        while !fault.is_steady() || self.folder.state().is_ok_and(|state| holds(&state.faults)) {
            watch.wait(None);
        }
    }
}

fn gpu_of(node: &Node, handle: u64) -> Result<&Gpu, Code> {
    let index = handle::decode(Kind::Gpu, handle)?;
    node.gpus.get(index as usize).ok_or(Code::INVALID_ARGUMENT)
}

/// Ends the process by SIGSEGV. A runtime that catches the first one resets its handler, so a second ends it.
fn crash() -> ! {
    loop {
        let _ = kill_process(getpid(), Signal::SEGV);
    }
}

impl<'a> Call<'a> {
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
        handle::encode(Kind::Gpu, u32::try_from(gpu.index).unwrap_or(u32::MAX))
    }
}
