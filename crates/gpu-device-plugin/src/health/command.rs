//! The subcommand `health`: what the plugin keeps, and requests to it. It asks no driver, and is honest about whether a
//! plugin is there to listen.

use std::fs::File;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use daemon::aligned;
use daemon::stdout;
use gpu_health::{Boot, Ledger, Record, Settings, Subject, what_to_do};
use gpu_model::Inventory;
use jiff::Timestamp;
use node_contract::{HealthFile, HealthRequest, HealthVerb, NodeReport};
use node_host::BootId;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use tokio::time::sleep;

use super::{HealthPaths, timestamp};
use crate::args::{HealthCommand, Output, PersonArgs};
use crate::person;

/// How often an answer is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Does what the command line says. `boot` is the boot that runs.
pub async fn run(command: HealthCommand, paths: &HealthPaths, boot: Option<BootId>) -> ExitCode {
    let done = match command {
        HealthCommand::List { output } => list(paths, boot.as_ref(), output),
        HealthCommand::Fence(person) => ask(paths, HealthVerb::Fence, person).await,
        HealthCommand::Clear(person) => ask(paths, HealthVerb::Clear, person).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => daemon::fail(error.as_ref()),
    }
}

/// What `list` tells, as programs read it.
#[derive(Debug, Serialize)]
struct Listing {
    /// Whether a plugin runs that keeps this.
    running: bool,
    /// Whether it was kept in the boot that runs; of another boot only the fences hold.
    this_boot: bool,
    /// When it was written: at the last change.
    written_at: Timestamp,
    /// Requests that no plugin has taken yet.
    waiting: usize,
    gpus: Vec<Record>,
}

fn list(paths: &HealthPaths, boot: Option<&BootId>, output: Output) -> anyhow::Result<()> {
    let running = is_running(paths);
    let file = match HealthFile::read(&paths.kept) {
        Err(error) if error.is_missing() => {
            bail!("no health is kept in {}: {}", paths.kept, if running { STARTING } else { NOT_RUNNING })
        }
        mended => mended?.file,
    };
    let this_boot = boot == Some(&file.boot_id);
    let ledger = match this_boot {
        true => Ledger::as_kept(file.ledger),
        false => Ledger::restored(Settings::default(), file.ledger, Boot::Other),
    };
    let waiting = HealthRequest::waiting(&paths.requests).map_or(0, |requests| requests.len());
    let listing =
        Listing { running, this_boot, written_at: file.written_at, waiting, gpus: ledger.records() };
    let text = match output {
        Output::Json => serde_json::to_string_pretty(&listing)? + "\n",
        Output::Table => table(&listing),
    };
    Ok(stdout::write(text.as_bytes())?)
}

const STARTING: &str = "a device plugin runs, and has not seen a GPU yet";
const NOT_RUNNING: &str = "no device plugin runs here";

fn table(listing: &Listing) -> String {
    let mut rows = vec![["GPU", "HEALTH", "SINCE", "WAITS FOR", "WHAT TO DO"].map(str::to_owned).to_vec()];
    for record in &listing.gpus {
        rows.push(vec![
            record.subject.to_string(),
            record.health.to_string(),
            time(record.since_unix_ms),
            record.awaits.clone().unwrap_or_else(|| "-".to_owned()),
            record.health.reasons().first().map_or("-", what_to_do).to_owned(),
        ]);
    }
    let mut text = aligned(&rows);
    for record in &listing.gpus {
        for (what, word) in [("fenced", &record.fence), ("cleared", &record.cleared)] {
            if let Some(word) = word {
                let at = time(word.unix_ms);
                text.push_str(&format!("{}: {what} by {} at {at}: {}\n", record.subject, word.who, word.why));
            }
        }
    }
    text.push('\n');
    text.push_str(match (listing.running, listing.this_boot) {
        (true, _) => "The device plugin runs.",
        (false, true) => "No device plugin runs here: this is what the last one kept.",
        (false, false) => {
            "No device plugin runs here, and the node was booted since the last one: fences still hold."
        }
    });
    text.push_str(&format!(" Last change kept at {}.\n", listing.written_at));
    if listing.waiting > 0 {
        text.push_str(&format!("{} requests wait to be taken.\n", listing.waiting));
    }
    text
}

fn time(unix_ms: u64) -> String {
    timestamp(unix_ms).map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"))
}

async fn ask(paths: &HealthPaths, verb: HealthVerb, person: PersonArgs) -> anyhow::Result<()> {
    let PersonArgs { subject, why, who, wait } = person;
    let subject = resolve(paths, &subject)?;
    let who = who.or_else(person::login).context("nobody is named: pass --who NAME")?;
    let request = HealthRequest::new(verb, subject.clone(), &who, &why)?;
    let path = request.submit(&paths.requests)?;
    if wait.is_zero() {
        return Ok(stdout::write(format!("{path}: left for the device plugin\n").as_bytes())?);
    }
    let end = Instant::now() + wait;
    loop {
        // The answer is kept before the request is removed.
        let answers = HealthFile::read(&paths.kept).map(|mended| mended.file.answers).unwrap_or_default();
        if let Some(answer) = answers.into_iter().find(|answer| answer.id == request.id()) {
            if let Some(refusal) = answer.refusal {
                bail!("the device plugin refuses: {refusal}");
            }
            let done = if verb == HealthVerb::Fence { "fenced" } else { "cleared" };
            return Ok(stdout::write(format!("{subject}: {done}\n").as_bytes())?);
        }
        if Instant::now() >= end {
            let state = if is_running(paths) { "it runs, and has not answered" } else { NOT_RUNNING };
            bail!(
                "not done yet: {state}; the request waits in {path} until a plugin takes it or the node is booted"
            );
        }
        sleep(LOOK).await;
    }
}

/// Whether a plugin keeps health here now.
fn is_running(paths: &HealthPaths) -> bool {
    // Opened anew, so it is another lock than the plugin's.
    let Ok(file) = File::open(&paths.lock) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// The GPU or GPU instance that `given` names; what is no UUID of a GPU is looked up in the node report.
fn resolve(paths: &HealthPaths, given: &str) -> anyhow::Result<Subject> {
    if given.starts_with("GPU-") {
        return Ok(given.parse()?);
    }
    let report = NodeReport::read(&paths.report).with_context(|| {
        format!("{given:?} can be looked up only where the plugin has written its report")
    })?;
    look_up(&report.inventory, given).with_context(|| {
        format!("{given:?} names no GPU of this node: expected GPU-<uuid>, an index, MIG-<uuid>, or <GPU>/gi<number>")
    })
}

fn look_up(inventory: &Inventory, given: &str) -> Option<Subject> {
    let of_mig = inventory.gpus.iter().find_map(|gpu| {
        let device = gpu.mig_devices.iter().find(|device| device.uuid.as_str() == given)?;
        Some(Subject { gpu: gpu.uuid.clone(), gpu_instance: Some(device.gpu_instance) })
    });
    let (index, instance) = given.split_once("/gi").map_or((given, None), |(index, gi)| (index, Some(gi)));
    let by_index = || {
        let index: u32 = index.parse().ok()?;
        let gpu = inventory.gpus.iter().find(|gpu| gpu.index == index)?;
        let gpu_instance = instance.map(str::parse).transpose().ok()?;
        Some(Subject { gpu: gpu.uuid.clone(), gpu_instance })
    };
    of_mig.or_else(by_index)
}
