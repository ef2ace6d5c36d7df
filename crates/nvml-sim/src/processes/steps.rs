//! What ends processes, and what they keep from happening: an instance or a mode that one of them needs stays. It knows the
//! state, not who changes it.

use super::Process;
use crate::code::Code;
use crate::events::{EventKind, EventRecord};
use crate::mig::{GpuMig, MigState};
use crate::node::Gpu;
use crate::state::State;

impl State {
    /// Ends the processes of a pid. Returns on how many GPUs or instances it ran.
    pub fn end_process(&mut self, pid: u32, now_us: u64) -> usize {
        self.end_processes(now_us, |process| process.pid == pid)
    }

    /// Ends the processes that are tied to lives which are over.
    pub(crate) fn end_lives(&mut self, is_over: impl Fn(&str) -> bool) {
        // A process on several GPUs has one life, and to look at it costs system calls.
        let lives = self.processes.lives();
        let over: Vec<String> = lives.filter(|life| is_over(life)).map(str::to_owned).collect();
        let ends = |process: &Process| process.life.as_ref().is_some_and(|life| over.contains(life));
        self.end_processes(self.clock.now_us(), ends);
    }

    fn end_processes(&mut self, now_us: u64, ends: impl Fn(&Process) -> bool) -> usize {
        let ended = self.processes.take(ends);
        for (gpu, modes) in &mut self.modes {
            let own: Vec<&Process> = ended.iter().filter(|process| process.gpu == *gpu).collect();
            if let (Some(accounting), false) = (&mut modes.accounting, own.is_empty()) {
                accounting.write_down(&own, now_us);
            }
        }
        ended.len()
    }

    /// Ends the processes of a GPU, as a reset of it does.
    pub fn end_processes_of(&mut self, gpu: &Gpu) {
        self.end_processes(self.clock.now_us(), |process| process.gpu == gpu.uuid);
    }

    /// Ends all processes, as a driver that is loaded anew does.
    pub fn end_all_processes(&mut self) {
        self.end_processes(self.clock.now_us(), |_| true);
    }

    /// Changes MIG mode or instances of a GPU, all or nothing: `IN_USE` where a process needs what would be gone.
    pub fn change_mig<T>(
        &mut self,
        gpu: &Gpu,
        change: impl FnOnce(&mut MigState, &Gpu) -> Result<T, Code>,
    ) -> Result<T, Code> {
        let before = self.mig.gpus.get(&gpu.uuid).cloned();
        let value = change(&mut self.mig, gpu)?;
        self.tell_mig(gpu, before.as_ref());
        let fit = self.processes.fit(&gpu.uuid, self.mig.gpus.get(&gpu.uuid));
        if fit { Ok(value) } else { Err(Code::IN_USE) }
    }

    /// Asks for a MIG mode. The inner error is the activation status: `IN_USE` while a process runs on the GPU.
    pub fn set_mig_mode(&mut self, gpu: &Gpu, on: bool) -> Result<Result<(), Code>, Code> {
        let before = self.mig.gpus.get(&gpu.uuid).cloned();
        let status = match self.processes.of(&gpu.uuid).next() {
            Some(_) => self.mig.set_pending_mode(gpu, on),
            None => self.mig.set_mode(gpu, on),
        }?;
        self.tell_mig(gpu, before.as_ref());
        Ok(status)
    }

    /// Reports a change of a GPU's MIG mode or instances, if it is one.
    fn tell_mig(&mut self, gpu: &Gpu, before: Option<&GpuMig>) {
        if self.mig.gpus.get(&gpu.uuid) == before {
            return;
        }
        self.events.push(EventRecord {
            sequence: 0,
            gpu: gpu.uuid.clone(),
            kind: EventKind::MigConfig,
            data: 0,
            before: None,
            time_us: self.clock.now_us(),
            gpu_instance: None,
            compute_instance: None,
        });
    }
}
