//! What a person or a test does to processes, and a reset that they keep from happening. It knows the state folder; the
//! rules are the state's.

use thiserror::Error;

use super::{ProcessEntry, ProcessError, distinct};
use crate::control::ControlError;
use crate::state::StateFolder;

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
        let gpu = self.gpu(&entry.gpu)?;
        let started = self.commit(|state| {
            if state.lost.contains(&gpu.uuid) {
                return Err(ProcessError::Lost { gpu: gpu.index });
            }
            if state.drains.draining.contains(&gpu.uuid) {
                return Err(ProcessError::Draining { gpu: gpu.index });
            }
            state.start_process(&gpu, entry, state.clock.now_us())
        })?;
        Ok(started.map(|(pid, _)| pid)?)
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
