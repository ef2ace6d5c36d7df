//! A simulated node to measure on, with its kubelet in this process: what happens there is dated where it happens.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fake_kubelet::{Event, FakeKubelet, Happening};
use kubelet_api::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use sim_node::{Process, SimNode};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use crate::calls::{CallLog, Calls};
use crate::measure::{PATIENCE, alive};
use crate::profile::Profile;

/// The resource that all subjects offer.
const RESOURCE: &str = "nvidia.com/gpu";

/// How often it is looked whether a subject still lives.
const LOOK: Duration = Duration::from_millis(50);

/// What a node has.
#[derive(Clone, Copy, Debug)]
pub enum Hardware<'a> {
    /// A preset of `nvml-sim`.
    Preset(&'a str),
    /// A node file's text.
    Yaml(&'a str),
}

/// A node without a kubelet, whose driver records its calls.
pub struct Machine {
    /// The node.
    pub sim: SimNode,
    /// The record of NVML calls.
    pub calls: CallLog,
}

impl Machine {
    /// Lays it down.
    pub fn lay(hardware: Hardware<'_>, profile: Profile) -> Result<Machine> {
        let builder = match hardware {
            Hardware::Preset(name) => SimNode::builder().preset(name),
            Hardware::Yaml(text) => SimNode::builder().yaml(text),
        };
        let sim = builder.without_kubelet().build()?;
        sim.driver().set_latencies(profile.latency())?;
        let calls = CallLog::keep(sim.driver().dir())?;
        Ok(Machine { sim, calls })
    }
}

/// One node; kubelet and folders go with it.
pub struct Node {
    kubelet: FakeKubelet,
    events: Receiver<Happening>,
    /// The record of NVML calls.
    pub calls: CallLog,
    /// The rest of it. Processes on it have to go before.
    pub sim: SimNode,
}

/// A device list that arrived.
pub struct Listed {
    /// When.
    pub at: Instant,
    /// NVML calls on the node by then: read at once, since the plugin goes on with its topology.
    pub calls: Calls,
}

impl Node {
    /// Lays a node down, and starts a kubelet that refuses connections for `gap` after its socket appeared.
    pub async fn new(hardware: Hardware<'_>, profile: Profile, gap: Duration) -> Result<Node> {
        let Machine { sim, calls } = Machine::lay(hardware, profile)?;
        let kubelet = FakeKubelet::builder(sim.plugin_dir()).listen_gap(gap).start().await?;
        let events = kubelet.events();
        Ok(Node { kubelet, events, calls, sim })
    }

    /// Forgets what happened so far.
    pub fn look_away(&mut self) {
        self.events = self.kubelet.events();
    }

    /// The next list of a process that just started, or of one whose kubelet did.
    pub async fn listed(&mut self, process: &Process) -> Result<Listed> {
        let list = self.event(process, "a device list", |event| {
            matches!(event, Event::Listed { resource, devices, .. } if resource == RESOURCE && *devices > 0)
        });
        let at = list.await?.at;
        Ok(Listed { at, calls: self.calls.read()? })
    }

    /// The next list with so many healthy devices.
    pub async fn healthy(&mut self, process: &Process, count: usize) -> Result<()> {
        self.event(
            process,
            &format!("{count} healthy devices"),
            |event| matches!(event, Event::Listed { healthy, .. } if *healthy == count),
        )
        .await
        .map(|_| ())
    }

    /// Restarts the kubelet; returns when its socket was about to appear.
    pub async fn restart_kubelet(&mut self, process: &Process) -> Result<Instant> {
        self.look_away();
        self.kubelet.restart().await?;
        Ok(self
            .event(process, "the kubelet's start", |event| matches!(event, Event::Started { .. }))
            .await?
            .at)
    }

    /// The devices that the kubelet has and takes for healthy, and a client of their plugin beside the kubelet's own.
    pub async fn plugin(&self) -> Result<(Vec<String>, DevicePluginClient<Channel>)> {
        let resource =
            self.kubelet.resources().resources.remove(RESOURCE).context("nothing is registered")?;
        let socket = resource.endpoints.last().context("no plugin is connected")?;
        let socket = self.sim.plugin_dir().join(socket);
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        let channel =
            endpoint.connect().await.with_context(|| format!("cannot reach {}", socket.display()))?;
        let healthy = resource.devices.into_iter().filter(|device| device.healthy);
        let ids = healthy.map(|device| device.id).collect();
        Ok((ids, DevicePluginClient::new(channel)))
    }

    /// The next event of a kind; an error when the process ends first.
    async fn event(
        &mut self,
        process: &Process,
        what: &str,
        is_it: impl Fn(&Event) -> bool,
    ) -> Result<Happening> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout(LOOK, self.events.recv()).await {
                Ok(Ok(happening)) if is_it(&happening.event) => return Ok(happening),
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) => bail!("the kubelet ended"),
                Err(_) => alive(process)?,
            }
            ensure!(
                Instant::now() < deadline,
                "{what} did not come within {PATIENCE:?}; last words:\n{}",
                process.last_words(20)
            );
        }
    }
}
