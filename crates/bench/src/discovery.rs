//! One-shot feature discovery: how long it takes to say what a node's GPUs are, and what that costs. No kubelet is needed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use sim_node::SimNode;

use crate::args::Args;
use crate::family::Family;
use crate::groups::{Figures, SIXTEEN, measured, millis, plain, row, sampled};
use crate::measure::PATIENCE;
use crate::node::{Hardware, Machine};
use crate::profile::Profile;
use crate::stats::Sample;
use crate::subject::Subject;
use crate::table::Spec;

/// Between two looks at a process that runs for some milliseconds.
const LOOK: Duration = Duration::from_micros(500);

/// Rows of [`oneshot`] on nodes of up to eight GPUs, for which the design says how many calls there may be.
pub const ONESHOT: &[Spec] = &rows(Some(64.0));

/// The same on larger ones.
const ONESHOT_LARGE: &[Spec] = &rows(None);

const fn rows(most_calls: Option<f64>) -> [Spec; 5] {
    [
        Spec { what: "process start -> labels on standard output (ms: median / p99 / max)", target: None },
        row("  beyond the time inside NVML (ms, median)", 15.0),
        Spec { what: "  NVML calls (most)", target: most_calls },
        Spec { what: "  processor time (ms, median)", target: None },
        row("  memory of all its processes, PSS, highest that was seen (MiB)", 10.0),
    ]
}

/// Rows of [`oneshot`] on this node.
pub fn rows_on(hardware: Hardware<'_>) -> &'static [Spec] {
    match hardware {
        Hardware::Preset(_) => ONESHOT,
        Hardware::Yaml(_) => ONESHOT_LARGE,
    }
}

/// The nodes and the latencies of their calls: the design's profiles on eight GPUs, and other sizes without.
pub const NODES: [(Hardware<'static>, Profile); 5] = [
    (Hardware::Preset("t4"), Profile::NONE),
    (Hardware::Preset("dgx-a100"), Profile::NONE),
    (Hardware::Preset("dgx-a100"), Profile::Uniform(Duration::from_micros(100))),
    (Hardware::Preset("dgx-a100"), Profile::Uniform(Duration::from_millis(1))),
    (Hardware::Yaml(SIXTEEN), Profile::NONE),
];

/// What a group is about.
pub fn title(hardware: Hardware<'_>, profile: Profile) -> String {
    let node = match hardware {
        Hardware::Preset(name) => name,
        Hardware::Yaml(_) => "16 GPUs",
    };
    format!("one-shot discovery on {node}, {}", profile.title())
}

/// A program that prints a node's labels once.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// Ours.
    Gantry(PathBuf),
    /// NVIDIA's gpu-feature-discovery.
    Nvidia(PathBuf),
}

/// NVIDIA's program, as a peer.
pub const PEER: &str = "gpu-feature-discovery";

/// Runs in which memory is looked at: each look halts the process, so that they are timed apart.
const LOOKS: u32 = 5;

/// Whether NVIDIA's is among the peers.
pub fn is_among(peers: Option<&Path>) -> bool {
    peers.is_some_and(|peers| peers.join(PEER).is_file())
}

/// What one run took.
struct Run {
    wall: Duration,
    processor: Duration,
}

impl Discovery {
    /// The one that belongs to this subject: ours, built beside this program, or NVIDIA's among the peers.
    ///
    /// # Errors
    /// Ours is not built, or there are no peers.
    pub fn of(subject: &Subject, peers: Option<&Path>) -> Result<Discovery> {
        if !subject.is_nvidias() {
            return Ok(Discovery::Gantry(sim_node::find("gpu-feature-discovery")?));
        }
        Ok(Discovery::Nvidia(peers.context("no peers")?.join(PEER)))
    }

    fn command(&self, node: &SimNode) -> Command {
        match self {
            Discovery::Gantry(program) => {
                let mut command = node.command_at(program);
                command.args(["--oneshot", "--output=stdout"]).args(node.daemon_flags());
                command
            }
            Discovery::Nvidia(program) => {
                let mut command = node.command_at(program);
                command.args([
                    "--oneshot",
                    "--no-timestamp",
                    "--output-file=",
                    "--use-node-feature-api=false",
                ]);
                command.arg("--device-discovery-strategy=nvml");
                command.arg(format!("--driver-root-ctr-path={}", node.root().display()));
                command.arg(format!(
                    "--machine-type-file={}",
                    node.root().join("sys/class/dmi/id/product_name").display()
                ));
                command.env("LD_LIBRARY_PATH", node.root().join("usr/lib/x86_64-linux-gnu"));
                command
            }
        }
    }

    fn start(&self, node: &SimNode) -> Result<Child> {
        let mut command = self.command(node);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().context("start feature discovery")
    }

    fn run(&self, node: &SimNode) -> Result<Run> {
        let before = processor()?;
        let began = Instant::now();
        end(self.start(node)?)?;
        Ok(Run { wall: began.elapsed(), processor: processor()?.saturating_sub(before) })
    }

    /// The most memory that all its processes had at once, as far as it was seen, in KiB.
    async fn memory(&self, node: &SimNode) -> Result<u64> {
        let mut child = self.start(node)?;
        let (family, began, mut peak) = (Family(child.id()), Instant::now(), 0);
        while child.try_wait().context("wait for feature discovery")?.is_none() {
            // It may end between the question and the look.
            peak = peak.max(family.memory().map_or(0, |memory| memory.pss_kib));
            ensure!(began.elapsed() < PATIENCE, "feature discovery does not end");
            tokio::time::sleep(LOOK).await;
        }
        end(child)?;
        Ok(peak)
    }
}

fn end(child: Child) -> Result<()> {
    let output = child.wait_with_output().context("wait for feature discovery")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "feature discovery: {}", output.status);
    ensure!(said.contains("nvidia.com/gpu.count"), "feature discovery says no labels: {said}");
    Ok(())
}

/// Processor time of all children that have ended, and of theirs.
fn processor() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("the processor time of children")?;
    let time = |value: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(value.tv_sec() * 1_000_000 + value.tv_usec()).unwrap_or(0))
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// Runs on a node whose calls take as long as the profile says.
pub async fn oneshot(args: &Args, subject: &Subject, hardware: Hardware<'_>, profile: Profile) -> Figures {
    let of = Discovery::of(subject, args.peers.as_deref())?;
    let Machine { sim, calls: log } = Machine::lay(hardware, profile)?;
    let (mut wall, mut beyond, mut calls, mut processor) = (vec![], vec![], vec![], vec![]);
    for _ in 0..args.runs {
        let before = log.read()?;
        let run = of.run(&sim)?;
        let made = log.read()?.since(&before);
        wall.push(run.wall);
        beyond.push(run.wall.saturating_sub(made.time()));
        calls.push(made.count());
        processor.push(run.processor);
    }
    let mut pss = 0;
    for _ in 0..LOOKS {
        pss = pss.max(of.memory(&sim).await?);
    }
    let wall = Sample::new(wall)?;
    measured([
        sampled(&wall, wall.median()),
        millis(Sample::new(beyond)?.median()),
        plain(Sample::new(calls)?.max() as f64),
        millis(Sample::new(processor)?.median()),
        plain(pss as f64 / 1024.0),
    ])
}
