//! The subcommand `lease`: people's leases, and what is known of all of them. It asks no driver and no kubelet: whoever
//! holds a GPU says so in its acknowledgement.

use std::collections::{BTreeSet, VecDeque};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use daemon::aligned;
use daemon::stdout;
use gpu_model::{GpuUuid, Inventory};
use node_contract::{Answers, EndError, FoundLease, Holder, Lease, LeaseHold, LeaseRequest, LeaseState};
use serde::Serialize;
use tokio::time::sleep;

use super::interrupt::Interrupts;
use super::places::{LeasePlaces, Meant};
use crate::args::{HoldArgs, LeaseCommand, Output, ReleaseArgs};
use crate::health::now;
use crate::person;

/// How often answers are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// How often it is said that nothing has changed.
const REMIND: Duration = Duration::from_secs(30);

/// Exit code of a process that a signal ended, above the signal's number, as shells give it.
const SIGNALLED: u8 = 128;

/// Holders that a message names; there may be hundreds.
const NAMED: usize = 4;

/// Does what the command line says.
pub async fn run(command: LeaseCommand, places: &LeasePlaces) -> ExitCode {
    let done = match command {
        LeaseCommand::Hold(args) => hold(places, args).await,
        LeaseCommand::Release(args) => release(places, args).await,
        LeaseCommand::List { output } => list(places, output),
    };
    done.unwrap_or_else(|error| daemon::fail(error.as_ref()))
}

/// A lease as programs read it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    lease: &'a Lease,
    state: String,
    #[serde(flatten)]
    answers: Told,
}

/// What the daemons say, as programs read it.
#[derive(Debug, Serialize)]
struct Told {
    acknowledged: Vec<String>,
    awaited: Vec<String>,
    unconfirmed: Vec<String>,
    held: usize,
    holders: Vec<Holder>,
}

impl Told {
    fn of(answers: Answers) -> Told {
        let observed = || answers.acknowledged.iter().map(|answer| &answer.observed);
        let holders: BTreeSet<Holder> = observed().flat_map(|seen| seen.holders.iter().cloned()).collect();
        Told {
            acknowledged: answers.acknowledged.iter().map(|answer| answer.daemon.clone()).collect(),
            unconfirmed: observed().filter_map(|seen| seen.unconfirmed.clone()).collect(),
            held: observed().map(|seen| seen.held).max().unwrap_or(0),
            holders: holders.into_iter().collect(),
            awaited: answers.awaited.into_iter().collect(),
        }
    }

    /// What stands in the way, in words; nothing if nothing does.
    fn in_the_way(&self) -> Vec<String> {
        let mut said = Vec::new();
        if !self.awaited.is_empty() {
            said.push(format!("{} has not let go", self.awaited.join(", ")));
        }
        if self.held > 0 {
            let pods: BTreeSet<&str> =
                self.holders.iter().map(|holder| holder.pod.as_deref().unwrap_or("a pod")).collect();
            let named: Vec<&str> = pods.iter().take(NAMED).copied().collect();
            let more = pods.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more pods") } else { String::new() };
            said.push(format!("{} of its devices held by {}{more}", self.held, named.join(", ")));
        }
        said
    }
}

async fn hold(places: &LeasePlaces, args: HoldArgs) -> anyhow::Result<ExitCode> {
    let Meant { gpus, strangers } = places.resolve(&args.gpus)?;
    for gpu in strangers {
        progress(&format!("{gpu} is none of the GPUs that the plugin has seen here"));
    }
    let who = args.who.clone().unwrap_or_else(person::default);
    // From here on a signal ends this in order.
    let mut interrupts = Interrupts::catch()?;
    let request = LeaseRequest {
        gpus,
        purpose: args.purpose.clone(),
        who,
        duration: args.expires,
        boot: places.boot()?.clone(),
    };
    let begun = Instant::now();
    let hold = places.folder.acquire(request, now())?;
    let lease = hold.lease();
    progress(&format!("lease {} of {} until {:.0}", lease.id, in_words(&lease.gpus), lease.expires_at));
    tokio::select! {
        ready = until_free(&hold, &args, begun + args.expires) => ready?,
        signal = interrupts.next() => {
            progress("interrupted: the lease is given back");
            return Ok(ExitCode::from(SIGNALLED.saturating_add(signal)));
        }
    }
    say(&hold, args.output)?;
    let expiry = begun + args.expires;
    if args.command.is_empty() {
        wait_in_the_foreground(&hold, expiry, &mut interrupts).await
    } else {
        run_command(&hold, args.command.into(), expiry, &mut interrupts).await
    }
}

/// Waits until every daemon has let go, and no pod holds a GPU.
async fn until_free(hold: &LeaseHold, args: &HoldArgs, expiry: Instant) -> anyhow::Result<()> {
    let end = Instant::now() + args.timeout;
    let (mut said, mut at) = (Vec::new(), Instant::now());
    loop {
        let mut told = Told::of(hold.answers()?);
        if args.despite_pods {
            told.held = 0;
        }
        let in_the_way = told.in_the_way();
        if Instant::now() >= expiry {
            bail!("the lease has expired before it could be used: {}", in_the_way.join("; "));
        }
        if in_the_way.is_empty() {
            if told.acknowledged.is_empty() {
                progress("no Gantry daemon is here that would have to let go");
            }
            for reason in &told.unconfirmed {
                progress(&format!("the kubelet did not confirm it: {reason}"));
            }
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("given up after {:?}: {}", args.timeout, in_the_way.join("; "));
        }
        if hold.release_asked().is_some() {
            bail!("somebody asks for the lease to be given back: {}", asked(hold));
        }
        if in_the_way != said || at.elapsed() >= REMIND {
            progress(&format!("waiting: {}", in_the_way.join("; ")));
            (said, at) = (in_the_way, Instant::now());
        }
        sleep(LOOK).await;
    }
}

/// Says that the lease can be used.
fn say(hold: &LeaseHold, output: Output) -> anyhow::Result<()> {
    let answers = Told::of(hold.answers()?);
    let text = match output {
        Output::Json => {
            let shown = Shown { lease: hold.lease(), state: LeaseState::Live.to_string(), answers };
            serde_json::to_string_pretty(&shown)? + "\n"
        }
        Output::Table => {
            let daemons = answers.acknowledged.len();
            format!(
                "{}: held; {daemons} of {daemons} daemons have let go of {}\n",
                hold.lease().id,
                in_words(&hold.lease().gpus)
            )
        }
    };
    Ok(stdout::write(text.as_bytes())?)
}

async fn wait_in_the_foreground(
    hold: &LeaseHold,
    expiry: Instant,
    interrupts: &mut Interrupts,
) -> anyhow::Result<ExitCode> {
    progress("held until this is interrupted");
    loop {
        tokio::select! {
            _ = interrupts.next() => {
                progress("given back");
                return Ok(ExitCode::SUCCESS);
            }
            () = sleep(LOOK) => {}
        }
        if hold.release_asked().is_some() {
            progress(&format!("given back, as asked: {}", asked(hold)));
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() >= expiry {
            bail!("the lease has expired");
        }
    }
}

async fn run_command(
    hold: &LeaseHold,
    mut words: VecDeque<std::ffi::OsString>,
    expiry: Instant,
    interrupts: &mut Interrupts,
) -> anyhow::Result<ExitCode> {
    let program = words.pop_front().context("no command")?;
    let mut command = tokio::process::Command::new(&program);
    let name = program.display().to_string();
    let mut child = command.args(words).spawn().with_context(|| format!("cannot run {name}"))?;
    let (mut is_told_to_end, mut is_told_of_end) = (false, false);
    loop {
        tokio::select! {
            ended = child.wait() => return Ok(code_of(ended?)),
            // A terminal tells the command itself; whoever signals this process alone does not.
            signal = interrupts.next() => Interrupts::pass_on(signal, child.id()),
            () = sleep(LOOK) => {}
        }
        if hold.release_asked().is_some() && !std::mem::replace(&mut is_told_to_end, true) {
            progress(&format!("asked to give the lease back, which ends with {name}: {}", asked(hold)));
        }
        if Instant::now() >= expiry && !std::mem::replace(&mut is_told_of_end, true) {
            progress(&format!("the lease has expired: the GPUs are listed again while {name} still runs"));
        }
    }
}

fn code_of(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let signalled = || status.signal().map(|signal| i32::from(SIGNALLED) + signal);
    let code = status.code().or_else(signalled).and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

fn asked(hold: &LeaseHold) -> String {
    hold.release_asked().map_or_else(String::new, |asked| format!("{} ({})", asked.why, asked.who))
}

async fn release(places: &LeasePlaces, args: ReleaseArgs) -> anyhow::Result<ExitCode> {
    let ReleaseArgs { lease, why, who, wait } = args;
    let boot = places.boot()?;
    if places.folder.clear(&lease, boot, now())? {
        stdout::write(format!("{lease}: it counted no more, and is cleared away\n").as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    places.folder.ask_to_release(&lease, &who.unwrap_or_else(person::default), &why)?;
    let end = Instant::now() + wait;
    loop {
        let found = places.folder.leases(boot, now())?.into_iter().find(|found| found.id == lease);
        let Some(found) = found else {
            stdout::write(format!("{lease}: given back\n").as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        };
        if Instant::now() >= end {
            bail!("{lease}: its owner was asked, and has not given it back: {}", owner(&found));
        }
        match places.folder.clear(&lease, boot, now()) {
            Ok(_) | Err(EndError::Unknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        sleep(LOOK).await;
    }
}

fn owner(found: &FoundLease) -> String {
    match &found.read {
        Ok((Lease { owner, who, purpose, expires_at, .. }, _)) => format!(
            "{who} has it for {purpose:?}, in process {} (its own pid namespace); it ends with that process, or by itself at {expires_at:.0}",
            owner.pid
        ),
        Err(error) => format!(
            "it cannot be read ({}); it ends with the process that has its lock",
            daemon::error_chain(error)
        ),
    }
}

fn list(places: &LeasePlaces, output: Output) -> anyhow::Result<ExitCode> {
    let found = places.folder.leases(places.boot()?, now())?;
    let told: Vec<Told> = found
        .iter()
        .map(|found| Ok(Told::of(places.folder.answers(&found.id)?)))
        .collect::<anyhow::Result<_>>()?;
    let text = match output {
        Output::Json => json(found, told)?,
        Output::Table => table(places, &found, &told),
    };
    stdout::write(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn json(found: Vec<FoundLease>, told: Vec<Told>) -> anyhow::Result<String> {
    let mut leases = Vec::new();
    for (FoundLease { id, is_locked, read }, answers) in found.into_iter().zip(told) {
        leases.push(match read {
            Ok((lease, state)) => {
                serde_json::to_value(Shown { lease: &lease, state: state.to_string(), answers })?
            }
            Err(error) => {
                let error = daemon::error_chain(&error).to_string();
                serde_json::json!({"id": id, "state": "unreadable", "owner_lives": is_locked, "error": error})
            }
        });
    }
    Ok(serde_json::to_string_pretty(&leases)? + "\n")
}

fn table(places: &LeasePlaces, found: &[FoundLease], told: &[Told]) -> String {
    if found.is_empty() {
        return "No GPU is leased.\n".to_owned();
    }
    let inventory = places.inventory().ok();
    let heads = ["LEASE", "STATE", "GPUS", "WHO", "PURPOSE", "PID", "EXPIRES", "LET GO", "IN THE WAY"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let mut wrong = String::new();
    for (FoundLease { id, read, .. }, told) in found.iter().zip(told) {
        match read {
            Ok((lease, state)) => {
                let in_the_way = told.in_the_way();
                let daemons = told.acknowledged.len() + told.awaited.len();
                rows.push(vec![
                    id.clone(),
                    state.to_string(),
                    named(&lease.gpus, inventory.as_ref()),
                    lease.who.clone(),
                    lease.purpose.clone(),
                    lease.owner.pid.to_string(),
                    format!("{:.0}", lease.expires_at),
                    format!("{} of {daemons}", told.acknowledged.len()),
                    if in_the_way.is_empty() { "-".to_owned() } else { in_the_way.join("; ") },
                ]);
            }
            Err(error) => {
                wrong.push_str(&format!("{id} cannot be read: {}\n", daemon::error_chain(error)));
            }
        }
    }
    let mut text = aligned(&rows);
    text.push_str(&wrong);
    text
}

/// The GPUs by their indices where those are known.
fn named(gpus: &BTreeSet<GpuUuid>, inventory: Option<&Inventory>) -> String {
    let index = |uuid: &GpuUuid| {
        let gpu = inventory?.gpus.iter().find(|gpu| gpu.uuid == *uuid)?;
        Some(gpu.index)
    };
    let is_all = inventory.is_some_and(|all| all.gpus.iter().all(|gpu| gpus.contains(&gpu.uuid)));
    if is_all {
        return "all".to_owned();
    }
    let mut indices: Vec<Option<u32>> = gpus.iter().map(index).collect();
    indices.sort();
    let names: Vec<String> = match indices.iter().copied().collect::<Option<Vec<u32>>>() {
        Some(indices) => indices.iter().map(u32::to_string).collect(),
        None => gpus.iter().map(ToString::to_string).collect(),
    };
    names.join(",")
}

fn in_words(gpus: &BTreeSet<GpuUuid>) -> String {
    gpus.iter().map(GpuUuid::as_str).collect::<Vec<_>>().join(", ")
}

/// Progress, for people.
fn progress(text: &str) {
    use std::io::Write;
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "{text}");
}
