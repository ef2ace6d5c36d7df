//! The single measures. Each returns durations and judges nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubelet_api::deviceplugin::v1beta1::{
    AllocateRequest, ContainerAllocateRequest, ContainerPreferredAllocationRequest,
    PreferredAllocationRequest,
};

use crate::kubelet::{Kubelet, Plugin};
use crate::node::{CallCounter, Node};
use crate::process::Process;
use crate::stats::Sample;
use crate::subject::Subject;

/// How long anything may take before the run is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Starts of a process.
pub struct Starts {
    /// From the start of the process to its first list.
    pub durations: Sample,
    /// NVML calls before the first list: the median, since the list arrives a moment after it was sent.
    pub calls: u64,
}

/// Starts the subject `runs` times, each time until its first list.
pub async fn starts(node: &Node, subject: &Subject, runs: u32) -> Result<Starts> {
    let (mut durations, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut kubelet = Kubelet::start(node)?;
        let before = node.call_counter().count()?;
        let began = Instant::now();
        let _process = subject.start(node)?;
        let plugin = kubelet.plugin(PATIENCE).await?;
        durations.push(plugin.listed - began);
        calls.push(plugin.calls - before);
        ensure!(!plugin.devices.is_empty(), "{} listed no device", subject.name);
    }
    Ok(Starts { durations: Sample::new(durations).context("no run")?, calls: median(calls)? })
}

/// Restarts of the kubelet under a running plugin.
pub struct Restarts {
    /// From the creation of the kubelet's socket to the first list.
    pub durations: Sample,
    /// NVML calls meanwhile: the median, since a periodic probe may fall into a run.
    pub calls: u64,
    /// The last life of the kubelet, which must stay for the plugin's sake.
    pub kubelet: Kubelet,
    /// The plugin as it knows it.
    pub plugin: Plugin,
}

/// Restarts the kubelet `runs` times under a running plugin, once that has found out all it wants to know.
pub async fn restarts(node: &Node, mut kubelet: Kubelet, mut plugin: Plugin, runs: u32) -> Result<Restarts> {
    let counter = node.call_counter();
    settle(&counter).await?;
    let (mut durations, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        // A dying kubelet takes its streams with it.
        drop(plugin);
        let before = counter.count()?;
        kubelet = kubelet.restart(node).await?;
        plugin = kubelet.plugin(PATIENCE).await?;
        durations.push(plugin.listed - kubelet.born);
        calls.push(plugin.calls - before);
    }
    Ok(Restarts {
        durations: Sample::new(durations).context("no run")?,
        calls: median(calls)?,
        kubelet,
        plugin,
    })
}

fn median(mut counts: Vec<u64>) -> Result<u64> {
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().context("no run")
}

/// Waits until no NVML call was made for a second.
async fn settle(counter: &CallCounter) -> Result<()> {
    let began = Instant::now();
    let mut last = counter.count()?;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = counter.count()?;
        if now == last {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "NVML calls do not end: {now} so far");
        last = now;
    }
}

/// Asks for preferences of every size in turn, all GPUs being available.
pub async fn preferred(plugin: &mut Plugin, calls: u32) -> Result<Sample> {
    let ids: Vec<String> = plugin.devices.iter().map(|device| device.id.clone()).collect();
    let mut durations = Vec::new();
    for call in 0..calls {
        let size = 1 + call as usize % ids.len();
        let request = PreferredAllocationRequest {
            container_requests: vec![ContainerPreferredAllocationRequest {
                available_device_i_ds: ids.clone(),
                must_include_device_i_ds: Vec::new(),
                allocation_size: i32::try_from(size)?,
            }],
        };
        let began = Instant::now();
        plugin.client.get_preferred_allocation(request).await.context("GetPreferredAllocation failed")?;
        durations.push(began.elapsed());
    }
    Sample::new(durations).context("no call")
}

/// Allocates each GPU in turn.
pub async fn allocate(plugin: &mut Plugin, calls: u32) -> Result<Sample> {
    let mut durations = Vec::new();
    for call in 0..calls {
        let device = &plugin.devices[call as usize % plugin.devices.len()];
        let request = AllocateRequest {
            container_requests: vec![ContainerAllocateRequest { devices_ids: vec![device.id.clone()] }],
        };
        let began = Instant::now();
        plugin.client.allocate(request).await.context("Allocate failed")?;
        durations.push(began.elapsed());
    }
    Sample::new(durations).context("no call")
}

/// Processor time of a process that is asked nothing for a while, after it has settled.
pub async fn idle(process: &Process, window: Duration) -> Duration {
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = process.cpu();
    tokio::time::sleep(window).await;
    process.cpu().saturating_sub(before)
}
