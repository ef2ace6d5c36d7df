//! Writes the node report: inventory and health, for the daemons that read it.

use std::collections::BTreeMap;
use std::path::Path;

use gpu_model::{GpuUuid, Health, Inventory};
use jiff::Timestamp;
use node_contract::{HealthRecord, NodeReport, REPORT_PATH};
use node_host::{BootId, HostRoot, LocalPath, boot_id};
use tokio::sync::watch;

use crate::state::Device;

/// What one report is about.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its device list.
    pub generation: u64,
    /// The driver's last answer.
    pub inventory: Inventory,
    /// The devices with their health.
    pub devices: Vec<Device>,
}

/// Writes the report, and remembers since when each GPU is as it is.
#[derive(Debug)]
pub struct Reporter {
    path: LocalPath,
    boot: Option<BootId>,
    records: BTreeMap<GpuUuid, HealthRecord>,
}

impl Reporter {
    /// A reporter for the run folder `run_dir`. Without a boot id there is no report: its readers could not tell
    /// whether it is about this boot.
    pub fn new(run_dir: &LocalPath, host: &HostRoot) -> Self {
        let boot = boot_id(host).inspect_err(|error| {
            tracing::warn!(error = %daemon::error_chain(error), "no boot id, so no node report is written");
        });
        Self { path: run_dir.join(REPORT_PATH), boot: boot.ok(), records: BTreeMap::new() }
    }

    /// Writes a report of each finding, or of the newest one where they come fast, until there are no more. A task of
    /// its own, because a synced write takes milliseconds, and the kubelet is not to wait for it.
    pub async fn run(mut self, mut findings: watch::Receiver<Option<Finding>>) {
        while findings.changed().await.is_ok() {
            let newest = findings.borrow_and_update().clone();
            if let Some(finding) = newest {
                self.write(finding);
            }
        }
    }

    /// A failure is told and has no other effect: the kubelet is served from memory.
    fn write(&mut self, finding: Finding) {
        let Finding { generation, inventory, devices } = finding;
        for device in &devices {
            self.remember(&device.gpu, &device.health);
        }
        let Some(boot) = self.boot.clone() else { return };
        let report = NodeReport::new(generation, boot, inventory, self.records.clone());
        let folder = self.path.as_path().parent().unwrap_or(Path::new("/"));
        if let Err(error) = std::fs::create_dir_all(folder) {
            tracing::warn!(folder = %folder.display(), %error, "node report not written");
            return;
        }
        if let Err(error) = report.write(&self.path) {
            tracing::warn!(error = %daemon::error_chain(&error), "node report not written");
        }
    }

    fn remember(&mut self, gpu: &GpuUuid, health: &Health) {
        match self.records.get(gpu) {
            Some(record) if record.health == *health => {}
            _ => {
                self.records
                    .insert(gpu.clone(), HealthRecord { health: health.clone(), since: Timestamp::now() });
            }
        }
    }
}
