//! A measured process and its children: their memory and processor time, as `/proc` tells them.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};

/// A started process; ended with SIGKILL when dropped.
pub struct Process(Child);

/// Memory of a process and its children, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Proportional set size: shared pages count by their share.
    pub pss_kib: u64,
    /// Pages that belong to no file.
    pub anonymous_kib: u64,
}

impl Process {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Result<Process> {
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Process(child))
    }

    /// This process and its children, grandchildren included.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.0.id()];
        let mut next = 0;
        while next < family.len() {
            family.extend(children(family[next]));
            next += 1;
        }
        family
    }

    /// Memory of the whole family.
    pub fn memory(&self) -> Result<Memory> {
        let mut memory = Memory::default();
        for pid in self.family() {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = match fs::read_to_string(&path) {
                // A child may end, or begin another program, between being listed and being read.
                Err(_) if pid != self.0.id() => continue,
                read => read.with_context(|| format!("cannot read {path}"))?,
            };
            memory.pss_kib += field_kib(&text, "Pss:");
            memory.anonymous_kib += field_kib(&text, "Anonymous:");
        }
        Ok(memory)
    }

    /// Processor time of the whole family so far.
    pub fn cpu(&self) -> Duration {
        let threads = self.family().into_iter().flat_map(|pid| entries(&format!("/proc/{pid}/task")));
        // The first number of schedstat is the time on a processor in nanoseconds; stat counts in 10 ms ticks.
        let times = threads.filter_map(|task| {
            fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(times.sum())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn children(pid: u32) -> Vec<u32> {
    let lists = entries(&format!("/proc/{pid}/task"))
        .into_iter()
        .filter_map(|task| fs::read_to_string(task.join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn entries(folder: &str) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn field_kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_that_runs_has_memory_and_its_children_count() {
        let process =
            Process::start(Command::new("sh").args(["-c", "cat & wait"]).stdin(std::process::Stdio::piped()))
                .unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while process.family().len() < 2 {
            assert!(std::time::Instant::now() < deadline, "family: {:?}", process.family());
            std::thread::yield_now();
        }
        assert!(process.memory().unwrap().pss_kib > 0);
    }

    #[test]
    fn smaps_line_without_the_field_counts_nothing() {
        assert_eq!(field_kib("Pss:                 724 kB\n", "Pss:"), 724);
        assert_eq!(field_kib("Rss: 1 kB\n", "Pss:"), 0);
    }
}
