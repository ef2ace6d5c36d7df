//! The run: one simulated node, three latency profiles, every subject in turn.

use std::time::Duration;

use anyhow::Result;

use crate::args::{Args, Output};
use crate::kubelet::{Kubelet, Plugin};
use crate::measure::{self, Restarts};
use crate::node::Node;
use crate::process::Process;
use crate::stats::{Millis, Sample};
use crate::subject::Subject;
use crate::table::{Figure, Row, render};
use crate::{image, say, tell};

/// Time that each NVML call takes, by profile.
const LATENCIES: [Duration; 3] = [Duration::ZERO, Duration::from_micros(100), Duration::from_millis(1)];

/// Targets of the design, in milliseconds unless the row says otherwise.
mod target {
    pub const START_BEYOND_NVML_MS: f64 = 15.0;
    pub const CALLS_BEFORE_LIST: f64 = 64.0;
    pub const RESTART_MEDIAN_MS: f64 = 5.0;
    pub const RESTART_P99_MS: f64 = 20.0;
    pub const RESTART_CALLS: f64 = 0.0;
    pub const PREFERRED_P99_MS: f64 = 0.5;
    pub const ALLOCATE_P99_MS: f64 = 1.0;
    pub const PSS_MIB: f64 = 12.0;
    pub const ANONYMOUS_MIB: f64 = 4.0;
    pub const IDLE_CPU_MS_IN_60_S: f64 = 5.0;
}

/// Everything measured of one subject under one latency.
struct Timings {
    start: Sample,
    start_calls: u64,
    nvml_time: Duration,
    restart: Sample,
    restart_calls: u64,
    preferred: Sample,
    allocate: Sample,
}

/// What is measured once, without latency.
struct Footprint {
    pss_mib: f64,
    anonymous_mib: f64,
    idle_ms_in_60_s: f64,
}

/// Measures all and prints the table.
pub async fn run(args: Args) -> Result<()> {
    let ours = Subject::gantry()?;
    let peers = args.peers.as_deref().map(Subject::peers).transpose()?.unwrap_or_default();
    let mut rows = Vec::new();
    for latency in LATENCIES {
        let own = timings(&args, &ours, latency).await?;
        let mut others = Vec::new();
        for peer in &peers {
            others.push(timings(&args, peer, latency).await?);
        }
        rows.extend(timing_rows(latency, &own, &others));
    }
    let own = footprint(&args, &ours).await?;
    let mut others = Vec::new();
    for peer in &peers {
        others.push(footprint(&args, peer).await?);
    }
    rows.extend(footprint_rows(&own, &others));
    rows.push(image::row(peers.len()));
    match args.output {
        Output::Json => say(serde_json::to_string_pretty(&rows)?),
        Output::Table => {
            let mut names: Vec<String> = peers.into_iter().map(|peer| peer.name).collect();
            if names.is_empty() {
                // A column that says so beats a table that is silent about peers.
                names.push("peer".to_owned());
                rows.iter_mut().for_each(|row| row.peers.push(None));
            }
            say(render(&rows, &names));
        }
    }
    Ok(())
}

async fn timings(args: &Args, subject: &Subject, latency: Duration) -> Result<Timings> {
    tell(format!("{}: timings with {} ms per NVML call", subject.name, Millis(latency)));
    let node = Node::new(&args.preset, latency)?;
    let start = measure::starts(&node, subject, args.runs).await?;
    let Running { process: _process, kubelet, plugin } = start_once(&node, subject).await?;
    let Restarts { durations: restart, calls: restart_calls, kubelet: _kubelet, mut plugin } =
        measure::restarts(&node, kubelet, plugin, args.runs).await?;
    let preferred = measure::preferred(&mut plugin, args.calls).await?;
    let allocate = measure::allocate(&mut plugin, args.calls).await?;
    Ok(Timings {
        start_calls: start.calls,
        nvml_time: latency * u32::try_from(start.calls).unwrap_or(u32::MAX),
        start: start.durations,
        restart,
        restart_calls,
        preferred,
        allocate,
    })
}

async fn footprint(args: &Args, subject: &Subject) -> Result<Footprint> {
    tell(format!("{}: memory and {} s of idleness", subject.name, args.idle_seconds));
    let node = Node::new(&args.preset, Duration::ZERO)?;
    let running = start_once(&node, subject).await?;
    let idle = measure::idle(&running.process, Duration::from_secs(args.idle_seconds)).await;
    let memory = running.process.memory()?;
    Ok(Footprint {
        pss_mib: memory.pss_kib as f64 / 1024.0,
        anonymous_mib: memory.anonymous_kib as f64 / 1024.0,
        idle_ms_in_60_s: idle.as_secs_f64() * 1e3 * 60.0 / args.idle_seconds.max(1) as f64,
    })
}

/// A subject that has registered.
struct Running {
    process: Process,
    kubelet: Kubelet,
    plugin: Plugin,
}

async fn start_once(node: &Node, subject: &Subject) -> Result<Running> {
    let mut kubelet = Kubelet::start(node)?;
    let process = subject.start(node)?;
    let plugin = kubelet.plugin(measure::PATIENCE).await?;
    Ok(Running { process, kubelet, plugin })
}

fn timing_rows(latency: Duration, own: &Timings, others: &[Timings]) -> Vec<Row> {
    let profile = Millis(latency);
    let row = |what: &str, target: Option<f64>, figure: &dyn Fn(&Timings) -> Figure| Row {
        what: format!("{what}, {profile} ms per NVML call"),
        ours: Some(figure(own)),
        peers: others.iter().map(|other| Some(figure(other))).collect(),
        target,
        note: String::new(),
    };
    vec![
        row("process start -> device list (ms, median/p99/max)", None, &|of| {
            sampled(&of.start, of.start.median())
        }),
        row("  beyond the time inside NVML (ms, median)", Some(target::START_BEYOND_NVML_MS), &|of| {
            plain(ms(of.start.median().saturating_sub(of.nvml_time)))
        }),
        row("  NVML calls before the first list", Some(target::CALLS_BEFORE_LIST), &|of| {
            plain(of.start_calls as f64)
        }),
        row(
            "kubelet.sock created -> device list (ms, median/p99/max)",
            Some(target::RESTART_MEDIAN_MS),
            &|of| sampled(&of.restart, of.restart.median()),
        ),
        row("  its p99 (ms)", Some(target::RESTART_P99_MS), &|of| plain(ms(of.restart.p99()))),
        row("  NVML calls for it", Some(target::RESTART_CALLS), &|of| plain(of.restart_calls as f64)),
        row(
            "GetPreferredAllocation, sizes 1-8 (ms, median/p99/max)",
            Some(target::PREFERRED_P99_MS),
            &|of| sampled(&of.preferred, of.preferred.p99()),
        ),
        row("Allocate (ms, median/p99/max)", Some(target::ALLOCATE_P99_MS), &|of| {
            sampled(&of.allocate, of.allocate.p99())
        }),
    ]
}

fn footprint_rows(own: &Footprint, others: &[Footprint]) -> Vec<Row> {
    let row = |what: &str, target: f64, figure: &dyn Fn(&Footprint) -> f64| Row {
        what: what.to_owned(),
        ours: Some(plain(figure(own))),
        peers: others.iter().map(|other| Some(plain(figure(other)))).collect(),
        target: Some(target),
        note: String::new(),
    };
    vec![
        row("memory of daemon and workers, PSS (MiB)", target::PSS_MIB, &|of| of.pss_mib),
        row("  anonymous (MiB)", target::ANONYMOUS_MIB, &|of| of.anonymous_mib),
        row("idle processor time in 60 s (ms)", target::IDLE_CPU_MS_IN_60_S, &|of| of.idle_ms_in_60_s),
    ]
}

/// A sample, compared with its target by one of its numbers.
fn sampled(sample: &Sample, number: Duration) -> Figure {
    Figure { text: sample.to_string(), number: ms(number) }
}

fn plain(number: f64) -> Figure {
    let text = if number.fract() == 0.0 { format!("{number}") } else { format!("{number:.2}") };
    Figure { text, number }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
