//! What the spec says that comes and goes while a driver stays: device nodes and sockets. Cheap to look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use cdi::builder::Host;
use gpu_model::{Inventory, PciAddress};
use node_driver::Settings;
use node_host::capability::MigMinors;
use node_host::device::{DeviceNode, Nodes};
use node_host::{
    Companions, DriverFile, DriverFiles, DriverRoot, HostPath, HostRoot, Root, daemon_sockets, display_nodes,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    pub nodes: Nodes,
    mig_minors: Arc<MigMinors>,
    displays: BTreeMap<PciAddress, Vec<DeviceNode>>,
    companions: Companions,
    sockets: Vec<DriverFile>,
    management: bool,
}

impl Surroundings {
    /// Looks around. What is not of the driver's own GPUs and cannot be looked at is told, and left out. What stays as long as a
    /// driver is loaded is taken over from `before`.
    pub fn look(
        inventory: &Inventory,
        settings: &Settings,
        driver: &DriverRoot,
        dev: &Root,
        nodes: Nodes,
        before: Option<&Surroundings>,
        management: bool,
    ) -> Surroundings {
        let host = &settings.host;
        let is_partitioned = inventory.gpus.iter().any(|gpu| !gpu.mig_devices.is_empty());
        // Thousands of lines, and for nobody where no GPU is partitioned.
        let known = before.filter(|before| !before.mig_minors.is_empty());
        let mig_minors = match known {
            Some(before) => Arc::clone(&before.mig_minors),
            None if is_partitioned => mig_minors(driver, host).into(),
            None => Arc::default(),
        };
        let addresses = inventory.gpus.iter().filter_map(|gpu| gpu.pci.value().copied());
        let displays = addresses.map(|gpu| (gpu, told(display_nodes(host, dev, gpu, settings.non_devices))));
        Surroundings {
            nodes,
            mig_minors,
            displays: displays.filter(|(_, nodes)| !nodes.is_empty()).collect(),
            companions: told(Companions::find(driver, dev, host, settings.non_devices)),
            sockets: daemon_sockets(driver, host),
            management,
        }
    }

    /// All that a spec is built from.
    pub fn with(self, driver: DriverFiles, hook: Option<HostPath>) -> Host {
        let Surroundings { nodes, mig_minors, displays, companions, sockets, management } = self;
        let mig_minors = Arc::unwrap_or_clone(mig_minors);
        Host { driver, nodes, mig_minors, displays, companions, sockets, hook, management }
    }
}

/// The kernel's list. A driver root with a /proc of its own, as a simulated driver's, has the numbers of its own driver.
fn mig_minors(driver: &DriverRoot, host: &HostRoot) -> MigMinors {
    let own = told(MigMinors::read(&HostRoot::new(driver.root().local().as_path())));
    if own.is_empty() { told(MigMinors::read(host)) } else { own }
}

fn told<T: Default, E: std::error::Error>(found: Result<T, E>) -> T {
    found.unwrap_or_else(|error| {
        tracing::warn!(error = %daemon::error_chain(&error), "the CDI spec leaves out what cannot be looked at");
        T::default()
    })
}
