//! The driver's own `nvidia-modprobe`, which loads the module of unified memory and makes its device nodes: CUDA does not
//! start without them, and NVML works and looks well.
//!
//! It runs below the driver's root, in a worker: what it does may hang in the kernel. Where this process may not change
//! its root, or the driver has no such program, nothing happens.

use std::io::Read as _;
use std::os::unix::fs::chroot;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use node_host::DriverRoot;
use serde::{Deserialize, Serialize};
use worker::{Channel, ChannelError, Role, Spec, Worker};

const ROLE: &str = "nvidia-modprobe";

/// What a worker of this module can be.
pub const ROLES: &[Role] = &[Role { name: ROLE, run }];

const PROGRAM: &str = "/usr/bin/nvidia-modprobe";

/// Unified memory, and its node by the first number.
const ARGUMENTS: [&str; 2] = ["-u", "-c0"];

/// Where it looks for the kernel's own `modprobe`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How long it may take. Loading a module takes a second or two.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Time before it is run again while the nodes stay away.
const PAUSE: Duration = Duration::from_secs(60);

/// Runs the program, but not over and over.
#[derive(Debug, Default)]
pub struct Modprobe(Mutex<Last>);

#[derive(Clone, Debug, Default)]
struct Last {
    at: Option<Instant>,
    problem: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    root: PathBuf,
}

/// Whether the driver below `root` has the program. Waits for the disk.
pub fn is_in(root: &DriverRoot) -> bool {
    root.root().resolve(PROGRAM).is_ok()
}

impl Modprobe {
    /// Runs it for the driver below `root`, which has it, unless it ran a moment ago. Gives whether it ran and did not complain.
    pub async fn run(&self, root: &DriverRoot) -> bool {
        {
            let mut last = self.last();
            if last.at.is_some_and(|at| at.elapsed() < PAUSE) {
                return false;
            }
            last.at = Some(Instant::now());
        }
        let outcome = ask(&Request { root: root.root().local().as_path().to_owned() }).await;
        match &outcome {
            Ok(()) => tracing::info!("nvidia-modprobe was run, since /dev/nvidia-uvm is missing"),
            Err(problem) => tracing::warn!(problem, "nvidia-modprobe did not make /dev/nvidia-uvm"),
        }
        let made = outcome.is_ok();
        self.last().problem = outcome.err();
        made
    }

    /// Why it did not help when it ran last.
    pub fn problem(&self) -> Option<String> {
        self.last().problem.clone()
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        // A panic while it is held leaves whole values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(request: &Request) -> Result<(), String> {
    let worker = Worker::start(Spec::new(ROLE)).map_err(|error| daemon::error_chain(&error).to_string())?;
    let answer = worker.ask::<Result<(), String>>(request).await;
    worker.close().await;
    answer.unwrap_or_else(|error| Err(daemon::error_chain(&error).to_string()))
}

/// The worker: answers one request, below whose root it then is for good.
fn run(channel: &Channel) -> Result<(), ChannelError> {
    let Some(request) = channel.receive::<Request>()? else { return Ok(()) };
    let outcome = match start(&request) {
        Ok(child) => watch(channel, child)?,
        Err(problem) => Err(problem),
    };
    channel.reply(&outcome)
}

fn start(request: &Request) -> Result<Child, String> {
    let root = request.root.display();
    chroot(&request.root).map_err(|error| format!("cannot make {root} the root: {error}"))?;
    std::env::set_current_dir("/").map_err(|error| format!("cannot enter {root}: {error}"))?;
    let mut program = Command::new(PROGRAM);
    program.args(ARGUMENTS).env_clear().env("PATH", PATH);
    // No `/dev/null`, which a bare root may lack. What it says fits in a pipe.
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    program.spawn().map_err(|error| format!("cannot run {PROGRAM}: {error}"))
}

/// Until it ends, or for as long as it may take: then it is killed, and not waited for, since it may be in the kernel.
fn watch(channel: &Channel, mut child: Child) -> Result<Result<(), String>, ChannelError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(Ok(())),
            Ok(Some(status)) => {
                let mut said = String::new();
                if let Some(mut stderr) = child.stderr.take() {
                    let _ = stderr.read_to_string(&mut said);
                }
                return Ok(Err(format!("{PROGRAM} ended with {status}: {}", said.trim())));
            }
            Ok(None) => {}
            Err(error) => return Ok(Err(format!("cannot wait for {PROGRAM}: {error}"))),
        }
        let parent_is_there = channel.rest(LOOK)?;
        if !parent_is_there || Instant::now() >= end {
            let _ = child.kill();
            return Ok(Err(format!("{PROGRAM} did not end within {PATIENCE:?}")));
        }
    }
}
