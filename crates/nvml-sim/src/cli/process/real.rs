//! Processes of the machine that ran already when they became processes on GPUs. It knows processes, and the file that
//! must be open as long as they live, not what they use of a GPU.

use std::env;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cli::arguments::UsageError;
use crate::state::StateFolder;

/// The name of a process of this machine: its program.
pub fn find(pid: u32) -> Result<String> {
    open(pid)?;
    let program = fs::read_link(format!("/proc/{pid}/exe")).map(|path| path.to_string_lossy().into_owned());
    let name = program.or_else(|_| fs::read_to_string(format!("/proc/{pid}/comm")));
    Ok(name.map_or_else(|_| pid.to_string(), |name| name.trim().to_owned()))
}

/// Leaves a process behind that holds the file open until another one ends: that has no place for it itself.
pub fn keep(folder: &StateFolder, pid: u32, life: File) -> Result<()> {
    let mut keeper = Command::new(env::current_exe().context("cannot tell where this program lies")?);
    keeper.arg("--dir").arg(folder.dir()).args(["process", "keep", &pid.to_string()]);
    keeper.stdin(Stdio::from(life)).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    keeper.spawn().context("cannot start a process that waits for the end of the other")?;
    Ok(())
}

/// Waits until a process of this machine has ended.
pub fn wait(pid: u32) -> Result<()> {
    let process = open(pid)?;
    loop {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the process"),
        }
    }
}

fn open(pid: u32) -> Result<OwnedFd, UsageError> {
    let none = UsageError::NoProcess(pid);
    let Some(known) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Err(none) };
    pidfd_open(known, PidfdFlags::empty()).map_err(|_| none)
}
