//! The simulated driver itself: how fast its calls are, what it costs its clients, and how long a change takes. It asks
//! through `nvml-probe`, as any program does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nvml_sim::{StateFolder, install, presets};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::args::Args;
use crate::groups::{Figures, measured, plain, row, sampled};
use crate::measure::PATIENCE;
use crate::stats::Sample;
use crate::table::Spec;

/// Rows of [`driver`]. No call may be a bottleneck: 10 us are 100 000 calls a second.
pub const DRIVER: &[Spec] = &[
    row("a call of the slowest common getter (us)", 10.0),
    Spec { what: "  of all in turn (us)", target: None },
    Spec { what: "first initialisation (ms)", target: None },
    Spec { what: "library in a client: PSS (MiB)", target: None },
    Spec { what: "  anonymous (MiB)", target: None },
    Spec { what: "change of the state (ms: median / p99 / max)", target: None },
    Spec { what: "100 clients that call all the time: calls a second, all together", target: None },
    Spec { what: "  of them answered in every call", target: None },
    Spec { what: "  library in each of them: PSS (MiB, median)", target: None },
    Spec { what: "  anonymous (MiB, median)", target: None },
    Spec { what: "  change of the state meanwhile (ms: median / p99 / max)", target: None },
];

const CLIENTS: usize = 100;
/// For how long one client calls each getter.
const SPAN: Duration = Duration::from_millis(300);
/// Changes of the state under many clients, which leave little time for each.
const CHANGES_UNDER_MANY: usize = 100;
/// A value to set, and another.
const CELSIUS: [&str; 2] = ["40", "41"];

/// What `nvml-probe bench` prints.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    init_us: f64,
    pss_kib: f64,
    pss_anonymous_kib: f64,
    calls_per_second: BTreeMap<String, f64>,
    slowest_per_second: f64,
    mixed_calls_per_second: f64,
}

/// Measures the library in one client, and in many at once.
pub async fn driver(args: &Args) -> Figures {
    let node = Node::new(&args.preset)?;
    let alone = node.bench().await?;
    ensure!(alone.slowest_per_second > 0.0, "nothing was called");
    let changes = node.changes(args.calls as usize)?;

    let began = Instant::now();
    let clients = (0..CLIENTS).map(|_| node.client()).collect::<Result<Vec<_>>>()?;
    let under_many = node.changes(CHANGES_UNDER_MANY)?;
    let mut reports = Vec::new();
    for client in clients {
        reports.push(report(client).await?);
    }
    let took = began.elapsed();
    let rates =
        |report: &Report| report.calls_per_second.values().sum::<f64>() + report.mixed_calls_per_second;
    let calls: f64 = reports.iter().map(|report| rates(report) * SPAN.as_secs_f64()).sum();
    let together = calls / took.as_secs_f64();
    // A function that does not answer is left out of a report.
    let known = alone.calls_per_second.len();
    let answered = reports.iter().filter(|report| report.calls_per_second.len() == known).count();
    measured([
        plain(1e6 / alone.slowest_per_second),
        plain(1e6 / alone.mixed_calls_per_second),
        plain(alone.init_us / 1e3),
        plain(alone.pss_kib / 1024.0),
        plain(alone.pss_anonymous_kib / 1024.0),
        sampled(&changes, changes.p99()),
        plain(together.round()),
        plain(answered as f64),
        plain(median(reports.iter().map(|report| report.pss_kib)) / 1024.0),
        plain(median(reports.iter().map(|report| report.pss_anonymous_kib)) / 1024.0),
        sampled(&under_many, under_many.p99()),
    ])
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// A state folder, and programs on it.
struct Node {
    _dir: TempDir,
    folder: StateFolder,
    probe: OsString,
}

impl Node {
    fn new(preset: &str) -> Result<Node> {
        let yaml = presets::find(presets::NODES, preset).context("no such preset")?.yaml;
        let dir = TempDir::new()?;
        let folder = StateFolder::create(&dir.path().join("node"), Path::new(preset), yaml)?;
        let probe = sim_node::find("nvml-probe")?.into_os_string();
        Ok(Node { _dir: dir, folder, probe })
    }

    async fn bench(&self) -> Result<Report> {
        report(self.client()?).await
    }

    fn client(&self) -> Result<Child> {
        let mut command = install::command(&self.folder, None, None, &self.probe)?;
        command.args([
            "bench",
            "--output",
            "json",
            "--threads",
            "1",
            "--milliseconds",
            &SPAN.as_millis().to_string(),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Command::from(command).kill_on_drop(true).spawn().context("cannot run nvml-probe")
    }

    /// How long changes take, which each process sees at its next call.
    fn changes(&self, count: usize) -> Result<Sample<Duration>> {
        let mut took = Vec::new();
        for turn in 0..count {
            let began = Instant::now();
            self.folder.set("0", "temperature", CELSIUS[turn % 2])?;
            took.push(began.elapsed());
        }
        Sample::new(took)
    }
}

async fn report(client: Child) -> Result<Report> {
    let output = timeout(PATIENCE, client.wait_with_output()).await.context("nvml-probe does not end")??;
    ensure!(output.status.success(), "nvml-probe failed: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("nvml-probe says {text:?}"))
}
