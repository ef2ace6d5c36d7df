//! Feature discovery that keeps labels on the Node: how soon they are there and follow, and what the API server hears at rest.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fake_apiserver::FakeApiServer;
use sim_node::{Process, SimNode};

use crate::args::Args;
use crate::groups::{Figures, plain, row, sampled};
use crate::measure::{PATIENCE, alive};
use crate::stats::Sample;
use crate::table::Spec;

/// Rows of [`labelled`].
pub const LABELLED: &[Spec] = &[
    Spec { what: "process start -> labels on the Node (ms: median / p99 / max)", target: None },
    Spec { what: "config file replaced -> label on the Node (ms: median / p99 / max)", target: None },
    Spec { what: "requests to the API server at rest, in an hour", target: None },
    row("  those that write", 0.0),
];

const NODE: &str = "bench";
const REPLICAS: &str = "nvidia.com/gpu.replicas";

/// Between two looks at the Node.
const LOOK: Duration = Duration::from_micros(200);

/// Verbs that change something.
const WRITES: [&str; 4] = ["create", "delete", "patch", "update"];

/// Labels of a Node, from the start of the program to its rest.
pub async fn labelled(args: &Args) -> Figures {
    let sim = SimNode::builder().preset(&args.preset).without_kubelet().build()?;
    let server = FakeApiServer::start().await.context("start the API server")?;
    let (kubeconfig, config) = (sim.dir().join("kubeconfig"), sim.dir().join("config.yaml"));
    server.write_kubeconfig(&kubeconfig).context("write the kubeconfig")?;
    let mut starts = Vec::new();
    for _ in 0..args.runs {
        share(&config, 2)?;
        server.delete_node(NODE);
        server.create_node(NODE, &[]);
        let began = Instant::now();
        let process = start(&sim, &kubeconfig, &config)?;
        until_shared(&server, &process, 2).await?;
        starts.push(began.elapsed());
    }
    let process = start(&sim, &kubeconfig, &config)?;
    process.ready().context("feature discovery is not ready")?;
    let mut changes = Vec::new();
    for run in 0..args.runs {
        let replicas = 3 + run % 2;
        share(&config, replicas)?;
        let began = Instant::now();
        until_shared(&server, &process, replicas).await?;
        changes.push(began.elapsed());
    }
    let (all, writes) = rest(args, &server).await;
    let (starts, changes) = (Sample::new(starts)?, Sample::new(changes)?);
    Ok(vec![
        Some(sampled(&starts, starts.median())),
        Some(sampled(&changes, changes.median())),
        all.map(plain),
        writes.map(plain),
    ])
}

/// Requests and writes in an hour, by those of the time that is given for idling.
async fn rest(args: &Args, server: &FakeApiServer) -> (Option<f64>, Option<f64>) {
    if args.idle_seconds == 0 {
        return (None, None);
    }
    let writes = || WRITES.iter().map(|verb| server.count(verb)).sum::<usize>();
    let (all_before, writes_before) = (server.requests().len(), writes());
    tokio::time::sleep(Duration::from_secs(args.idle_seconds)).await;
    let hourly = |count: usize| Some(count as f64 * 3600.0 / args.idle_seconds as f64);
    (hourly(server.requests().len() - all_before), hourly(writes() - writes_before))
}

fn start(sim: &SimNode, kubeconfig: &Path, config: &Path) -> Result<Process> {
    let mut command = sim.command_at(&sim_node::find("gpu-feature-discovery")?);
    command.args(sim.daemon_flags()).args(["--output=node", "--node-name", NODE]);
    command.arg("--kubeconfig").arg(kubeconfig).arg("--config-file").arg(config);
    command.arg("--state-dir").arg(sim.state_dir());
    Ok(sim.spawn_command("gpu-feature-discovery", command)?)
}

/// Writes a config by which each GPU is shared by so many: aside first, as people's tools do.
fn share(config: &Path, replicas: u32) -> Result<()> {
    let text = format!(
        "version: v1\nsharing:\n  timeSlicing:\n    resources:\n    - {{name: nvidia.com/gpu, replicas: {replicas}}}\n"
    );
    let aside = config.with_extension("new");
    fs::write(&aside, text).with_context(|| format!("cannot write {}", aside.display()))?;
    fs::rename(&aside, config).with_context(|| format!("cannot replace {}", config.display()))
}

async fn until_shared(server: &FakeApiServer, process: &Process, replicas: u32) -> Result<()> {
    let (began, wanted) = (Instant::now(), replicas.to_string());
    while server.labels(NODE).get(REPLICAS) != Some(&wanted) {
        alive(process)?;
        ensure!(began.elapsed() < PATIENCE, "no label {REPLICAS}={wanted}:\n{}", process.last_words(20));
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
