//! Where health is kept and asked for.

use node_contract::{HEALTH_PATH, REPORT_PATH, REQUESTS_PATH};
use node_host::LocalPath;

/// The files and folders of one plugin.
#[derive(Clone, Debug)]
pub struct HealthPaths {
    /// The ledger that is kept.
    pub kept: LocalPath,
    /// Locked by the process that keeps it.
    pub lock: LocalPath,
    /// The folder of people's requests.
    pub requests: LocalPath,
    /// The node report, which knows the GPUs' indices.
    pub report: LocalPath,
}

impl HealthPaths {
    /// Those in the plugin's state folder and below the run folder.
    pub fn new(state_dir: &LocalPath, run_dir: &LocalPath) -> HealthPaths {
        HealthPaths {
            kept: state_dir.join(HEALTH_PATH),
            lock: state_dir.join("health.lock"),
            requests: run_dir.join(REQUESTS_PATH),
            report: run_dir.join(REPORT_PATH),
        }
    }
}
