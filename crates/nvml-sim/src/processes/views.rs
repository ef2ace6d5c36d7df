//! Processes as a look at the node shows them: those of a GPU or MIG device, and what they used lately. It changes nothing.

use super::{InstancePlace, Percent, Process, ProcessKind, distinct};
use crate::bytes::Bytes;
use crate::mig::DeviceView;
use crate::snapshot::{GpuView, Snapshot};

/// How far apart the samples of utilisation are, in microseconds: a sixth of a second (assumed).
pub const SAMPLE_US: u64 = 166_667;

/// What a process used of a GPU when it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessSample {
    /// The process.
    pub pid: u32,
    /// When, in microseconds since 1970.
    pub time_us: u64,
    /// What.
    pub load: ProcessLoad,
}

/// What processes use of a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessLoad {
    /// Part of the time that kernels run.
    pub sm: Percent,
    /// Part of the time that memory is read or written.
    pub memory_activity: Percent,
    /// Part of the encoders' time.
    pub encoder: Percent,
    /// Part of the decoders' time.
    pub decoder: Percent,
}

impl ProcessLoad {
    /// What they use together.
    pub fn of<'a>(processes: impl Iterator<Item = &'a Process>) -> ProcessLoad {
        processes.fold(ProcessLoad::default(), |all, process| ProcessLoad {
            sm: all.sm.plus(process.sm),
            memory_activity: all.memory_activity.plus(process.memory_activity),
            encoder: all.encoder.plus(process.encoder),
            decoder: all.decoder.plus(process.decoder),
        })
    }
}

impl<'a> GpuView<'a> {
    /// The processes on the GPU and its instances.
    pub fn processes(self) -> impl Iterator<Item = &'a Process> {
        self.snapshot.state.processes.of(&self.gpu.uuid)
    }

    /// Frame buffer that the processes on the GPU use.
    pub fn processes_memory(self) -> Bytes {
        memory_of(self.processes())
    }

    /// The last sample of each process that used something, if it is later than `since_us`.
    pub fn process_samples(self, since_us: u64) -> Vec<ProcessSample> {
        let now_us = self.snapshot.state.clock.now_us();
        let time_us = now_us - now_us % SAMPLE_US;
        let looked_at = || self.processes().filter(|process| process.start_us < time_us);
        let samples = distinct(looked_at().map(|process| process.pid)).into_iter().map(|pid| {
            let load = ProcessLoad::of(looked_at().filter(|process| process.pid == pid));
            ProcessSample { pid, time_us, load }
        });
        samples.filter(|sample| sample.time_us > since_us && sample.load != ProcessLoad::default()).collect()
    }
}

impl<'a> DeviceView<'a> {
    /// The processes of a kind: of a GPU all, also those on its instances; of a MIG device its own.
    pub fn processes(self, kind: ProcessKind) -> Vec<&'a Process> {
        let own = self
            .mig_device()
            .ok()
            .map(|device| InstancePlace { gpu_instance: device.of.id, compute_instance: device.id });
        let all = self.gpu().processes().filter(|process| process.kind == kind);
        all.filter(|process| own.is_none() || process.instance == own).collect()
    }

    /// Frame buffer that processes use: of a MIG device all of its GPU instance, which share one.
    pub fn processes_memory(self) -> Bytes {
        match self {
            DeviceView::Gpu(gpu) => gpu.processes_memory(),
            DeviceView::Mig(device) => {
                memory_of(device.of.gpu.processes().filter(|process| {
                    process.instance.is_some_and(|place| place.gpu_instance == device.of.id)
                }))
            }
        }
    }
}

impl Snapshot {
    /// The name of a process of the node.
    pub fn process_name(&self, pid: u32) -> Option<&str> {
        let mut all = self.state.processes.iter();
        all.find(|process| process.pid == pid).map(|process| process.name.as_str())
    }
}

fn memory_of<'a>(processes: impl Iterator<Item = &'a Process>) -> Bytes {
    Bytes(processes.map(|process| process.memory.0).fold(0, u64::saturating_add))
}
