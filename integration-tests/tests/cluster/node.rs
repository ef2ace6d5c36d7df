//! The node under test: cluster, simulated driver, deployed plugin. Made once, locked by each test.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use history::Truth;
use serde_json::Value;
use test_cluster::{Cluster, DEFAULT_NAME, Kubectl, KubeletRelease, Verdict, kubectl_program, until};

use crate::daemon::PLUGIN;
use crate::{images, plugin, simulation};

/// Names a cluster to use instead of our own: its nodes' owner has laid the simulated driver and loaded the
/// images (see `manifests/README.md`). Tests that act on the node itself are then left out.
const KUBECONFIG: &str = "GANTRY_E2E_KUBECONFIG";

/// How long a change may take to show. Long, for machines under load: nothing here measures time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The label of every test pod: what an earlier run left is found by it, and nothing of anyone else.
pub const MARK: &str = "gantry.dev/test";

/// The resource under test.
pub const GPU: &str = "nvidia.com/gpu";

/// The node, or why there is none: the tests after the first that had to wait for it in vain fail at once.
static NODE: Mutex<Option<Result<Node, String>>> = Mutex::new(None);

/// The node under test.
pub struct Node {
    /// kubectl for its cluster.
    pub kubectl: Kubectl,
    /// Its name.
    pub name: String,
    /// Its label `kubernetes.io/hostname`, by which pods can choose it.
    pub hostname: String,
    /// What tests do to its GPUs and pods.
    pub truth: Truth,
    /// The cluster, when it is ours.
    own: Option<Cluster>,
}

/// The locked node.
pub struct Locked(MutexGuard<'static, Option<Result<Node, String>>>);

impl std::ops::Deref for Locked {
    type Target = Node;
    fn deref(&self) -> &Node {
        self.0.as_ref().and_then(|node| node.as_ref().ok()).expect("lock() has made it")
    }
}

/// The node with all its GPUs offered. Makes it at the first call.
pub fn lock() -> Locked {
    // A test that failed leaves what it made to be cleaned by its guards; the next one looks for itself.
    let mut slot = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = match slot.take() {
        None => Node::make().map_err(|error| format!("the node under test: {error:#}")),
        Some(earlier) => earlier,
    };
    let ready = made.and_then(|node| match node.wait_for_gpus(8, 8) {
        Ok(()) => Ok(node),
        Err(error) => Err(format!("all GPUs at the start of a test: {error:#}")),
    });
    if let Err(why) = &ready {
        let told = why.clone();
        *slot = Some(ready);
        drop(slot);
        panic!("{told}");
    }
    *slot = Some(ready);
    Locked(slot)
}

/// The node, if the test may act on the machine itself. Says so and returns nothing otherwise.
pub fn lock_own(test: &str) -> Option<Locked> {
    let node = lock();
    (!node.is_left_out(test)).then_some(node)
}

/// Waits for a condition of the cluster. An API server that does not answer for once does not end the wait.
pub fn wait<T>(what: impl Display, mut look: impl FnMut() -> Result<Verdict<T>>) -> Result<T> {
    until(what, PATIENCE, || Ok(look().unwrap_or_else(|error| Verdict::Waiting(format!("{error:#}")))))
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
            let node = Self::of(kubectl, None)?;
            say(format!("its nodes need the images in {:?} and a simulated driver", images::archives()?));
            node.clear()?;
            plugin::deploy(&node)?;
            return Ok(node);
        }
        let mut cluster =
            Cluster::find(DEFAULT_NAME)?.context("the test cluster does not run: `make cluster-up`")?;
        cluster.check()?;
        // A test that was killed may have left another one.
        cluster.use_kubelet(KubeletRelease::default())?;
        let node = Self::of(cluster.kubectl(), Some(cluster))?;
        node.clear()?;
        simulation::clear(&node)?;
        simulation::lay(&node)?;
        for archive in images::archives()? {
            node.cluster().load_image(&archive)?;
        }
        plugin::deploy(&node)?;
        Ok(node)
    }

    /// The first node of a cluster.
    fn of(kubectl: Kubectl, own: Option<Cluster>) -> Result<Self> {
        let nodes = kubectl.json(&["get", "nodes"])?;
        let metadata = &nodes["items"][0]["metadata"];
        let name = metadata["name"].as_str().context("the cluster has no node")?.to_owned();
        let hostname = text(&metadata["labels"]["kubernetes.io/hostname"]);
        Ok(Self { kubectl, name, hostname, truth: Truth::default(), own })
    }

    /// Removes the plugin, and the pods of an earlier run that could not do so itself. The GPUs that the node shows
    /// after that are those of the plugin to come.
    fn clear(&self) -> Result<()> {
        self.kubectl.delete(&["pods", &format!("--selector={MARK}")])?;
        PLUGIN.remove(self)?;
        self.wait_until_gpus("no GPU to be allocatable", |_, allocatable| allocatable == 0)
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

    /// True, and told on standard error whether or not the test's output is captured, when a test or a part of one
    /// cannot be made on this cluster.
    pub fn is_left_out(&self, what: &str) -> bool {
        if self.own.is_none() {
            say(format!("{what}: LEFT OUT, since {KUBECONFIG} is set and this acts on the node itself"));
        }
        self.own.is_none()
    }

    /// True when the cluster is ours.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Capacity and allocatable amount of a resource, as the API server knows them.
    pub fn amounts(&self, resource: &str) -> Result<(usize, usize)> {
        amounts(&self.get()?, resource)
    }

    /// Waits until the node shows so many GPUs.
    pub fn wait_for_gpus(&self, capacity: usize, allocatable: usize) -> Result<()> {
        let what = format!("{capacity} GPUs, {allocatable} of them allocatable");
        self.wait_until_gpus(&what, |its_capacity, its_allocatable| {
            (its_capacity, its_allocatable) == (capacity, allocatable)
        })
    }

    /// Waits until the node's GPUs, capacity and allocatable, are as wanted.
    pub fn wait_until_gpus(&self, what: &str, wanted: impl Fn(usize, usize) -> bool) -> Result<()> {
        let waited = wait(what, || {
            let (capacity, allocatable) = self.amounts(GPU)?;
            Ok(match wanted(capacity, allocatable) {
                true => Verdict::Done(()),
                false => Verdict::Waiting(format!("capacity {capacity}, allocatable {allocatable}")),
            })
        });
        waited.with_context(|| format!("plugin: {}", PLUGIN.summary(self)))
    }

    /// Waits until the node shows so much of a resource.
    pub fn wait_for_amounts(&self, resource: &str, capacity: usize, allocatable: usize) -> Result<()> {
        let waited = wait(format!("{capacity} of {resource}, {allocatable} allocatable"), || {
            Ok(match self.amounts(resource)? {
                now if now == (capacity, allocatable) => Verdict::Done(()),
                now => Verdict::Waiting(format!("{now:?}")),
            })
        });
        waited.with_context(|| format!("plugin: {}", PLUGIN.summary(self)))
    }

    /// Waits until the node shows so much of a resource, all of it allocatable; `meanwhile` sees every look at the node, and
    /// its error ends the wait.
    pub fn wait_for_amount(
        &self,
        resource: &str,
        amount: usize,
        mut meanwhile: impl FnMut(&Value) -> Result<()>,
    ) -> Result<()> {
        let waited = wait(format!("{amount} of {resource}"), || {
            let node = self.get()?;
            // An error of this closure would be one more look to come.
            if let Err(error) = meanwhile(&node) {
                return Ok(Verdict::Done(Err(error)));
            }
            Ok(match amounts(&node, resource)? {
                now if now == (amount, amount) => Verdict::Done(Ok(())),
                now => Verdict::Waiting(format!("{now:?}")),
            })
        });
        waited.and_then(|seen| seen).with_context(|| format!("plugin: {}", PLUGIN.summary(self)))
    }

    /// Waits until the node shows so many GPUs in a report that the kubelet made after this call: what is on the
    /// Node object may be from before the event. The second new heartbeat is such a report; the first may have been
    /// on its way.
    pub fn wait_for_fresh_gpus(&self, capacity: usize, allocatable: usize) -> Result<()> {
        let what = format!("{capacity} GPUs, {allocatable} allocatable");
        self.wait_until_fresh(&what, |its_capacity, its_allocatable| {
            (its_capacity, its_allocatable) == (capacity, allocatable)
        })
    }

    /// The same for GPUs, capacity and allocatable, that are as wanted.
    pub fn wait_until_fresh(&self, what: &str, wanted: impl Fn(usize, usize) -> bool) -> Result<()> {
        let (mut last, mut fresh) = (String::new(), -1);
        let waited = wait(format!("a fresh report of {what}"), || {
            let node = self.get()?;
            let heartbeat = heartbeat(&node);
            if heartbeat != last {
                last = heartbeat;
                fresh += 1;
            }
            let now = amounts(&node, GPU)?;
            Ok(match fresh >= 2 && wanted(now.0, now.1) {
                true => Verdict::Done(()),
                false => Verdict::Waiting(format!("{fresh} fresh reports, the last of {now:?}")),
            })
        });
        waited.with_context(|| format!("plugin: {}", PLUGIN.summary(self)))
    }

    /// The Node object.
    pub fn get(&self) -> Result<Value> {
        self.kubectl.json(&["get", "node", &self.name])
    }

    /// How often a plugin came to the kubelet with the resource since the kubelet started. It counts before it looks
    /// at the request: also one that it refuses.
    pub fn registrations(&self) -> Result<u64> {
        let metrics =
            self.kubectl.run(&["get", "--raw", &format!("/api/v1/nodes/{}/proxy/metrics", self.name)])?;
        let name = format!("kubelet_device_plugin_registration_total{{resource_name=\"{GPU}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        value.map_or(Ok(0), |value| value.parse().with_context(|| format!("{name}{value:?}")))
    }

    /// Waits until plugins have come to the kubelet more often than `before`. That says nothing of the GPUs yet.
    pub fn wait_for_registration_after(&self, before: u64) -> Result<()> {
        let waited = wait("the plugin's registration", || {
            Ok(match self.registrations()? {
                now if now > before => Verdict::Done(()),
                now => Verdict::Waiting(format!("{now} registrations")),
            })
        });
        waited.with_context(|| format!("plugin: {}", PLUGIN.summary(self)))
    }
}

pub fn amounts(node: &Value, resource: &str) -> Result<(usize, usize)> {
    let amount = |which: &str| {
        let text = node["status"][which][resource].as_str().unwrap_or("0");
        text.parse().with_context(|| format!("{which} of {resource}: {text:?}"))
    };
    Ok((amount("capacity")?, amount("allocatable")?))
}

/// When the kubelet last looked, as it says itself.
fn heartbeat(node: &Value) -> String {
    let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    ready.map(|condition| text(&condition["lastHeartbeatTime"])).unwrap_or_default()
}

/// How often a fault is repeated: `ci` times unless `GANTRY_FAULT_REPEATS` says how often, or `full` for all of them.
pub fn repeats(ci: usize, full: usize) -> usize {
    match std::env::var("GANTRY_FAULT_REPEATS") {
        Err(_) => ci,
        Ok(word) if word == "full" => full,
        Ok(word) => word.parse().expect("GANTRY_FAULT_REPEATS is a number, or full"),
    }
}

/// Tells a person what the runner of tests would hide.
pub fn say(line: String) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A string in a JSON document, or what stands there instead.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
