//! What is measured, with the design's targets: one function a group, which gives a figure for each of its rows.

use std::time::Duration;

use anyhow::{Context, Result};
use nvml_sim::{Effect, Fault};
use sim_node::Process;

use crate::args::Args;
use crate::family::Family;
use crate::measure::{self, PATIENCE, Restarts, Starts, alive};
use crate::node::{Hardware, Node};
use crate::profile::Profile;
use crate::stats::{Millis, Sample};
use crate::subject::{Probes, Subject};
use crate::table::{Figure, Spec};

/// The figures of a group.
pub type Figures = Result<Vec<Option<Figure>>>;

/// How long the kubelet's socket refuses connections where that is measured.
pub const GAP: Duration = Duration::from_millis(10);

/// A node of sixteen GPUs.
pub const SIXTEEN: &str = include_str!("../nodes/a100-x16.yaml");

/// Every call on a GPU.
const ON_GPUS: &str = "nvmlDevice*";

/// A row with a target.
pub const fn row(what: &'static str, target: f64) -> Spec {
    Spec { what, target: Some(target) }
}

/// Rows of [`timings`].
pub const TIMINGS: &[Spec] = &[
    Spec { what: "process start -> device list (ms: median / p99 / max)", target: None },
    row("  beyond the time inside NVML (ms, median)", 15.0),
    row("  NVML calls before the first list (fewest)", 64.0),
    row("kubelet.sock created -> device list (ms: median / p99 / max)", 5.0),
    row("  its p99 (ms)", 20.0),
    row("  NVML calls for it (max)", 0.0),
    row("GetPreferredAllocation, every size (ms: median / p99 / max; target: p99)", 0.5),
    row("  NVML calls for one", 0.0),
    row("Allocate, 100/s (ms: median / p99 / max; target: p99)", 1.0),
    row("  NVML calls for one", 0.0),
];

/// Start, restart and calls under a latency profile.
pub async fn timings(args: &Args, subject: &Subject, profile: Profile) -> Figures {
    let mut node = Node::new(Hardware::Preset(&args.preset), profile, Duration::ZERO).await?;
    let Starts { whole, beyond_nvml, calls } = measure::starts(&mut node, subject, args.runs).await?;
    let process = settled(&mut node, subject, Probes::Rare).await?;
    let Restarts { whole: restart, calls: restart_calls } =
        measure::restarts(&mut node, &process, 10 * args.runs).await?;
    let preferred = measure::preferred(&node, &process, args.calls, usize::MAX).await?;
    let allocate = measure::allocate(&node, &process, args.calls).await?;
    Ok(vec![
        Some(sampled(&whole, whole.median())),
        Some(millis(beyond_nvml.median())),
        // Read a moment after the list was sent: where calls take no time, many more are made in that moment.
        (profile != Profile::NONE).then(|| plain(calls.min() as f64)),
        Some(sampled(&restart, restart.median())),
        Some(millis(restart.p99())),
        Some(plain(restart_calls.max() as f64)),
        Some(sampled(&preferred.took, preferred.took.p99())),
        Some(plain(preferred.nvml)),
        Some(sampled(&allocate.took, allocate.took.p99())),
        Some(plain(allocate.nvml)),
    ])
}

/// Rows of [`gap`].
pub const REFUSED: &[Spec] =
    &[row("kubelet.sock accepts -> device list (ms: median / p99 / max; target: p99)", 20.0)];

/// Restarts of a kubelet whose socket appears before it accepts.
pub async fn gap(args: &Args, subject: &Subject) -> Figures {
    let mut node = Node::new(Hardware::Preset(&args.preset), Profile::NONE, GAP).await?;
    let process = settled(&mut node, subject, Probes::Rare).await?;
    let restart = measure::restarts(&mut node, &process, 10 * args.runs).await?.whole.less(GAP);
    measured([sampled(&restart, restart.p99())])
}

/// Rows of [`sixteen`].
pub const SIXTEEN_GPUS: &[Spec] =
    &[row("GetPreferredAllocation, every size (ms: median / p99 / max; target: p99)", 0.5)];

/// Preferences on a large node.
pub async fn sixteen(args: &Args, subject: &Subject) -> Figures {
    let mut node = Node::new(Hardware::Yaml(SIXTEEN), Profile::NONE, Duration::ZERO).await?;
    let process = settled(&mut node, subject, Probes::Rare).await?;
    let preferred = measure::preferred(&node, &process, args.calls, usize::MAX).await?.took;
    measured([sampled(&preferred, preferred.p99())])
}

/// Rows of [`faults`].
pub const FAULTS: &[Spec] = &[
    row("Allocate, 100/s, every call on a GPU hangs (ms: median / p99 / max; target: p99)", 2.0),
    row("Allocate, 100/s, every call on a GPU crashes (ms: median / p99 / max; target: p99)", 2.0),
    row("Allocate, 100/s, a GPU is lost (ms: median / p99 / max; target: p99)", 2.0),
];

/// Allocations while NVML is broken. Whether it is broken already is asked where only our plugin answers.
pub async fn faults(args: &Args, subject: &Subject) -> Figures {
    let mut figures = Vec::new();
    for effect in [Some(Effect::Hang), Some(Effect::Crash), None] {
        let mut node = Node::new(Hardware::Preset(&args.preset), Profile::NONE, Duration::ZERO).await?;
        let process = settled(&mut node, subject, Probes::Often).await?;
        match effect {
            Some(effect) => strike(&node, &process, effect).await?,
            None => {
                let gpus = node.sim.driver().node()?.gpus.len();
                node.look_away();
                node.sim.driver().lose("0", None)?;
                node.healthy(&process, gpus - 1).await?;
            }
        }
        let took = measure::allocate(&node, &process, args.calls).await?.took;
        figures.push(sampled(&took, took.p99()));
    }
    measured(figures)
}

/// Breaks every call on a GPU, and waits until the plugin has given up a worker for it.
async fn strike(node: &Node, process: &Process, effect: Effect) -> Result<()> {
    const STARTS: &str = "gantry_device_plugin_nvml_worker_starts_total{role=\"queries\"}";
    let before = process.metric(STARTS)?;
    node.sim.driver().add_fault(Fault::new(ON_GPUS, effect))?;
    tokio::time::timeout(PATIENCE, async {
        while process.metric(STARTS)? <= before {
            alive(process)?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    })
    .await
    .context("the fault does not show")?
}

/// Rows of [`footprint`].
pub const FOOTPRINT: &[Spec] = &[
    row("idle processor time in 60 s (ms)", 5.0),
    row("memory of daemon and workers, PSS (MiB)", 12.0),
    Spec { what: "  of it the driver's library, here the simulated one (MiB)", target: None },
    row("  anonymous (MiB)", 4.0),
    row("  after load: PSS (MiB)", 12.0),
    row("  after load: anonymous (MiB)", 4.0),
];

/// In the name of the driver's library.
const NVML: &str = "libnvidia-ml.so";

/// Memory and idleness.
pub async fn footprint(args: &Args, subject: &Subject) -> Figures {
    let mut node = Node::new(Hardware::Preset(&args.preset), Profile::NONE, Duration::ZERO).await?;
    let process = settled(&mut node, subject, Probes::AsEver).await?;
    let family = Family(process.pid());
    let idle = match args.idle_seconds {
        0 => None,
        seconds => {
            let idle = measure::idle(family, Duration::from_secs(seconds)).await?;
            Some(plain(idle.as_secs_f64() * 1e3 * 60.0 / seconds as f64))
        }
    };
    let rested = family.memory()?;
    let library = family.memory_of_file(NVML)?;
    measure::preferred(&node, &process, args.calls, usize::MAX).await?;
    measure::allocate(&node, &process, args.calls).await?;
    let loaded = family.memory()?;
    let kib = [rested.pss_kib, library, rested.anonymous_kib, loaded.pss_kib, loaded.anonymous_kib];
    Ok(std::iter::once(idle).chain(kib.map(|kib| Some(plain(kib as f64 / 1024.0)))).collect())
}

/// Rows of the images.
pub const IMAGES: &[Spec] =
    &[row("gpu-device-plugin, compressed (MB)", 15.0), row("gpu-feature-discovery, compressed (MB)", 15.0)];

/// The images' sizes.
pub fn images() -> Figures {
    let sizes = ["gpu-device-plugin", "gpu-feature-discovery"].map(crate::image::compressed_mb);
    measured(sizes.into_iter().collect::<Result<Vec<_>>>()?.into_iter().map(plain))
}

/// A process that has registered and asks NVML nothing more.
pub async fn settled(node: &mut Node, subject: &Subject, probes: Probes) -> Result<Process> {
    node.look_away();
    let (process, _) = subject.start(&node.sim, probes).await?;
    node.listed(&process).await?;
    if probes != Probes::Often {
        measure::settle(node, &process).await?;
    }
    Ok(process)
}

/// Figures that were all measured.
pub fn measured(figures: impl IntoIterator<Item = Figure>) -> Figures {
    Ok(figures.into_iter().map(Some).collect())
}

/// A sample, compared with its target by one of its numbers.
pub fn sampled(sample: &Sample<Duration>, number: Duration) -> Figure {
    Figure { text: sample.to_string(), number: number.as_secs_f64() * 1e3 }
}

/// A time in milliseconds.
pub fn millis(duration: Duration) -> Figure {
    Figure { text: Millis(duration).to_string(), number: duration.as_secs_f64() * 1e3 }
}

/// A number as it is, with two digits where it has a fraction.
pub fn plain(number: f64) -> Figure {
    let text = if number.fract() == 0.0 { format!("{number}") } else { format!("{number:.2}") };
    Figure { text, number }
}
