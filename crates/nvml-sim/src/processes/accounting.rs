//! Accounting: what a driver writes down of each process of a GPU, also after its end. It knows what processes use, not
//! who asks.

use serde::{Deserialize, Serialize};

use super::views::SAMPLE_US;
use super::{Percent, Process, distinct};
use crate::bytes::Bytes;
use crate::snapshot::GpuView;

/// Of how many processes something is kept, as `nvidia-smi -q` shows it of GPUs of all kinds.
pub const ACCOUNTING_PROCESSES_MAX: u32 = 4000;

/// What was written down since accounting was switched on, of processes that ended, in that order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Accounting(Vec<EndedProcess>);

/// A process that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EndedProcess {
    /// Its number.
    pub pid: u32,
    /// The most memory that it used.
    pub memory: Bytes,
    /// Part of its time that its kernels ran.
    pub sm: Percent,
    /// Part of its time that it read or wrote memory.
    pub memory_activity: Percent,
    /// When it began, in microseconds since 1970.
    pub start_us: u64,
    /// When it ended, in microseconds since 1970.
    pub end_us: u64,
}

/// What is told of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountingStats {
    /// Part of its time that its kernels ran.
    pub sm: Percent,
    /// Part of its time that it read or wrote memory.
    pub memory_activity: Percent,
    /// The most memory that it used.
    pub memory: Bytes,
    /// How long it ran in milliseconds; 0 while it runs, as NVML documents.
    pub time_ms: u64,
    /// When it began, in microseconds since 1970.
    pub start_us: u64,
    /// How many samples were made of it.
    pub samples: u32,
    /// Whether it runs.
    pub is_running: bool,
}

impl EndedProcess {
    /// One process of all its uses of one GPU.
    fn of<'a>(uses: impl Iterator<Item = &'a Process>, end_us: u64) -> Option<EndedProcess> {
        let one = |process: &Process| EndedProcess {
            pid: process.pid,
            memory: process.memory,
            sm: process.sm,
            memory_activity: process.memory_activity,
            start_us: process.start_us,
            end_us,
        };
        uses.map(one).reduce(|all, other| EndedProcess {
            memory: Bytes(all.memory.0.saturating_add(other.memory.0)),
            sm: all.sm.plus(other.sm),
            memory_activity: all.memory_activity.plus(other.memory_activity),
            start_us: all.start_us.min(other.start_us),
            ..all
        })
    }

    fn stats(&self, is_running: bool) -> AccountingStats {
        let age_us = self.end_us.saturating_sub(self.start_us);
        AccountingStats {
            sm: self.sm,
            memory_activity: self.memory_activity,
            memory: self.memory,
            time_ms: if is_running { 0 } else { age_us / 1000 },
            start_us: self.start_us,
            samples: u32::try_from(age_us / SAMPLE_US).unwrap_or(u32::MAX),
            is_running,
        }
    }
}

impl Accounting {
    /// Writes down processes of one GPU that have ended. Of the oldest nothing is kept where the room ends.
    pub fn write_down(&mut self, ended: &[&Process], end_us: u64) {
        for pid in distinct(ended.iter().map(|process| process.pid)) {
            let uses = ended.iter().copied().filter(|process| process.pid == pid);
            self.0.extend(EndedProcess::of(uses, end_us));
        }
        let over = self.0.len().saturating_sub(ACCOUNTING_PROCESSES_MAX as usize);
        self.0.drain(..over);
    }

    /// Forgets the processes that have ended.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<'a> GpuView<'a> {
    /// What is written down, while accounting is on. A GPU with MIG on has it off, as NVML documents.
    pub fn accounting(self) -> Option<&'a Accounting> {
        let modes = self.snapshot.state.modes.get(&self.gpu.uuid);
        modes.and_then(|modes| modes.accounting.as_ref()).filter(|_| !self.is_mig_enabled())
    }

    /// The processes of which something is told: those that ended, and those that run.
    pub fn accounted_pids(self, accounting: &Accounting) -> Vec<u32> {
        let ended = accounting.0.iter().map(|process| process.pid);
        distinct(ended.chain(self.processes().map(|process| process.pid)))
    }

    /// What is told of a process: of the one that runs, else of the last that ended.
    pub fn accounted(self, accounting: &Accounting, pid: u32) -> Option<AccountingStats> {
        let now_us = self.snapshot.state.clock.now_us();
        let uses = self.processes().filter(|process| process.pid == pid);
        let running = EndedProcess::of(uses, now_us).map(|process| process.stats(true));
        let ended = || accounting.0.iter().rev().find(|process| process.pid == pid);
        running.or_else(|| ended().map(|process| process.stats(false)))
    }
}
