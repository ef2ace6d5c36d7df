//! The single measures. Each returns samples and judges nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kubelet_api::deviceplugin::v1beta1::{
    AllocateRequest, ContainerAllocateRequest, ContainerPreferredAllocationRequest,
    PreferredAllocationRequest,
};
use sim_node::Process;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::family::Family;
use crate::node::Node;
use crate::stats::Sample;
use crate::subject::{Probes, Subject};

/// How long anything may take before it is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A measure that takes longer ends with the samples that it has, once it has enough of them.
const BUDGET: Duration = Duration::from_secs(10);

/// Between two paced calls: a hundred a second.
const PACE: Duration = Duration::from_millis(10);

/// Nothing to be seen for so long means that a plugin has found out what it wants to know.
const SETTLED: Duration = Duration::from_secs(3);

/// An error once a process has ended, with its last words.
pub fn alive(process: &Process) -> Result<()> {
    match process.ended()? {
        None => Ok(()),
        Some(status) => {
            bail!("{} ended: {status}; its last words:\n{}", process.name(), process.last_words(20))
        }
    }
}

/// Starts of a process.
pub struct Starts {
    /// From its start to its first list.
    pub whole: Sample<Duration>,
    /// The same without the time inside NVML.
    pub beyond_nvml: Sample<Duration>,
    /// NVML calls before the first list.
    pub calls: Sample<u64>,
}

/// Starts the subject `runs` times, each time until its first list.
pub async fn starts(node: &mut Node, subject: &Subject, runs: u32) -> Result<Starts> {
    let (mut whole, mut beyond_nvml, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let before = node.calls.read()?;
        node.look_away();
        let (process, began) = subject.start(&node.sim, Probes::AsEver).await?;
        let listed = node.listed(&process).await?;
        let made = listed.calls.since(&before);
        let took = listed.at - began;
        whole.push(took);
        beyond_nvml.push(took.saturating_sub(made.time()));
        calls.push(made.count());
    }
    Ok(Starts {
        whole: Sample::new(whole)?,
        beyond_nvml: Sample::new(beyond_nvml)?,
        calls: Sample::new(calls)?,
    })
}

/// Restarts of the kubelet under a running plugin.
pub struct Restarts {
    /// From the moment before its socket appeared to the list.
    pub whole: Sample<Duration>,
    /// NVML calls meanwhile.
    pub calls: Sample<u64>,
}

/// Restarts the kubelet up to `count` times under a plugin that has settled.
pub async fn restarts(node: &mut Node, process: &Process, count: u32) -> Result<Restarts> {
    let (mut whole, mut calls) = (Vec::new(), Vec::new());
    let mut budget = Budget::new(count, count.div_ceil(10));
    while budget.goes_on() {
        let before = node.calls.read()?;
        let began = node.restart_kubelet(process).await?;
        let listed = node.listed(process).await?;
        whole.push(listed.at - began);
        calls.push(listed.calls.since(&before).count());
    }
    Ok(Restarts { whole: Sample::new(whole)?, calls: Sample::new(calls)? })
}

/// Waits until no NVML call was made for a while.
pub async fn settle(node: &Node, process: &Process) -> Result<()> {
    let began = Instant::now();
    let mut last = node.calls.read()?.count();
    loop {
        tokio::time::sleep(SETTLED).await;
        alive(process)?;
        let now = node.calls.read()?.count();
        if now == last {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "NVML calls do not end: {now} so far");
        last = now;
    }
}

/// Calls of one RPC.
pub struct Calls {
    /// How long each took.
    pub took: Sample<Duration>,
    /// NVML calls meanwhile, per call.
    pub nvml: f64,
}

/// Asks for preferences of each size up to `most` in turn, all devices being available.
pub async fn preferred(node: &Node, process: &Process, count: u32, most: usize) -> Result<Calls> {
    let (ids, mut client) = node.plugin().await?;
    let known: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let sizes = most.min(ids.len());
    let before = node.calls.read()?;
    let mut took = Vec::new();
    let mut budget = Budget::new(count, u32::try_from(2 * sizes)?);
    while budget.goes_on() {
        let size = 1 + took.len() % sizes;
        let request = PreferredAllocationRequest {
            container_requests: vec![ContainerPreferredAllocationRequest {
                available_device_i_ds: ids.clone(),
                must_include_device_i_ds: Vec::new(),
                allocation_size: i32::try_from(size)?,
            }],
        };
        let began = Instant::now();
        let answer = answered(process, client.get_preferred_allocation(request)).await?;
        took.push(began.elapsed());
        let chosen: BTreeSet<String> =
            answer.container_responses.into_iter().flat_map(|container| container.device_i_ds).collect();
        ensure!(
            chosen.len() == size && chosen.iter().all(|id| known.contains(id.as_str())),
            "GetPreferredAllocation of {size} named {chosen:?}"
        );
    }
    calls(node, &before, took)
}

/// Allocates each of the GPUs in turn, a hundred a second.
pub async fn allocate(node: &Node, process: &Process, count: u32) -> Result<Calls> {
    let (ids, mut client) = node.plugin().await?;
    let before = node.calls.read()?;
    let mut took = Vec::new();
    let mut budget = Budget::new(count, count.min(10));
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while budget.goes_on() {
        pace.tick().await;
        let id = ids[took.len() % ids.len()].clone();
        let request =
            AllocateRequest { container_requests: vec![ContainerAllocateRequest { devices_ids: vec![id] }] };
        let began = Instant::now();
        let answer = answered(process, client.allocate(request)).await?;
        took.push(began.elapsed());
        let containers = answer.container_responses.len();
        ensure!(containers == 1, "Allocate answered for {containers} containers");
    }
    calls(node, &before, took)
}

fn calls(node: &Node, before: &crate::calls::Calls, took: Vec<Duration>) -> Result<Calls> {
    let made = node.calls.read()?.since(before).count();
    let nvml = made as f64 / took.len().max(1) as f64;
    Ok(Calls { took: Sample::new(took)?, nvml })
}

/// Processor time of a process that is asked nothing for a while, after it has settled.
pub async fn idle(family: Family, window: Duration) -> Result<Duration> {
    tokio::time::sleep(SETTLED).await;
    let before = family.cpu()?;
    tokio::time::sleep(window).await;
    Ok(family.cpu()?.saturating_sub(before))
}

/// The answer to a call; an error with the process's last words when there is none in time.
async fn answered<T>(
    process: &Process,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T> {
    let answer = timeout(PATIENCE, call).await.context("no answer in time").and_then(|answer| Ok(answer?));
    let answer = answer.with_context(|| format!("a call failed; last words:\n{}", process.last_words(20)))?;
    Ok(answer.into_inner())
}

/// How often something is done: so many times, or as often as the time allows and at least so many times.
struct Budget {
    began: Instant,
    done: u32,
    most: u32,
    least: u32,
}

impl Budget {
    fn new(most: u32, least: u32) -> Budget {
        Budget { began: Instant::now(), done: 0, most, least }
    }

    fn goes_on(&mut self) -> bool {
        let goes_on = self.done < self.least || (self.done < self.most && self.began.elapsed() < BUDGET);
        self.done += 1;
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_goes_on_to_its_most_in_time_and_to_its_least_out_of_it() {
        let count = |mut budget: Budget| std::iter::from_fn(|| budget.goes_on().then_some(())).count();
        assert_eq!(count(Budget::new(100, 2)), 100);
        let mut late = Budget::new(100, 2);
        late.began -= BUDGET;
        assert_eq!(count(late), 2);
        // Each size is asked twice, however few calls were wished.
        assert_eq!(count(Budget::new(8, 16)), 16);
    }
}
