//! What befalls a GPU: an XID, a loss, errors that are counted, NVLinks that go down, and what ends all that again. At
//! once, at a moment of the node's clock, or when a call is struck. It knows how it changes a state, not who looks at that
//! or keeps it.

use std::collections::BTreeMap;
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::damage::{Cause, Counted, Counter, ErrorKind, MemoryLocation, Place};
use crate::drain::{DrainError, PciDevice, PciPart};
use crate::events::{EventKind, EventRecord};
use crate::faults::Moment;
use crate::loss::Loss;
use crate::node::{Gpu, Node};
use crate::overrides::{Overrides, RecoveryAction};
use crate::recovery::SINCE_BRANCH;
use crate::settings::{self, SettingError, Target};
use crate::state::State;

/// What befalls a GPU, or the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Befall {
    /// A critical XID is reported.
    Xid(Report),
    /// It is lost, and reports an XID at the same moment if one is given.
    Lose {
        /// In which way.
        how: Loss,
        /// The XID.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Report>,
    },
    /// Errors are counted.
    Count(Counted),
    /// An uncorrectable error of device memory: it is counted, its row or page waits for a reset, and XIDs tell of it.
    MemoryError {
        /// Whether the driver could keep it to who met it.
        how: Containment,
        /// The MIG GPU instance that met it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gpu_instance: Option<u32>,
    },
    /// NVLinks go down, all where none is named, and an XID is reported if one is given.
    LinksDown {
        /// Which.
        links: Vec<u32>,
        /// The XID.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Report>,
    },
    /// NVLinks come up again, all where none is named.
    LinksUp(Vec<u32>),
    /// It recovers.
    Recover(Recovery),
    /// Readings and modes are set.
    Set(BTreeMap<String, String>),
    /// It takes no new programs, or takes them again.
    Drain(bool),
    /// The driver lets go of it, and this becomes of its PCI device.
    Remove(PciDevice),
    /// If it was removed, it is found again; where no GPU is named, each that was.
    Discover,
    /// The driver is loaded anew, in this version where one is given.
    Reload(Option<String>),
    /// The machine boots anew.
    Reboot,
}

/// An XID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Report {
    /// Its number.
    pub xid: u64,
    /// The MIG GPU instance that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_instance: Option<u32>,
    /// The MIG compute instance that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_instance: Option<u32>,
    /// Whether the recovery action stays as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_action: bool,
}

/// Whether the driver could keep an uncorrectable memory error to the program that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Containment {
    /// It could: from Ampere on.
    Contained,
    /// It could not, and the GPU needs a reset.
    Uncontained,
}

/// How a GPU recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// A lost one comes back.
    Return,
    /// It is reset.
    Reset,
}

/// What will befall a GPU at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Incident {
    /// UUID of the GPU; none where it befalls the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// What.
    pub what: Befall,
    /// When, by the node's clock.
    pub at: Moment,
}

impl State {
    /// Lets something befall a GPU of the node (or the node), at a time in microseconds since 1970. On a GPU that the node
    /// has no more it is lost on nobody. Fails where the driver does not let go of a GPU.
    pub fn befall(
        &mut self,
        node: &Node,
        gpu: Option<&str>,
        what: &Befall,
        time_us: u64,
    ) -> Result<(), DrainError> {
        let known = gpu.and_then(|uuid| node.gpus.iter().find(|gpu| gpu.uuid == uuid));
        match (what, known) {
            (Befall::Reload(version), _) => self.reload(node, version.as_deref()),
            (Befall::Reboot, _) => self.reboot(node),
            (Befall::Discover, Some(gpu)) => self.discover_gpus(node, PciPart::of(gpu.pci)),
            (Befall::Discover, None) if gpu.is_none() => self.discover_gpus(node, PciPart::WHOLE),
            (Befall::Drain(on), Some(gpu)) => return self.drain(gpu, *on),
            (Befall::Remove(device), Some(gpu)) => return self.remove_gpu(gpu, *device),
            (_, Some(gpu)) => self.befall_gpu(node, gpu, what, time_us),
            (_, None) => {}
        }
        Ok(())
    }

    fn befall_gpu(&mut self, node: &Node, gpu: &Gpu, what: &Befall, time_us: u64) {
        let happens_to_hardware =
            matches!(what, Befall::Lose { report: None, .. } | Befall::Recover(Recovery::Return));
        // No driver is there to see it.
        if self.drains.is_removed(&gpu.uuid) && !happens_to_hardware {
            return;
        }
        match what {
            Befall::Xid(report) => self.report(node, gpu, *report, time_us),
            Befall::Lose { how, report } => {
                self.lost.lose(&gpu.uuid, *how);
                self.report_all(node, gpu, report.as_slice(), time_us);
            }
            Befall::Count(counted) => self.count(gpu, *counted, time_us),
            Befall::MemoryError { how, gpu_instance } => {
                self.err_in_memory(node, gpu, *how, *gpu_instance, time_us);
            }
            Befall::LinksDown { links, report } => {
                self.links.take_down(node, gpu, links);
                self.report_all(node, gpu, report.as_slice(), time_us);
            }
            Befall::LinksUp(links) => self.links.bring_up(node, gpu, links),
            Befall::Recover(Recovery::Return) => self.give_back(gpu),
            Befall::Recover(Recovery::Reset) => self.reset(gpu),
            // It could be set when it was declared; the node file may have changed since.
            Befall::Set(values) => drop(self.set(gpu, values)),
            Befall::Drain(_) | Befall::Remove(_) | Befall::Discover | Befall::Reload(_) | Befall::Reboot => {}
        }
    }

    fn count(&mut self, gpu: &Gpu, counted: Counted, time_us: u64) {
        let damage = self.damage.entry(gpu.uuid.clone()).or_default();
        damage.count(counted, time_us, gpu.model.memory.0);
    }

    /// Source: NVIDIA's documentation of GPU memory errors and its XID catalogue; the order of the XIDs is assumed, and that
    /// of a MIG instance those of the error and of its containment are: its row is the GPU's, and so is what was not contained.
    fn err_in_memory(
        &mut self,
        node: &Node,
        gpu: &Gpu,
        how: Containment,
        gpu_instance: Option<u32>,
        time_us: u64,
    ) {
        let remaps = gpu.model.has_row_remapping();
        let replaced = if remaps { Counter::Rows } else { Counter::Pages };
        let dram = Counter::Ecc(ErrorKind::Uncorrected, Place::At(MemoryLocation::Dram));
        for counter in [dram, replaced(Cause::Uncorrectable)] {
            self.count(gpu, Counted { counter, by: 1, gpu_instance: None, settled: false }, time_us);
        }
        let keeps_action = how == Containment::Contained;
        let xids: &[u64] = match how {
            Containment::Contained => &[48, 63, 94],
            Containment::Uncontained if remaps => &[48, 63, 95],
            Containment::Uncontained => &[48, 63],
        };
        for xid in xids {
            let gpu_instance = gpu_instance.filter(|_| [48, 94].contains(xid));
            let report = Report { xid: *xid, gpu_instance, keeps_action, ..Report::default() };
            self.report(node, gpu, report, time_us);
        }
    }

    fn report_all(&mut self, node: &Node, gpu: &Gpu, reports: &[Report], time_us: u64) {
        for report in reports {
            self.report(node, gpu, *report, time_us);
        }
    }

    /// Reports an XID of a GPU, or of one of its instances, and then the recovery action if that changes.
    fn report(&mut self, node: &Node, gpu: &Gpu, report: Report, time_us: u64) {
        let event = EventRecord {
            sequence: 0,
            gpu: gpu.uuid.clone(),
            kind: EventKind::Xid,
            data: report.xid,
            before: None,
            time_us,
            gpu_instance: report.gpu_instance,
            compute_instance: report.compute_instance,
        };
        let (before, after) = (self.recovery_action(&gpu.uuid), RecoveryAction::after(report.xid));
        self.events.push(event.clone());
        if report.keeps_action || after.weight() <= before.weight() {
            return;
        }
        self.recovery.insert(gpu.uuid.clone(), after);
        if self.driver_branch(node) >= SINCE_BRANCH {
            let (data, before) = (after as u64, Some(before as u64));
            let kind = EventKind::RecoveryAction;
            let (gpu_instance, compute_instance) = (None, None);
            self.events.push(EventRecord { kind, data, before, gpu_instance, compute_instance, ..event });
        }
    }

    /// The recovery action that the driver asks for, where no person has set another one.
    pub fn recovery_action(&self, gpu: &str) -> RecoveryAction {
        self.recovery.get(gpu).copied().unwrap_or(RecoveryAction::None)
    }

    /// The branch of the driver that is loaded: the first number of its version.
    pub fn driver_branch(&self, node: &Node) -> u32 {
        let version = self.driver.version.as_ref().unwrap_or(&node.driver_version);
        version.split('.').next().and_then(|branch| branch.parse().ok()).unwrap_or(0)
    }

    /// Brings a lost GPU back; it has been away, so nothing more is asked for.
    fn give_back(&mut self, gpu: &Gpu) {
        if self.lost.contains(&gpu.uuid) {
            self.recovery.remove(&gpu.uuid);
        }
        self.lost.give_back(&gpu.uuid);
    }

    /// Sets readings and modes of a GPU.
    pub fn set(&mut self, gpu: &Gpu, values: &BTreeMap<String, String>) -> Result<(), SettingError> {
        let mut readings = self.overrides.get(&gpu.uuid).cloned().unwrap_or_default();
        let mut modes = self.modes_of(gpu).clone();
        for (key, value) in values {
            let target = Target { model: &gpu.model, readings: &mut readings, modes: &mut modes };
            settings::set(key, value, target)?;
        }
        *self.modes_of(gpu) = modes;
        if values.get("load").is_some_and(String::is_empty) {
            self.loads.insert(gpu.uuid.clone(), gpu.load.clone());
        }
        if readings == Overrides::default() {
            self.overrides.remove(&gpu.uuid);
        } else {
            self.overrides.insert(gpu.uuid.clone(), readings);
        }
        Ok(())
    }

    /// The incident that comes first.
    pub fn next_incident(&self) -> Option<&Incident> {
        self.incidents.iter().min_by_key(|incident| incident.at.time_us())
    }

    /// When it comes, as long as the node's clock runs as it does now.
    pub fn wakes_at(&self) -> Option<Instant> {
        let at = self.next_incident()?.at.time_us()?;
        Instant::now().checked_add(self.clock.until(at)?)
    }

    /// Whether an incident's time has come that nobody has carried out.
    pub fn is_behind(&self) -> bool {
        self.next_incident().is_some_and(|incident| incident.at.is_reached(self.clock.now_us()))
    }

    /// Carries out the incidents whose time has come by `now_us`, in the order of their times.
    pub fn catch_up(&mut self, node: &Node, now_us: u64) {
        let all = std::mem::take(&mut self.incidents);
        let (mut due, later): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|incident| incident.at.is_reached(now_us));
        self.incidents = later;
        due.sort_by_key(|incident| incident.at.time_us());
        for incident in due {
            let time_us = incident.at.time_us().unwrap_or(now_us);
            // What the driver refuses by then does not happen; nobody waits for an answer.
            let _ = self.befall(node, incident.gpu.as_deref(), &incident.what, time_us);
        }
    }
}
