//! Writes the node report: inventory and health, for the daemons that read it.
//!
//! A report that cannot be written is tried again, and one that somebody removed is written anew: its readers know
//! nothing of the plugin but this file.

use std::collections::BTreeMap;
use std::time::Duration;

use daemon::beat;
use daemon::files::{Files, FilesGone};
use gpu_health::{Cause, Record};
use gpu_model::{GpuUuid, Inventory};
use node_contract::{HealthRecord, InstanceHealth, NodeReport, REPORT_PATH};
use node_host::{BootId, FileIdentity, HostRoot, LocalPath, atomic, boot_id};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::health::timestamp;

/// How often the file is looked at: seldom, since each look wakes an idle node.
pub const LOOK: Duration = Duration::from_secs(30);

/// First pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Longest pause after failures.
const LONGEST: Duration = Duration::from_secs(60);

/// What one report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The driver's last answer.
    pub inventory: Inventory,
    /// How the GPUs are that were ever listed.
    pub health: BTreeMap<GpuUuid, HealthRecord>,
}

/// How `gpu` is, by the ledger's records; `lacking` is what a container would need of it and the host lacks.
pub fn health_record(
    gpu: &GpuUuid,
    records: &[Record],
    cause: Option<Cause>,
    lacking: Option<String>,
) -> Option<HealthRecord> {
    let own = records.iter().filter(|record| record.subject.gpu == *gpu);
    let (mut itself, mut instances) = (None, BTreeMap::new());
    for Record { subject, health, since_unix_ms, .. } in own {
        let (health, since) = (health.clone(), timestamp(*since_unix_ms).unwrap_or_default());
        match subject.gpu_instance {
            None => itself = Some((health, since)),
            Some(id) => drop(instances.insert(id, InstanceHealth { health, since })),
        }
    }
    let (health, since) = itself?;
    let cause = cause.map(|cause| cause.name().to_owned());
    Some(HealthRecord { health, since, not_offered: lacking, cause, instances })
}

/// Writes the report.
#[derive(Debug)]
pub struct Reporter {
    path: LocalPath,
    /// A thread of its own.
    files: Files,
    look: Duration,
    boot: Option<BootId>,
    generation: u64,
}

impl Reporter {
    /// A reporter for the run folder `run_dir` that looks at its file every `look`. Without a boot id there is no report: its readers could not tell
    /// whether it is about this boot.
    pub fn new(run_dir: &LocalPath, host: &HostRoot, files: Files, look: Duration) -> Self {
        let boot = boot_id(host).inspect_err(|error| {
            tracing::warn!(error = %daemon::error_chain(error), "no boot id, so no node report is written");
        });
        let path = run_dir.join(REPORT_PATH);
        Self { path, files, look, boot: boot.ok(), generation: 0 }
    }

    /// Keeps a report of the newest finding. It goes on waiting when there will be no more: who ended the findings
    /// says why, and an end here would be told first.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn run(mut self, mut findings: watch::Receiver<Option<Finding>>) -> Result<(), FilesGone> {
        let mut report = None;
        // The file as it was written; none while there is none.
        let mut written = None;
        let mut failures = 0;
        let mut looks = beat(self.look);
        loop {
            let is_failing = report.is_some() && written.is_none();
            let pause = async {
                if is_failing {
                    sleep(after(failures)).await;
                } else {
                    looks.tick().await;
                }
            };
            tokio::select! {
                changed = findings.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    let newest = findings.borrow_and_update().clone();
                    report = newest.and_then(|finding| self.report(finding));
                }
                () = pause => {
                    let is_in_place = written.is_some() && FileIdentity::of(self.path.as_path()).ok() == written;
                    if is_in_place {
                        continue;
                    }
                }
            }
            let Some(report) = report.clone() else { continue };
            let path = self.path.clone();
            // A failure is told and has no other effect: the kubelet is served from memory.
            match self.files.run(move || write(&report, &path)).await? {
                Ok(identity) => {
                    if failures > 0 {
                        tracing::info!(path = %self.path, "node report written again");
                    }
                    (written, failures) = (Some(identity), 0);
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(error, "node report not written");
                    }
                    (written, failures) = (None, failures.saturating_add(1));
                }
            }
        }
    }

    fn report(&mut self, finding: Finding) -> Option<NodeReport> {
        self.generation += 1;
        let boot = self.boot.clone()?;
        Some(NodeReport::new(self.generation, boot, finding.inventory, finding.health))
    }
}

fn write(report: &NodeReport, path: &LocalPath) -> Result<FileIdentity, String> {
    atomic::make_folder_of(path)?;
    report.write(path).map_err(|error| daemon::error_chain(&error).to_string())?;
    FileIdentity::of(path.as_path()).map_err(|error| format!("{path}: {error}"))
}

/// The pause after this many failures.
fn after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1);
    AFTER_FAILURE.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use gpu_model::{DriverVersions, Health, Reading};
    use jiff::Timestamp;

    use super::*;
    use crate::state::tests::gpu;

    /// So many healthy GPUs.
    fn healthy(count: usize) -> BTreeMap<GpuUuid, HealthRecord> {
        let record = |_| HealthRecord {
            health: Health::Healthy,
            since: Timestamp::UNIX_EPOCH,
            not_offered: None,
            cause: Some("inventory".to_owned()),
            instances: BTreeMap::new(),
        };
        (0..count).map(|n| (gpu(n), record(n))).collect()
    }

    struct Node {
        dir: tempfile::TempDir,
        findings: watch::Sender<Option<Finding>>,
        files: Files,
    }

    impl Node {
        /// A node whose report is kept at `run/device-plugin/inventory.json`.
        fn start() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let boot = dir.path().join("proc/sys/kernel/random");
            std::fs::create_dir_all(&boot).unwrap();
            std::fs::write(boot.join("boot_id"), "0f3a6f3e-8a3c-4a4e-9d0b-3c1f7f0f9a11\n").unwrap();
            let (findings, found) = watch::channel(None);
            let run_dir = LocalPath::new(dir.path().join("run"));
            let files = Files::start().unwrap();
            let host = HostRoot::new(dir.path());
            let reporter = Reporter::new(&run_dir, &host, files.clone(), Duration::from_millis(10));
            tokio::spawn(reporter.run(found));
            Self { dir, findings, files }
        }

        fn path(&self) -> LocalPath {
            LocalPath::new(self.dir.path().join("run").join(REPORT_PATH))
        }

        fn find(&self, driver: &str, health: BTreeMap<GpuUuid, HealthRecord>) {
            let driver =
                DriverVersions { driver: driver.into(), nvml: "13".into(), cuda: Reading::NotSupported };
            let inventory = Inventory { driver, gpus: Vec::new(), failures: Vec::new() };
            self.findings.send_replace(Some(Finding { inventory, health }));
        }

        /// The report, once it is as `expected`.
        async fn eventually(&self, expected: impl Fn(&NodeReport) -> bool) -> NodeReport {
            let end = std::time::Instant::now() + Duration::from_secs(30);
            loop {
                let read = NodeReport::read(&self.path());
                match read {
                    Ok(report) if expected(&report) => return report,
                    other => assert!(std::time::Instant::now() < end, "{other:?}"),
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
    }

    #[tokio::test]
    async fn reporter_outlives_its_findings_so_that_their_end_is_told_by_who_caused_it() {
        let node_of = Node::start();
        let (findings, found) = watch::channel(None);
        drop(findings);
        let host = HostRoot::new(node_of.dir.path());
        let reporter = Reporter::new(&node_of.path(), &host, node_of.files.clone(), LOOK);
        assert!(tokio::time::timeout(Duration::ZERO, reporter.run(found)).await.is_err());
    }

    #[tokio::test]
    async fn inventory_that_changes_alone_reaches_the_file_under_a_new_generation() {
        let node_of = Node::start();
        node_of.find("580", healthy(2));
        let first = node_of.eventually(|report| report.inventory.driver.driver == "580").await;
        node_of.find("590", healthy(2));
        let second = node_of.eventually(|report| report.inventory.driver.driver == "590").await;
        assert!(second.generation > first.generation);
        assert_eq!(second.health, first.health);
    }

    #[tokio::test]
    async fn gpu_that_is_not_offered_though_healthy_says_why_and_keeps_its_time() {
        let node_of = Node::start();
        let mut health = healthy(2);
        node_of.find("580", health.clone());
        let first = node_of.eventually(|_| true).await;
        let gpu = gpu(1);
        health.get_mut(&gpu).unwrap().not_offered = Some("/dev/nvidia1 does not exist".to_owned());
        node_of.find("580", health);
        let second = node_of.eventually(|report| report.generation > first.generation).await;
        let record = &second.health[&gpu];
        assert_eq!(record.not_offered.as_deref(), Some("/dev/nvidia1 does not exist"));
        assert_eq!((&record.health, record.since), (&first.health[&gpu].health, first.health[&gpu].since));
    }

    #[tokio::test]
    async fn report_that_could_not_be_written_or_was_removed_is_written_again() {
        let node_of = Node::start();
        let path = node_of.path();
        let in_the_way = path.as_path();
        std::fs::create_dir_all(in_the_way).unwrap();
        let folder = std::fs::File::open(in_the_way.parent().unwrap()).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        folder.set_modified(long_ago).unwrap();
        node_of.find("580", healthy(1));
        // An attempt shows in the folder's time, and what comes after it on the same thread comes after its failure.
        while folder.metadata().unwrap().modified().unwrap() == long_ago {
            tokio::task::yield_now().await;
        }
        node_of.files.run(|| ()).await.unwrap();
        std::fs::remove_dir(in_the_way).unwrap();
        node_of.eventually(|_| true).await;
        std::fs::remove_file(node_of.path().as_path()).unwrap();
        node_of.eventually(|_| true).await;
    }
}
