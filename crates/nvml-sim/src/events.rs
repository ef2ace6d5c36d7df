//! The node's event log and what an event set sees of it. It knows sequence numbers and registrations, not how
//! a waiter blocks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::snapshot::GpuView;

/// What NVML reports as GPU or compute instance of an event that concerns no MIG instance.
pub const NO_INSTANCE: u32 = u32::MAX;

/// Events kept for event sets that have not read them yet; older ones are forgotten.
const KEPT: usize = 256;

/// The kind of an event; numbers are `nvmlEventType*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A critical XID error.
    Xid = 0x8,
    /// The MIG mode or instances have changed.
    MigConfig = 0x100,
    /// The recovery action has changed.
    RecoveryAction = 0x8000,
}

impl EventKind {
    /// The kind's bit in a registration mask.
    pub fn bit(self) -> u64 {
        self as u64
    }
}

/// The kinds that a GPU says it supports: ECC single and double bit, performance state, XID, clock.
const SUPPORTED: u64 = 0x1F;
/// The first driver branch with the kinds of NVML 13, the recovery action among them.
const RECOVERY_ACTION_SINCE: u32 = 580;

impl GpuView<'_> {
    /// The kinds of events that it says it supports, as bits. Changes of MIG where the GPU can do it (assumed).
    pub fn supported_events(&self) -> u64 {
        let branch = self.snapshot.state.driver_branch(&self.snapshot.node);
        let recovery = if branch >= RECOVERY_ACTION_SINCE { EventKind::RecoveryAction.bit() } else { 0 };
        let mig = if self.gpu.model.is_mig_capable() { EventKind::MigConfig.bit() } else { 0 };
        SUPPORTED | recovery | mig
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EventRecord {
    /// Its number; later events have higher ones.
    pub sequence: u64,
    /// UUID of the GPU.
    pub gpu: String,
    /// Its kind.
    pub kind: EventKind,
    /// The XID, or the new recovery action; 0 for MIG.
    pub data: u64,
    /// The recovery action before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// When, by the node's clock, in microseconds since 1970.
    pub time_us: u64,
    /// The MIG GPU instance that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_instance: Option<u32>,
    /// The MIG compute instance that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_instance: Option<u32>,
}

/// The newest events of a node.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventLog {
    /// Sequence number of the newest event, 0 before the first.
    pub last: u64,
    /// The newest events, oldest first.
    pub records: Vec<EventRecord>,
}

impl EventLog {
    /// Adds an event; its sequence number is set here.
    pub fn push(&mut self, mut record: EventRecord) {
        self.last += 1;
        record.sequence = self.last;
        self.records.push(record);
        let excess = self.records.len().saturating_sub(KEPT);
        self.records.drain(..excess);
    }
}

/// What a client registered an event set for, and how far it has read.
#[derive(Clone, Debug, Default)]
pub struct RegisteredEvents {
    read_to: u64,
    /// GPU -> bit of a kind -> the log's last number when that was registered.
    gpus: BTreeMap<String, BTreeMap<u64, u64>>,
}

impl RegisteredEvents {
    /// Adds kinds of one GPU; of those that are new, only events after `now` (the log's last number) are seen.
    pub fn register(&mut self, gpu: &str, mask: u64, now: u64) {
        let kinds = self.gpus.entry(gpu.to_owned()).or_default();
        for bit in (0..u64::BITS).map(|bit| 1 << bit).filter(|bit| mask & bit != 0) {
            kinds.entry(bit).or_insert(now);
        }
    }

    /// The GPUs registered, by UUID.
    pub fn gpus(&self) -> impl Iterator<Item = &str> {
        self.gpus.keys().map(String::as_str)
    }

    /// Takes the next event. As with the real library each event is reported once, but with the data of the
    /// newest event of its kind on that GPU: NVML keeps only the last XID.
    pub fn take(&mut self, log: &EventLog) -> Option<EventRecord> {
        let next = log.records.iter().find(|record| {
            let since = self.gpus.get(&record.gpu).and_then(|kinds| kinds.get(&record.kind.bit()));
            since.is_some_and(|since| record.sequence > self.read_to.max(*since))
        })?;
        self.read_to = next.sequence;
        let newest = log.records.iter().rev().find(|r| r.gpu == next.gpu && r.kind == next.kind);
        Some(EventRecord { sequence: next.sequence, ..newest.unwrap_or(next).clone() })
    }
}
