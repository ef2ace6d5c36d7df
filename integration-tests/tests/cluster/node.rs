//! The node under test: cluster, simulated driver, deployed plugin. Made once, locked by each test.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use test_cluster::{Cluster, DEFAULT_NAME, Kubectl, NODE_NAME, Verdict, kubectl_program, until};

use crate::{images, plugin, simulation};

/// Names a cluster to use instead of our own: its nodes' owner has laid the simulated driver and loaded the
/// images (see `manifests/README.md`). Tests that act on the node itself are then left out.
const KUBECONFIG: &str = "GANTRY_E2E_KUBECONFIG";

/// How long a change may take to show. Long, for machines under load: nothing here measures time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The resource under test.
pub const GPU: &str = "nvidia.com/gpu";

static NODE: Mutex<Option<Node>> = Mutex::new(None);

/// The node under test.
pub struct Node {
    /// kubectl for its cluster.
    pub kubectl: Kubectl,
    /// Its name.
    pub name: String,
    /// The cluster, when it is ours.
    own: Option<Cluster>,
}

/// The locked node.
pub struct Locked(MutexGuard<'static, Option<Node>>);

impl std::ops::Deref for Locked {
    type Target = Node;
    fn deref(&self) -> &Node {
        self.0.as_ref().expect("lock() has made it")
    }
}

/// The node with all its GPUs offered. Makes it at the first call.
pub fn lock() -> Locked {
    // A test that failed leaves what it made to be cleaned by its guards; the next one looks for itself.
    let mut node = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    if node.is_none() {
        *node = Some(Node::make().expect("the node under test"));
    }
    let locked = Locked(node);
    locked.wait_for_gpus(8, 8).expect("all GPUs at the start of a test");
    locked
}

/// The node, if the test may act on the machine itself. Says so and returns nothing otherwise.
pub fn lock_own(test: &str) -> Option<Locked> {
    let node = lock();
    if node.own.is_none() {
        println!("{test}: left out, since {KUBECONFIG} is set and the test acts on the node itself");
        return None;
    }
    Some(node)
}

/// The repository.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A program of this workspace, built by `cargo build --workspace --bins`.
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("this program's path");
    let folder = this.parent().and_then(Path::parent).expect("target/debug/deps");
    let path = folder.join(name);
    assert!(path.is_file(), "{}: not built; run `cargo build --workspace --bins --lib`", path.display());
    path
}

impl Node {
    fn make() -> Result<Self> {
        if let Some(kubeconfig) = std::env::var_os(KUBECONFIG) {
            let kubectl = Kubectl::for_kubeconfig(kubectl_program()?, Path::new(&kubeconfig));
            let name = kubectl.run(&["get", "nodes", "--output=jsonpath={.items[0].metadata.name}"])?;
            let node = Self { kubectl, name, own: None };
            println!("its nodes need the images in {:?} and a simulated driver", images::archives()?);
            plugin::deploy(&node)?;
            return Ok(node);
        }
        let cluster =
            Cluster::find(DEFAULT_NAME)?.context("the test cluster does not run: `make cluster-up`")?;
        let node = Self { kubectl: cluster.kubectl(), name: NODE_NAME.to_owned(), own: Some(cluster) };
        plugin::remove(&node)?;
        node.kubectl.run(&["delete", "pods", "--all", "--namespace=default", "--wait"])?;
        simulation::clear(&node)?;
        simulation::lay(&node)?;
        for archive in images::archives()? {
            node.cluster().load_image(&archive)?;
        }
        plugin::deploy(&node)?;
        Ok(node)
    }

    /// The cluster on this machine.
    pub fn cluster(&self) -> &Cluster {
        self.own.as_ref().expect("only tests that called lock_own() come here")
    }

    /// Ends the kubelet, starts it again and waits until it says that the node is Ready.
    pub fn restart_kubelet(&self) -> Result<()> {
        let mut cluster = Cluster::find(DEFAULT_NAME)?.context("the test cluster does not run")?;
        cluster.stop("kubelet", "TERM")?;
        cluster.start_again("kubelet")?;
        cluster.wait_for_node()
    }

    /// True when the cluster is ours.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Capacity and allocatable amount of a resource, as the API server knows them.
    pub fn amounts(&self, resource: &str) -> Result<(usize, usize)> {
        let node = self.kubectl.json(&["get", "node", &self.name])?;
        let amount = |which: &str| {
            let text = node["status"][which][resource].as_str().unwrap_or("0");
            text.parse().with_context(|| format!("{which} of {resource}: {text:?}"))
        };
        Ok((amount("capacity")?, amount("allocatable")?))
    }

    /// Waits until the node shows so many GPUs.
    pub fn wait_for_gpus(&self, capacity: usize, allocatable: usize) -> Result<()> {
        until(format!("{capacity} GPUs, {allocatable} of them allocatable"), PATIENCE, || {
            let amounts = self.amounts(GPU)?;
            if amounts == (capacity, allocatable) {
                return Ok(Verdict::Done(()));
            }
            Ok(Verdict::Waiting(format!(
                "(capacity, allocatable) {amounts:?}; plugin: {}",
                plugin::summary(self)
            )))
        })
    }

    /// How often the kubelet has taken a registration of the resource since it started.
    pub fn registrations(&self) -> Result<u64> {
        let metrics =
            self.kubectl.run(&["get", "--raw", &format!("/api/v1/nodes/{}/proxy/metrics", self.name)])?;
        let name = format!("kubelet_device_plugin_registration_total{{resource_name=\"{GPU}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        value.map_or(Ok(0), |value| value.parse().with_context(|| format!("{name}{value:?}")))
    }

    /// Waits until the kubelet has taken more registrations than `before`.
    pub fn wait_for_registration_after(&self, before: u64) -> Result<()> {
        until("the plugin's registration", PATIENCE, || {
            Ok(match self.registrations() {
                Ok(now) if now > before => Verdict::Done(()),
                Ok(now) => {
                    Verdict::Waiting(format!("{now} registrations; plugin: {}", plugin::summary(self)))
                }
                // A kubelet that starts does not answer yet.
                Err(error) => Verdict::Waiting(error.to_string()),
            })
        })
    }
}

/// A string in a JSON document, or what stands there instead.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
