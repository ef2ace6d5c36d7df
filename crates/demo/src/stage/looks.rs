//! What a scene looks at: the kubelet's books, the plugin's `/ready` and log. Reads only.

use anyhow::{Context, Result};
use fake_kubelet::{Event, Happening, ResourceState, State};
use sim_node::AdminAnswer;

use super::{RESOURCE, Stage};
use crate::screen::Tone;
use crate::wording::without_time;

/// Letters of a pod's name in the strip.
const CELL: usize = 6;

impl Stage {
    /// The resource as the kubelet has it, in a form for [`Stage::until`].
    pub fn resource(&self) -> Result<ResourceState, String> {
        let mut state = self.node.kubelet().state().map_err(|error| error.to_string())?;
        state.resources.remove(RESOURCE).ok_or_else(|| format!("the kubelet does not know {RESOURCE}"))
    }

    /// The resource, once the kubelet counts so many allocatable devices.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn allocatable(&self, count: usize) -> Result<ResourceState> {
        self.until(&format!("{count} {RESOURCE} are allocatable"), || {
            let resource = self.resource()?;
            let ResourceState { capacity, allocatable, endpoints, .. } = &resource;
            if *allocatable == count {
                return Ok(resource);
            }
            Err(format!("capacity {capacity}, allocatable {allocatable}, plugins {endpoints:?}"))
        })
    }

    /// The last event that is of this kind and came at `since` (nanoseconds since 1970) or later, once there is one.
    /// The kubelet's books change a moment before it tells so.
    ///
    /// # Errors
    /// When it does not come.
    pub fn event(&self, what: &str, since: u64, is_it: impl Fn(&Event) -> bool) -> Result<Happening> {
        self.until(&format!("the kubelet tells: {what}"), || {
            let events = self.node.kubelet().events().map_err(|error| error.to_string())?;
            let last = events.last().map_or("no event".to_owned(), |last| last.event.to_string());
            let mut backwards = events.into_iter().rev().filter(|happening| happening.unix_nanos >= since);
            backwards.find(|happening| is_it(&happening.event)).ok_or(last)
        })
    }

    /// Indexes of the GPUs that are healthy and nobody's.
    ///
    /// # Errors
    /// When the kubelet does not answer.
    pub fn free(&self) -> Result<Vec<usize>> {
        let resource = self.resource().map_err(anyhow::Error::msg)?;
        let free = resource.devices.into_iter().filter(|device| device.healthy && device.held_by.is_none());
        Ok(self.gpus.indexes(&free.map(|device| device.id).collect::<Vec<_>>()))
    }

    /// The plugin's answer to `/ready`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ready(&self) -> Result<AdminAnswer> {
        Ok(self.plugin()?.admin_get("/ready")?)
    }

    /// How many workers have asked NVML so far.
    ///
    /// # Errors
    /// When the plugin does not answer.
    pub fn worker_starts(&self) -> Result<f64> {
        const STARTS: &str = "gantry_device_plugin_nvml_worker_starts_total{role=\"queries\"}";
        Ok(self.plugin()?.metric(STARTS)?)
    }

    /// The plugin's answer, once its status is this and its body has these words.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn ready_with(&self, status: u16, words: &str) -> Result<AdminAnswer> {
        self.until(&format!("/ready answers {status} {words}"), || {
            let answer = self.ready().map_err(|error| format!("{error:#}"))?;
            if answer.status == status && answer.body.contains(words) {
                Ok(answer)
            } else {
                Err(format!("{} {}", answer.status, answer.body))
            }
        })
    }

    /// The plugin's log lines that have all of these words, without their times.
    ///
    /// # Errors
    /// When there is no plugin.
    pub fn log_lines(&self, words: &[&str]) -> Result<Vec<String>> {
        let log = self.plugin()?.log();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        Ok(log.lines().filter(has_all).map(|line| without_time(line).to_owned()).collect())
    }

    /// The first such line, once there is one.
    ///
    /// # Errors
    /// When it does not come.
    pub fn log_line(&self, words: &[&str]) -> Result<String> {
        self.until(&format!("the plugin logs {words:?}"), || {
            let lines = self.log_lines(words).map_err(|error| format!("{error:#}"))?;
            lines.into_iter().next().ok_or_else(|| "no such line".to_owned())
        })
    }

    /// Shows who has which GPU, one cell each.
    ///
    /// # Errors
    /// When the kubelet does not answer.
    pub fn show_strip(&mut self) -> Result<()> {
        let resource = self.resource().map_err(anyhow::Error::msg)?;
        let mut cells = Vec::new();
        for gpu in &self.gpus.node().gpus {
            let device = resource.devices.iter().find(|device| device.id == gpu.uuid);
            let (text, tone) = match device {
                None => ("gone", Tone::Bad),
                Some(device) if !device.healthy => ("sick", Tone::Bad),
                Some(device) => match &device.held_by {
                    None => ("free", Tone::Dim),
                    Some(holder) => (pod_of(holder), Tone::Held),
                },
            };
            cells.push((text.chars().take(CELL).collect::<String>(), tone));
        }
        Ok(self.screen.strip("GPUs 0-7", &cells)?)
    }

    /// Everything that the kubelet knows.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn kubelet_state(&self) -> Result<State> {
        self.node.kubelet().state().context("the kubelet's books")
    }
}

/// The pod in `namespace/pod/container`.
fn pod_of(holder: &str) -> &str {
    holder.split('/').nth(1).unwrap_or(holder)
}
