//! Where leases are, as subcommands look them up, and which GPUs are meant. It asks no driver: the plugin's report knows
//! the GPUs, and a driver that is leased is to be left alone.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use gpu_model::{Gpu, GpuUuid, Inventory};
use node_contract::{Freshness, Lease, LeaseFolder, LeaseState, NodeReport};
use node_host::{BootId, LocalPath};

use crate::config::Config;
use crate::health::now;

/// Where leases are, and what is known of the GPUs.
#[derive(Clone, Debug)]
pub struct LeasePlaces {
    /// The leases.
    pub folder: LeaseFolder,
    /// The plugin's report, which knows the GPUs' indices.
    report: LocalPath,
    boot: Option<BootId>,
}

/// GPUs that a person named.
#[derive(Debug, Default)]
pub struct Meant {
    /// Which.
    pub gpus: BTreeSet<GpuUuid>,
    /// Those of them that the plugin of this node never saw, as far as is known.
    pub strangers: Vec<GpuUuid>,
}

impl LeasePlaces {
    /// Those of this configuration.
    pub fn of(config: &Config) -> LeasePlaces {
        LeasePlaces {
            folder: LeaseFolder::new(&config.run_dir),
            report: config.health_paths.report.clone(),
            boot: node_host::boot_id(&config.driver.host).ok(),
        }
    }

    /// The boot that runs.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn boot(&self) -> anyhow::Result<&BootId> {
        self.boot.as_ref().context("no boot id: a lease of another boot could not be told from one of this")
    }

    /// The leases that count now.
    ///
    /// # Errors
    /// When they cannot be looked for.
    pub fn live(&self) -> anyhow::Result<Vec<Lease>> {
        let Some(boot) = &self.boot else { return Ok(Vec::new()) };
        let found = self.folder.leases(boot, now())?.into_iter();
        let live = |(lease, state)| (state == LeaseState::Live).then_some(lease);
        Ok(found.filter_map(|found| found.read.ok()).filter_map(live).collect())
    }

    /// What the plugin of this boot saw last.
    ///
    /// # Errors
    /// When it has left no report.
    pub fn inventory(&self) -> anyhow::Result<Inventory> {
        Ok(self.report()?.inventory)
    }

    fn report(&self) -> anyhow::Result<NodeReport> {
        let report = NodeReport::read(&self.report);
        let report = report.context("GPUs can be looked up only where the plugin has written its report")?;
        if self.boot.as_ref().is_some_and(|boot| report.freshness(boot) != Freshness::ThisBoot) {
            bail!("{}: the plugin has written it in another boot", self.report);
        }
        Ok(report)
    }

    /// The GPUs that are meant. What is a UUID is taken as it is.
    ///
    /// # Errors
    /// When a text names none.
    pub fn resolve(&self, given: &[String]) -> anyhow::Result<Meant> {
        let mut meant = Meant::default();
        for given in given {
            let report = self.report();
            if given.starts_with("GPU-") {
                let gpu: GpuUuid = given.parse()?;
                if report.is_ok_and(|report| !report.health.contains_key(&gpu)) {
                    meant.strangers.push(gpu.clone());
                }
                meant.gpus.insert(gpu);
                continue;
            }
            let named = look_up(&report?, given);
            if named.is_empty() {
                bail!(
                    "{given:?} names no GPU of this node: expected GPU-<uuid>, an index, MIG-<uuid>, or all"
                );
            }
            meant.gpus.extend(named);
        }
        Ok(meant)
    }
}

/// All are those that were ever there: a driver may know one that is lost.
fn look_up(report: &NodeReport, given: &str) -> BTreeSet<GpuUuid> {
    let is_meant = |gpu: &&Gpu| {
        given.parse() == Ok(gpu.index) || gpu.mig_devices.iter().any(|part| part.uuid.as_str() == given)
    };
    match given {
        "all" => report.health.keys().cloned().collect(),
        _ => report.inventory.gpus.iter().filter(is_meant).map(|gpu| gpu.uuid.clone()).collect(),
    }
}
