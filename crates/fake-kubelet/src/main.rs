//! The fake kubelet as a program: `fake-kubelet --dir DIR` serves, `fake-kubelet ctl --dir DIR …` asks the one that does.

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use fake_kubelet::{
    FakeKubelet, PodName, PodRequest,
    control::{self, client::Client, table},
};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

/// A kubelet stand-in: serves a device plugin folder with the rules of the real kubelet's device manager.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(flatten)]
    serve: Option<ServeArgs>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct ServeArgs {
    /// Plugin folder; made when absent. Sockets in it are removed at each start.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Seconds that a resource without a plugin is remembered.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    grace: u64,
    /// Milliseconds that kubelet.sock exists before it accepts connections.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    listen_gap: u64,
    /// Register plugins without opening their streams, until `ctl open-streams`.
    #[arg(long)]
    no_streams: bool,
    /// Forget everything at each start.
    #[arg(long)]
    no_checkpoint: bool,
    /// Know a plugin by its resource alone, as kubelets up to 1.36 do.
    #[arg(long)]
    track_by_resource: bool,
    /// Which log lines go to the standard error output, such as `info` or `fake_kubelet=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "FAKE_KUBELET_LOG", value_parser = log_filter)]
    log_level: String,
}

#[derive(Subcommand)]
enum Command {
    /// Asks a running fake kubelet.
    Ctl(CtlArgs),
}

#[derive(Args)]
struct CtlArgs {
    /// Its plugin folder.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How to print the answer.
    #[arg(long, short, value_enum, default_value = "text", global = true)]
    output: Output,
    #[command(subcommand)]
    task: Task,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Task {
    /// Shows resources, devices and who holds them.
    State,
    /// Admits a pod's container, as the kubelet does when the scheduler sends a pod.
    Allocate {
        /// Pod, as NAME or NAMESPACE/NAME.
        #[arg(long)]
        pod: PodName,
        /// Container.
        #[arg(long, default_value = "main")]
        container: String,
        /// Resource, such as nvidia.com/gpu.
        #[arg(long)]
        resource: String,
        /// How many devices.
        #[arg(long, default_value_t = 1)]
        count: usize,
        /// NUMA nodes that the devices should sit on, as the topology manager would say.
        #[arg(long, value_delimiter = ',')]
        numa: Option<Vec<i64>>,
    },
    /// Ends a pod and frees its devices.
    Release {
        /// Pod, as NAME or NAMESPACE/NAME.
        #[arg(long)]
        pod: PodName,
    },
    /// Starts an admitted container once more, as after a crash of it.
    RestartContainer {
        /// Pod, as NAME or NAMESPACE/NAME.
        #[arg(long)]
        pod: PodName,
        /// Container.
        #[arg(long, default_value = "main")]
        container: String,
        /// Resource that it holds.
        #[arg(long)]
        resource: String,
    },
    /// Drops a resource's streams while the kubelet stays up: its devices turn unhealthy.
    DropStreams {
        /// Resource.
        #[arg(long)]
        resource: String,
    },
    /// Registers plugins without opening their streams from now on.
    WithholdStreams,
    /// Opens the streams that were withheld.
    OpenStreams,
    /// Stops the kubelet as if killed; its process stays to be asked.
    Stop,
    /// Starts the kubelet again, stopping it first.
    Restart,
    /// Prints what happened so far.
    Log,
    /// Prints what happens, until the fake kubelet ends.
    Watch,
    /// Ends the fake kubelet's process.
    Quit,
}

#[expect(clippy::print_stderr, reason = "the program's one place for errors")]
fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments { command: Some(Command::Ctl(args)), .. } => ask(args),
        Arguments { serve: Some(args), .. } => serve(args),
        Arguments { serve: None, command: None } => Err(anyhow::anyhow!("--dir is needed")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Checks the filter while the words are read, so that a wrong one is bad usage.
fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; expected a level such as debug, or fake_kubelet=debug")),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(args: ServeArgs) -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(&args.log_level).context("--log-level")?)
        .init();
    let mut builder = FakeKubelet::builder(&args.dir)
        .grace(Duration::from_secs(args.grace))
        .listen_gap(Duration::from_millis(args.listen_gap));
    if args.no_checkpoint {
        builder = builder.without_checkpoint();
    }
    if args.track_by_resource {
        builder = builder.tracking_by_resource();
    }
    if args.no_streams {
        builder = builder.without_streams();
    }
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let kubelet = builder.start().await?;
    let socket = control::socket(&args.dir);
    tokio::select! {
        done = control::server::serve(kubelet, &socket) => done.context("the control socket failed"),
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
    }
}

fn ask(args: CtlArgs) -> Result<()> {
    let mut kubelet = Client::connect(&control::socket(&args.dir))?;
    match args.task {
        Task::State => {
            let state = kubelet.state()?;
            show(args.output, &state, || table::state(&state))
        }
        Task::Allocate { pod, container, resource, count, numa } => {
            let numa = numa.map(|nodes| nodes.into_iter().collect());
            let request = PodRequest { numa, ..PodRequest::new(pod, &container, &resource, count) };
            let allocation = kubelet.allocate(request)?;
            show(args.output, &allocation, || table::allocation(&allocation))
        }
        Task::Release { pod } => {
            let known = kubelet.release(pod.clone())?;
            anyhow::ensure!(known, "no pod {pod}");
            show(args.output, &known, || format!("{pod} released\n"))
        }
        Task::RestartContainer { pod, container, resource } => {
            let allocation = kubelet.restart_container(pod, &container, &resource)?;
            show(args.output, &allocation, || table::allocation(&allocation))
        }
        Task::DropStreams { resource } => {
            let count = kubelet.drop_streams(&resource)?;
            anyhow::ensure!(count > 0, "no stream of {resource}");
            show(args.output, &count, || format!("{count} dropped\n"))
        }
        Task::WithholdStreams => show(args.output, &kubelet.withhold_streams()?, || "withheld\n".to_owned()),
        Task::OpenStreams => show(args.output, &kubelet.open_streams()?, || "opened\n".to_owned()),
        Task::Stop => show(args.output, &kubelet.stop()?, || "stopped\n".to_owned()),
        Task::Restart => show(args.output, &kubelet.restart()?, || "restarted\n".to_owned()),
        Task::Quit => show(args.output, &kubelet.quit()?, String::new),
        Task::Log => {
            for happening in kubelet.log()? {
                show(args.output, &happening, || format!("{}\n", happening.event))?;
            }
            Ok(())
        }
        Task::Watch => {
            for happening in kubelet.watch()? {
                let happening = happening?;
                show(args.output, &happening, || format!("{}\n", happening.event))?;
            }
            Ok(())
        }
    }
}

fn show(output: Output, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    let text = match output {
        Output::Text => text(),
        Output::Json => format!("{}\n", serde_json::to_string(value)?),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
