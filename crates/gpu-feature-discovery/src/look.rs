//! One look at the machine: what the driver, the PCI bus, the firmware and the device plugin's report say now.
//!
//! It asks and reads, and decides nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use daemon::error_chain;
use daemon::files::{Files, FilesGone, PATIENCE, told_when_stuck};
use gpu_model::{Details, GpuUuid, Health, Inventory, Reading};
use node_contract::{Freshness, NodeReport};
use node_host::{BootId, HostRoot, LocalPath, pci};
use nvml::{Nvml, NvmlError};
use thiserror::Error;

use crate::config::Plan;
use crate::facts::{DriverFacts, Facts, PciFunction};
use crate::plugin::Plugin;
use crate::reach::Reach;

/// Why there is nothing of the driver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// A short word that is stable across releases.
    pub code: &'static str,
    /// In words.
    pub reason: String,
}

/// What was seen.
#[derive(Debug)]
pub struct Look {
    /// What is known beside the driver.
    pub facts: Facts,
    /// What the driver says.
    pub driver: Result<DriverFacts, Away>,
    /// What could not be told, in words.
    pub troubles: Vec<String>,
}

/// What the device plugin said of health, and by which name that report is known.
#[derive(Default)]
struct Told {
    report: Option<String>,
    health: BTreeMap<GpuUuid, Health>,
}

/// Looking is over for good.
#[derive(Debug, Error)]
pub enum LookEnded {
    /// The thread for file work has died.
    #[error(transparent)]
    Files(#[from] FilesGone),
    /// The thread that tends NVML's workers has died.
    #[error("the thread that tends NVML's worker has died")]
    Nvml,
}

/// Looks at one machine.
pub struct Looker {
    /// Where the driver is.
    pub driver: node_driver::Settings,
    /// Its workers.
    pub nvml: Nvml,
    /// A thread for file work.
    pub files: Files,
    /// The device plugin's report.
    pub report: LocalPath,
    /// This boot, where it can be told.
    pub boot: Option<BootId>,
}

impl Looker {
    /// Looks; at the driver as far as it may be asked.
    ///
    /// # Errors
    /// When a thread has died.
    pub async fn look(
        &self,
        plan: &Plan,
        reach: &Reach,
        plugin: &mut Plugin,
        component: &daemon::Component,
    ) -> Result<Look, LookEnded> {
        let (driver, report, boot) = (self.driver.remembering(), self.report.clone(), self.boot.clone());
        let machine_file = plan.machine_type_file.clone();
        let work = self.files.run(move || {
            let mut troubles = Vec::new();
            let host = &driver.host;
            let facts = Facts {
                machine: told(node_host::machine_product(host, machine_file.as_ref()), &mut troubles)
                    .flatten(),
                pci: told(pci::nvidia_functions(host), &mut troubles)
                    .map(|functions| functions.iter().map(PciFunction::from).collect()),
                flavour: told(node_host::driver_flavour(host), &mut troubles).flatten(),
                ..Facts::default()
            };
            (facts, troubles, driver.find().map(drop), health(&report, boot.as_ref()))
        });
        let (mut facts, mut troubles, found, Told { report, health }) =
            told_when_stuck(work, PATIENCE, component).await?;
        if plugin.counts(report.as_deref(), Instant::now()) {
            facts.health = health;
        }
        let mut driver = match (reach, found) {
            (Reach::Nothing, _) => {
                let reason = "GPUs are leased, and the driver is left alone".to_owned();
                Err(Away { code: "leased", reason })
            }
            (_, Err(reason)) => Err(Away { code: "no-driver", reason }),
            (_, Ok(())) => self.ask(plan, &mut troubles).await?,
        };
        if let Ok(driver) = &mut driver {
            reach.complete(driver);
        }
        Ok(Look { facts, driver, troubles })
    }

    async fn ask(
        &self,
        plan: &Plan,
        troubles: &mut Vec<String>,
    ) -> Result<Result<DriverFacts, Away>, LookEnded> {
        let mut inventory = match self.nvml.inventory().await {
            Ok(inventory) => inventory,
            Err(error) => return away(&error).map(Err),
        };
        let details = match self.nvml.details(&plan.settings.details()).await {
            Ok(details) => details,
            Err(NvmlError::Lost) => return Err(LookEnded::Nvml),
            Err(error) => {
                troubles.push(format!("details of GPUs: {}", error_chain(&error)));
                Details { gpus: Vec::new(), confidential_compute: Reading::NotSupported }
            }
        };
        let host = self.driver.host.remembering();
        inventory = self.files.run(move || with_numa_nodes(inventory, &host)).await?;
        Ok(Ok(DriverFacts { inventory, details }))
    }
}

fn away(error: &NvmlError) -> Result<Away, LookEnded> {
    let code = match error {
        NvmlError::Lost => return Err(LookEnded::Nvml),
        NvmlError::NoDriver { .. } => "no-driver",
        NvmlError::Stuck { .. } | NvmlError::TooManyAbandoned { .. } => "nvml-stuck",
        _ => "nvml-failed",
    };
    Ok(Away { code, reason: error_chain(error).to_string() })
}

fn with_numa_nodes(mut inventory: Inventory, host: &HostRoot) -> Inventory {
    for gpu in &mut inventory.gpus {
        let node = gpu.pci.value().and_then(|pci| node_host::numa_node(host, *pci).ok().flatten());
        if let Some(node) = node {
            gpu.numa_node = Reading::Value(node);
        }
    }
    inventory
}

/// How the GPUs are, where the device plugin says it of this boot.
fn health(report: &LocalPath, boot: Option<&BootId>) -> Told {
    let current =
        |report: &NodeReport| boot.is_some_and(|boot| report.freshness(boot) == Freshness::ThisBoot);
    let Some(report) = NodeReport::read(report).ok().filter(current) else { return Told::default() };
    let NodeReport { generation, boot_id, written_at, health, .. } = report;
    Told {
        report: Some(format!("{generation} of {written_at} in {boot_id}")),
        health: health.into_iter().map(|(gpu, record)| (gpu, record.health)).collect(),
    }
}

/// The value; an error is kept in words.
fn told<T>(read: Result<T, node_host::ReadError>, troubles: &mut Vec<String>) -> Option<T> {
    read.map_err(|error| troubles.push(error_chain(&error).to_string())).ok()
}
