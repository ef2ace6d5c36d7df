//! What a person or a test does to processes, and a reset that they keep from happening. It knows the state folder; the
//! rules are the state's.

use std::fs::File;

use thiserror::Error;

use super::{Lives, ProcessEntry, ProcessError, distinct};
use crate::control::ControlError;
use crate::node::Gpu;
use crate::state::{State, StateFolder};

/// Lets a process begin on GPUs that take some, and gives its pid: that of the first entry, which all the others get.
fn start_all(state: &mut State, entries: Vec<(Gpu, ProcessEntry)>) -> Result<u32, ProcessError> {
    let mut known = None;
    for (gpu, entry) in entries {
        if state.lost.contains(&gpu.uuid) {
            return Err(ProcessError::Lost { gpu: gpu.index });
        }
        if state.drains.draining.contains(&gpu.uuid) {
            return Err(ProcessError::Draining { gpu: gpu.index });
        }
        let entry = ProcessEntry { pid: known.or(entry.pid), ..entry };
        known = Some(state.start_process(&gpu, entry, state.clock.now_us())?);
    }
    known.ok_or(ProcessError::NoGpu)
}

/// A reset of a GPU that processes use.
#[derive(Debug, Error)]
#[error(
    "GPU {gpu} is in use by process {}: end it by `nvml-sim process kill`, or reset with --force, which ends it too",
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
)]
pub struct InUseError {
    /// Its index.
    pub gpu: usize,
    /// The processes.
    pub pids: Vec<u32>,
}

impl StateFolder {
    /// Lets a process begin, and gives its pid.
    pub fn start_process(&self, entry: ProcessEntry) -> Result<u32, ControlError> {
        self.start_processes(vec![entry])
    }

    /// Lets one process begin on several GPUs or in several ways, in all or none, and gives its pid.
    pub fn start_processes(&self, entries: Vec<ProcessEntry>) -> Result<u32, ControlError> {
        let entries = self.with_gpus(entries)?;
        let started = self.commit(|state| start_all(state, entries))?;
        Ok(started.map(|(pid, _)| pid)?)
    }

    /// Lets a process of the machine begin, in all ways or none. It runs as long as the file that this gives is open anywhere,
    /// in whichever process.
    pub fn start_life(&self, pid: u32, entries: Vec<ProcessEntry>) -> Result<File, ControlError> {
        let with_pid = entries.into_iter().map(|entry| ProcessEntry { pid: Some(pid), ..entry });
        let entries = self.with_gpus(with_pid.collect())?;
        let started = self.commit(|state| -> Result<File, ControlError> {
            let before = state.processes.0.len();
            start_all(state, entries)?;
            let (name, file) = Lives::of(self.dir()).begin(pid)?;
            state.processes.0.iter_mut().skip(before).for_each(|process| process.life = Some(name.clone()));
            Ok(file)
        })?;
        started.map(|(file, _)| file)
    }

    fn with_gpus(&self, entries: Vec<ProcessEntry>) -> Result<Vec<(Gpu, ProcessEntry)>, ControlError> {
        entries.into_iter().map(|entry| Ok((self.gpu(&entry.gpu)?, entry))).collect()
    }

    /// Ends a process. Returns on how many GPUs or instances it ran.
    pub fn end_process(&self, pid: u32) -> Result<usize, ControlError> {
        let ended = self.commit(|state| match state.end_process(pid, state.clock.now_us()) {
            0 => Err(ProcessError::NotThere { pid }),
            ended => Ok(ended),
        })?;
        Ok(ended.map(|(ended, _)| ended)?)
    }

    /// Resets a GPU. Processes on it keep it from happening.
    pub fn reset(&self, gpu: &str) -> Result<(), ControlError> {
        let gpu = self.gpu(gpu)?;
        self.commit(|state| {
            let pids = distinct(state.processes.of(&gpu.uuid).map(|process| process.pid));
            if !pids.is_empty() {
                return Err(InUseError { gpu: gpu.index, pids });
            }
            state.reset(&gpu);
            Ok(())
        })??;
        Ok(())
    }

    /// Resets a GPU, and ends the processes on it.
    pub fn reset_by_force(&self, gpu: &str) -> Result<(), ControlError> {
        let gpu = self.gpu(gpu)?;
        Ok(self.update(|state| state.reset(&gpu))?)
    }
}
