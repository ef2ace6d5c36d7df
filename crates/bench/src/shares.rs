//! Many shares of few GPUs: whatever the plugin does has to go by GPUs, and only the list itself by shares.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::args::Args;
use crate::family::Family;
use crate::groups::{Figures, millis, plain, row, sampled, settled};
use crate::measure;
use crate::node::{Hardware, Node};
use crate::profile::Profile;
use crate::subject::{Probes, Subject};
use crate::table::Spec;

/// Shares of each of the eight GPUs: 10,000 ids, and about as many as the kubelet's limit lets a node have.
pub const COUNTS: [u32; 2] = [1250, 2000];

/// GPUs of the node.
pub const GPUS: u32 = 8;

/// Shares that a container asks for at most.
const SIZES: usize = 4;

/// As slow as a driver that is fast. Calls before the list are not counted here: so long a list takes a while to arrive.
const PROFILE: Profile = Profile::Uniform(Duration::from_micros(100));

/// Rows of [`shares`].
pub const SHARES: &[Spec] = &[
    Spec { what: "process start -> device list (ms: median / p99 / max)", target: None },
    row("  beyond the time inside NVML (ms, median)", 15.0),
    row("kubelet.sock created -> device list (ms: median / p99 / max)", 5.0),
    row("  its p99 (ms)", 20.0),
    row("GetPreferredAllocation, sizes 1 to 4 (ms: median / p99 / max; target: p99)", 5.0),
    row("Allocate, 100/s (ms: median / p99 / max; target: p99)", 1.0),
    row("memory of daemon and workers after it, PSS (MiB)", 16.0),
];

/// Starts, restarts, calls and memory with so many shares of each GPU.
pub async fn shares(args: &Args, subject: &Subject, count: u32) -> Figures {
    let mut node = Node::new(Hardware::Preset("dgx-a100"), PROFILE, Duration::ZERO).await?;
    let config = config(&node, count)?;
    let subject = subject.with_config(config);
    let starts = measure::starts(&mut node, &subject, args.runs).await?;
    let process = settled(&mut node, &subject, Probes::Rare).await?;
    let restart = measure::restarts(&mut node, &process, 10 * args.runs).await?.whole;
    let preferred = measure::preferred(&node, &process, args.calls, SIZES).await?.took;
    let allocate = measure::allocate(&node, &process, args.calls).await?.took;
    let memory = Family(process.pid()).memory()?;
    Ok([
        sampled(&starts.whole, starts.whole.median()),
        millis(starts.beyond_nvml.median()),
        sampled(&restart, restart.median()),
        millis(restart.p99()),
        sampled(&preferred, preferred.p99()),
        sampled(&allocate, allocate.p99()),
        plain(memory.pss_kib as f64 / 1024.0),
    ]
    .map(Some)
    .into())
}

/// A config that our plugin and NVIDIA's both read.
fn config(node: &Node, replicas: u32) -> Result<PathBuf> {
    let path = node.sim.root().join("etc/time-slicing.yaml");
    let text = format!(
        "version: v1\nsharing: {{timeSlicing: {{resources: [{{name: nvidia.com/gpu, replicas: {replicas}}}]}}}}\n"
    );
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
