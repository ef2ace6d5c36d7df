//! Carries out the commands. It knows the library's operations and what to tell a person afterwards.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;

use super::arguments::{Arguments, ClockCommand, Command, LinkState, Output, UsageError};
use super::fault::FaultCommand;
use super::{fault, mig, presets, process, show, watch};
use crate::faults::FaultEntry;
use crate::incidents::Recovery;
use crate::latency::Distribution;
use crate::presets::NODES;
use crate::state::StateFolder;
use crate::trim::Branch;
use crate::{freeze, functions, install, private_root, root};

/// Carries out one command.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let out = &mut std::io::stdout().lock();
    let dir = arguments.dir;
    let open = |folder: Option<PathBuf>| -> Result<StateFolder> {
        let dir = folder.or_else(|| dir.clone()).ok_or(UsageError::NoFolder)?;
        Ok(StateFolder::open(&dir)?)
    };
    match arguments.command {
        Command::Init { preset, file, folder } => {
            let dir = folder.or_else(|| dir.clone()).ok_or(UsageError::NoFolder)?;
            init(&dir, preset.as_deref(), file.as_deref(), out)?;
        }
        Command::Presets { schema: true, .. } => presets::schema(out)?,
        Command::Presets { node, gpu, .. } => presets::run(node.as_deref(), gpu.as_deref(), out)?,
        Command::Show { names, folder, output } => {
            let folder = open(folder)?;
            match output {
                Output::Table => show::table(&folder, names, out)?,
                Output::Json => show::json(&folder, out)?,
            }
        }
        Command::Watch { folder, interval, output } => watch::run(&open(folder)?, interval, output, out)?,
        Command::Root { root, library, symbols } => {
            let folder = open(None)?;
            let library = of_branch(&folder, library, symbols)?;
            let report = root::lay(&folder, &root, library.as_deref())?;
            writeln!(out, "laid {} entries into {}", report.entries, report.root.display())?;
            for note in report.notes {
                writeln!(out, "note: {note}")?;
            }
        }
        Command::Run { root, private, library, symbols, command } => {
            let folder = open(None)?;
            // A root has its library already.
            let library = if root.is_none() { of_branch(&folder, library, symbols)? } else { None };
            let private = root.as_deref().filter(|_| private);
            return exec(&folder, root.as_deref(), private, library.as_deref(), &command);
        }
        Command::Xid { gpu, xid, gi, ci, no_recovery_action, when } => {
            let xid = Some(xid);
            open(None)?.declare(FaultEntry { xid, gi, ci, no_recovery_action, ..when.entry(gpu) })?;
        }
        Command::Lose { gpu, mode, xid, no_recovery_action, when } => {
            let lose = Some(mode);
            open(None)?.declare(FaultEntry { lose, xid, no_recovery_action, ..when.entry(gpu) })?;
        }
        Command::Count { gpu, counter, by, gi, settled, when } => {
            let (count, by) = (Some(counter), Some(by));
            open(None)?.declare(FaultEntry { count, by, gi, settled, ..when.entry(gpu) })?;
        }
        Command::MemoryError { gpu, how, gi, when } => {
            open(None)?.declare(FaultEntry { memory_error: Some(how), gi, ..when.entry(gpu) })?;
        }
        Command::Nvlink { to: LinkState::Down, links, gpu, xid, when } => {
            open(None)?.declare(FaultEntry { nvlink_down: Some(links), xid, ..when.entry(gpu) })?;
        }
        Command::Nvlink { to: LinkState::Up, links, gpu, xid, when } => {
            if xid.is_some() {
                return Err(UsageError::NoXid.into());
            }
            open(None)?.declare(FaultEntry { nvlink_up: Some(links), ..when.entry(gpu) })?;
        }
        Command::Reload { driver_version, when } => {
            let version = driver_version.unwrap_or_else(|| "same".to_owned());
            open(None)?.declare(FaultEntry { reload: Some(version), ..when.of_the_node() })?;
        }
        Command::Reboot { when } => {
            open(None)?.declare(FaultEntry { reboot: true, ..when.of_the_node() })?;
        }
        Command::Return { gpu, when } => {
            open(None)?.declare(FaultEntry { recover: Some(Recovery::Return), ..when.entry(gpu) })?;
        }
        Command::Reset { gpu, force, when } => {
            let folder = open(None)?;
            match (when.is_now(), force) {
                (true, true) => folder.reset_by_force(&gpu)?,
                (true, false) => folder.reset(&gpu)?,
                (false, _) => {
                    folder.declare(FaultEntry { recover: Some(Recovery::Reset), ..when.entry(gpu) })?;
                }
            }
        }
        Command::Drain { gpu, off, when } => {
            open(None)?.declare(FaultEntry { drain: Some(!off), ..when.entry(gpu) })?;
        }
        Command::Remove { gpu, keep_device, when } => {
            open(None)?.declare(FaultEntry { remove: true, keep_device, ..when.entry(gpu) })?;
        }
        Command::Discover { gpu, when } => {
            open(None)?.declare(FaultEntry { discover: true, gpu, ..when.of_the_node() })?;
        }
        Command::Process { command } => process::run(&open(None)?, command, out)?,
        Command::Mig { command } => mig::run(&open(None)?, command, out)?,
        Command::Set { gpu, settings, when } if !when.is_now() => {
            let folder = open(None)?;
            let first = settings.first().map(|(key, _)| key.clone()).unwrap_or_default();
            if let Some((key, _)) = settings.iter().find(|(key, _)| key.starts_with("latency")) {
                return Err(UsageError::SetNow(key.clone()).into());
            }
            let gpu = gpu.ok_or(UsageError::NeedsGpu(first))?;
            folder.declare(FaultEntry { set: Some(settings.into_iter().collect()), ..when.entry(gpu) })?;
        }
        Command::Set { gpu, settings, .. } => set(&open(None)?, gpu.as_deref(), &settings)?,
        Command::Clock { command } => {
            let folder = open(None)?;
            match command {
                ClockCommand::Show => {}
                ClockCommand::Freeze => folder.freeze_clock()?,
                ClockCommand::Advance { by } => folder.advance_clock(by.0)?,
                ClockCommand::Resume => folder.resume_clock()?,
            }
            writeln!(out, "{}", show::clock(&folder.state()?.clock))?;
        }
        Command::Fault { command } => fault::run(&open(None)?, command, out)?,
        Command::Hang(hang) => fault::run(&open(None)?, FaultCommand::Hang(hang), out)?,
        Command::Thaw => {
            let dir = dir.ok_or(UsageError::NoFolder)?;
            let said = if freeze::thaw(&dir)? { "thawed" } else { "nothing was frozen" };
            writeln!(out, "{said}")?;
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "nvml-sim", out);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The library of an older driver, if one is asked for here or in the node file.
pub fn of_branch(
    folder: &StateFolder,
    library: Option<PathBuf>,
    symbols: Option<Branch>,
) -> Result<Option<PathBuf>> {
    let Some(branch) = symbols.or(folder.node()?.symbols) else { return Ok(library) };
    Ok(Some(install::of_branch(folder, library.as_deref(), branch)?))
}

fn init(dir: &Path, preset: Option<&str>, file: Option<&Path>, out: &mut impl Write) -> Result<()> {
    let (name, yaml) = match file {
        Some(file) => {
            let unreadable = |source| UsageError::File { path: file.to_owned(), source };
            (file.to_owned(), fs::read_to_string(file).map_err(unreadable)?)
        }
        None => {
            let preset = presets::find("node", NODES, preset.unwrap_or_default())?;
            (PathBuf::from(preset.name), preset.yaml.to_owned())
        }
    };
    let folder = StateFolder::create(dir, &name, &yaml)?;
    let gpus = folder.node()?.gpus.len();
    let plural = if gpus == 1 { "" } else { "s" };
    writeln!(
        out,
        "{} is a node with {gpus} GPU{plural}; look at it with `nvml-sim show {}`",
        dir.display(),
        dir.display()
    )?;
    Ok(())
}

/// Runs a program in this one's place, so that signals and exit code are its own; comes back only where that fails.
pub fn exec(
    folder: &StateFolder,
    root: Option<&Path>,
    private: Option<&Path>,
    library: Option<&Path>,
    words: &[OsString],
) -> Result<ExitCode> {
    // The program would only meet a library that does not initialise.
    folder.node()?;
    let (program, arguments) = words.split_first().context("no command given")?;
    let mut command = match private {
        Some(root) => install::private_command(folder, root, program)?,
        None => install::command(folder, root, library, program)?,
    };
    if let Some(root) = private {
        for path in private_root::enter(root)? {
            let _ = writeln!(
                std::io::stderr(),
                "note: this kernel has no {}, and none can be added",
                path.display()
            );
        }
    }
    let error = command.args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// A wrong setting changes nothing, wherever it stands.
fn set(folder: &StateFolder, gpu: Option<&str>, settings: &[(String, String)]) -> Result<()> {
    let (mut readings, mut delays, mut seeds) = (Vec::new(), Vec::new(), Vec::new());
    for (key, value) in settings {
        let wrong = |problem: String| UsageError::Latency { key: key.clone(), problem };
        if key == "latency-seed" {
            let hint = |_| wrong(format!("`{value}` is no seed; write a whole number from 0 up"));
            seeds.push(if value.is_empty() { None } else { Some(value.parse::<u64>().map_err(hint)?) });
        } else if key == "latency" || key.starts_with("latency.") {
            let parse = || value.parse::<Distribution>().map_err(|error| wrong(error.to_string()));
            let delay = if value.is_empty() { None } else { Some(parse()?) };
            let function = key.strip_prefix("latency.");
            function.map_or(Ok(()), functions::check)?;
            function.filter(|_| gpu.is_some()).map_or(Ok(()), functions::check_takes_gpu)?;
            delays.push((function, delay));
        } else {
            gpu.ok_or_else(|| UsageError::NeedsGpu(key.clone()))?;
            readings.push((key.as_str(), value.as_str()));
        }
    }
    // Readings first: they may still be wrong, the delays are not.
    if let Some(gpu) = gpu {
        folder.set_all(gpu, &readings)?;
    }
    for (function, delay) in delays {
        match gpu {
            Some(gpu) => folder.set_latency_of_gpu(gpu, function, delay)?,
            None => folder.set_latency(function, delay)?,
        }
    }
    for seed in seeds {
        folder.set_latency_seed(seed)?;
    }
    Ok(())
}
