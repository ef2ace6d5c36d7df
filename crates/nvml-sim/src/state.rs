//! What has happened to the node since it was declared, and the folder that keeps it.
//!
//! Each concern brings its own type; this file only puts them side by side.

mod declared;
mod folder;
mod lock;
mod watch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::counters::Counters;
use crate::damage::Damage;
use crate::drain::{DrainError, Drains};
use crate::driver_load::DriverLoad;
use crate::ecc::EccMode;
use crate::events::EventLog;
use crate::faults::{Declared, Fault};
use crate::incidents::Incident;
use crate::latency::Latency;
use crate::links::LinksDown;
use crate::load::Load;
use crate::loss::LostGpus;
use crate::mig::MigState;
use crate::modes::Modes;
use crate::node::{Gpu, Node};
use crate::overrides::{Overrides, RecoveryAction};
use crate::processes::Processes;
use crate::switches::Switches;

pub use folder::{StateFolder, StateFolderError};
pub use watch::{Watch, pause};

/// The format of a state's file. It rises with each change that a library of before could not read rightly: that one
/// then refuses the state, instead of missing a part of it.
pub const FORMAT: u32 = 7;

/// The state of one generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// The format, `FORMAT`.
    pub format: u32,
    /// Number of commits before and including this state; 0 while nothing has happened.
    pub generation: u64,
    /// The node's clock.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clock: Clock,
    /// The driver as it was loaded last.
    #[serde(default, skip_serializing_if = "is_default")]
    pub driver: DriverLoad,
    /// How often the machine booted anew.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reboots: u64,
    /// Events.
    #[serde(default, skip_serializing_if = "is_default")]
    pub events: EventLog,
    /// Lost GPUs.
    #[serde(default, skip_serializing_if = "LostGpus::is_empty")]
    pub lost: LostGpus,
    /// GPUs that the driver lets go of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drains: Drains,
    /// Modes, by GPU UUID. A GPU that was declared later has none yet.
    pub modes: BTreeMap<String, Modes>,
    /// MIG modes and instances.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mig: MigState,
    /// ECC modes that were switched, by GPU UUID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ecc: BTreeMap<String, EccMode>,
    /// NVLinks that are down.
    #[serde(default, skip_serializing_if = "is_default")]
    pub links: LinksDown,
    /// What the driver says must be done with GPUs, by UUID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recovery: BTreeMap<String, RecoveryAction>,
    /// What has gone wrong in GPUs, by UUID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub damage: BTreeMap<String, Damage>,
    /// Processes that run.
    #[serde(default, skip_serializing_if = "Processes::is_empty")]
    pub processes: Processes,
    /// Rarer switches.
    #[serde(default, skip_serializing_if = "is_default")]
    pub switches: Switches,
    /// What the GPUs are busy with as far as nobody set another load, by UUID: as declared when the node was made, or when the
    /// load was last given back to the node file. A GPU that was declared later has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loads: BTreeMap<String, Load>,
    /// Readings that were set, by GPU UUID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, Overrides>,
    /// Counters at the last change of a GPU, by its UUID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, Counters>,
    /// Delays in place of the node file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// What waits for calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// What waits for its time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<Incident>,
}

impl State {
    /// The state of a node to which nothing has happened yet, made at `now_us`: spans of its faults count from then.
    pub fn initial(node: &Node, now_us: u64) -> State {
        let modes = |gpu: &Gpu| (gpu.uuid.clone(), Modes::initial());
        let mut state = State {
            format: FORMAT,
            generation: 0,
            clock: Clock::default(),
            driver: DriverLoad::default(),
            reboots: 0,
            events: EventLog::default(),
            lost: LostGpus::default(),
            drains: Drains::default(),
            modes: node.gpus.iter().map(modes).collect(),
            mig: MigState::default(),
            ecc: BTreeMap::new(),
            links: LinksDown::default(),
            recovery: BTreeMap::new(),
            damage: BTreeMap::new(),
            processes: Processes::default(),
            switches: Switches::default(),
            loads: node.gpus.iter().map(|gpu| (gpu.uuid.clone(), gpu.load.clone())).collect(),
            overrides: BTreeMap::new(),
            counters: counters_of(node, now_us),
            latency: None,
            faults: Vec::new(),
            incidents: Vec::new(),
        };
        for (gpu, layout) in node.gpus.iter().filter_map(|gpu| Some((gpu, gpu.mig_instances.as_ref()?))) {
            // It was made once when the node file was checked.
            let _ = state.mig.lay(gpu, layout);
        }
        for entry in &node.processes {
            if let Some(gpu) = node.find(&entry.gpu) {
                // One that cannot be was refused when the node was read.
                let _ = state.start_process(gpu, entry.clone(), now_us);
            }
        }
        for declared in &node.faults {
            let _ = state.add(node, declared.clone(), now_us);
        }
        state
    }

    /// Adds what was declared; its time spans count from `now_us`, and what is due by then has happened. Fails where that is
    /// this one, and the driver refuses it.
    pub fn add(&mut self, node: &Node, declared: Declared, now_us: u64) -> Result<(), DrainError> {
        match declared {
            Declared::Fault(mut fault) => {
                fault.begin(now_us);
                self.faults.push(fault);
            }
            Declared::Incident(incident) => {
                self.catch_up(node, now_us);
                let at = incident.at.from(now_us);
                if at.is_reached(now_us) {
                    let time_us = at.time_us().unwrap_or(now_us);
                    return self.befall(node, incident.gpu.as_deref(), &incident.what, time_us);
                }
                self.incidents.push(Incident { at, ..incident });
            }
        }
        Ok(())
    }

    /// Resets a GPU. What needs a reboot still does then.
    pub fn reset(&mut self, gpu: &Gpu) {
        self.end_processes_of(gpu);
        self.mig.reset(gpu);
        self.reset_memory(gpu);
        self.switches.reset(&gpu.uuid);
        if self.recovery_action(&gpu.uuid) != RecoveryAction::Reboot {
            self.recovery.remove(&gpu.uuid);
        }
    }

    /// The memory of a GPU that was reset: what waited for that is done, and what counts since then is gone.
    pub(crate) fn reset_memory(&mut self, gpu: &Gpu) {
        if let Some(damage) = self.damage.get_mut(&gpu.uuid) {
            damage.reset();
        }
        if let Some(mode) = self.ecc.get_mut(&gpu.uuid) {
            mode.current = mode.pending;
        }
    }

    /// Loads the driver anew, in another version if one is given.
    pub fn reload(&mut self, node: &Node, version: Option<&str>) {
        self.driver.number += 1;
        if let Some(version) = version {
            self.driver.version = Some(version.to_owned());
        }
        self.end_all_processes();
        self.end_drains();
        self.modes.clear();
        self.switches = Switches::default();
        self.links.clear();
        self.recovery.clear();
        for gpu in &node.gpus {
            self.modes_of(gpu);
            self.mig.reload(gpu);
            self.reset_memory(gpu);
        }
    }

    /// Boots the machine anew: its driver is loaded, and finds every GPU.
    pub fn reboot(&mut self, node: &Node) {
        self.reboots += 1;
        self.lost = LostGpus::default();
        self.drains.removed.clear();
        self.reload(node, None);
    }

    /// The modes of a GPU, to change them.
    pub fn modes_of(&mut self, gpu: &Gpu) -> &mut Modes {
        self.modes.entry(gpu.uuid.clone()).or_insert_with(Modes::initial)
    }
}

/// A recorded load begins with the node; the others follow the clock alone.
fn counters_of(node: &Node, now_us: u64) -> BTreeMap<String, Counters> {
    let recorded = node.gpus.iter().filter(|gpu| matches!(gpu.load, Load::Recorded(_)));
    recorded.map(|gpu| (gpu.uuid.clone(), Counters::begun(now_us))).collect()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
