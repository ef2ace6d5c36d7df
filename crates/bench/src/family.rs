//! A measured process and its children: their memory and processor time, as `/proc` tells them.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A process and all that descends from it, looked up anew at each question.
#[derive(Clone, Copy, Debug)]
pub struct Family(pub u32);

/// Memory, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Proportional set size: shared pages count by their share.
    pub pss_kib: u64,
    /// Pages that belong to no file.
    pub anonymous_kib: u64,
}

impl Family {
    fn members(self) -> Vec<u32> {
        let mut members = vec![self.0];
        let mut next = 0;
        while next < members.len() {
            members.extend(children(members[next]));
            next += 1;
        }
        members
    }

    /// How much of the memory is pages of files whose names have this text, in KiB (proportional set size).
    ///
    /// # Errors
    /// The system does not tell.
    pub fn memory_of_file(self, name: &str) -> Result<u64> {
        let mut kib = 0;
        for pid in self.members() {
            let path = format!("/proc/{pid}/smaps");
            match fs::read_to_string(&path) {
                Err(error) if pid != self.0 && has_ended(&error) => {}
                read => kib += of_file_kib(&read.with_context(|| format!("cannot read {path}"))?, name),
            }
        }
        Ok(kib)
    }

    /// Memory of all.
    ///
    /// # Errors
    /// The system does not tell, or tells it in another form.
    pub fn memory(self) -> Result<Memory> {
        let mut memory = Memory::default();
        for pid in self.members() {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = match fs::read_to_string(&path) {
                // A child may end between being listed and being read.
                Err(error) if pid != self.0 && has_ended(&error) => continue,
                read => read.with_context(|| format!("cannot read {path}"))?,
            };
            memory.pss_kib += field_kib(&text, "Pss:").with_context(|| path.clone())?;
            memory.anonymous_kib += field_kib(&text, "Anonymous:").with_context(|| path.clone())?;
        }
        Ok(memory)
    }

    /// Processor time of all so far.
    ///
    /// # Errors
    /// The system does not tell, or tells it in another form.
    pub fn cpu(self) -> Result<Duration> {
        let mut nanos = 0;
        for task in self.members().into_iter().flat_map(tasks) {
            // The first number is the time on a processor in nanoseconds; `stat` counts in ticks of 10 ms.
            let path = task.join("schedstat");
            let text = match fs::read_to_string(&path) {
                Err(error) if has_ended(&error) => continue,
                read => read.with_context(|| format!("cannot read {}", path.display()))?,
            };
            let first = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
            nanos += first.with_context(|| format!("{}: no time in {text:?}", path.display()))?;
        }
        Ok(Duration::from_nanos(nanos))
    }
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn children(pid: u32) -> Vec<u32> {
    let lists = tasks(pid).into_iter().filter_map(|task| fs::read_to_string(task.join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// Folders of a process's threads; none once it has ended.
fn tasks(pid: u32) -> Vec<PathBuf> {
    let folder = fs::read_dir(format!("/proc/{pid}/task"));
    folder.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The sum over the mappings of a file, each of which is a line that ends in the file's path, and lines of fields.
fn of_file_kib(smaps: &str, name: &str) -> u64 {
    let (mut is_wanted, mut kib) = (false, 0);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Pss:") if is_wanted => kib += words.next().and_then(|kib| kib.parse().ok()).unwrap_or(0),
            Some(first) if !first.ends_with(':') => is_wanted = line.contains(name),
            _ => {}
        }
    }
    kib
}

fn field_kib(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find(|line| line.starts_with(name));
    match line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()) {
        Some(kib) => Ok(kib),
        None => bail!("no field {name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn process_that_runs_has_memory_and_its_children_count() {
        // A shell gives what it starts in the background no input unless it is told to, and `cat` would end.
        let script = "exec 3<&0; cat <&3 & wait";
        let mut shell = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let family = Family(shell.id());
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while family.members().len() < 2 {
            assert!(std::time::Instant::now() < deadline, "family: {:?}", family.members());
            std::thread::yield_now();
        }
        assert!(family.memory().unwrap().pss_kib > 0);
        assert!(family.cpu().unwrap() > Duration::ZERO);
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(family.memory().is_err());
    }

    #[test]
    fn memory_of_a_file_is_that_of_all_its_mappings() {
        let smaps = "7f00-7f01 r--p 0 fe:00 1   /lib/libnvidia-ml.so.1\nSize: 8 kB\nPss: 4 kB\n\
            7f01-7f02 r-xp 0 fe:00 1   /lib/libnvidia-ml.so.1\nPss: 3 kB\n7f02-7f03 rw-p 0 00:00 0 \nPss: 9 kB\n";
        assert_eq!((of_file_kib(smaps, "libnvidia-ml"), of_file_kib(smaps, "libcuda")), (7, 0));
    }

    #[test]
    fn field_that_is_missing_is_an_error_and_no_zero() {
        assert_eq!(field_kib("Pss:                 724 kB\n", "Pss:").unwrap(), 724);
        assert!(field_kib("Rss: 1 kB\n", "Pss:").is_err());
    }
}
