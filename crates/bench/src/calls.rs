//! The record of NVML calls that the simulated driver keeps: how many, and how long they took.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

/// Waits for something that is no part of the driver's work: it neither counts nor is its time the driver's. It
/// comes back by the clock, whatever is measured.
const WAITS: &str = "nvmlEventSetWait";

/// Where the record is.
#[derive(Clone, Debug)]
pub struct CallLog {
    calls: PathBuf,
    times: PathBuf,
}

/// Lines, in order, by the process that wrote them.
type Lines = BTreeMap<String, Vec<String>>;

/// What was called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Functions that were called.
    begun: Lines,
    /// Those of them that ended, each with the nanoseconds that it took.
    ended: Lines,
}

impl CallLog {
    /// Has the driver in this folder keep a record from now on.
    pub fn keep(driver: &Path) -> Result<CallLog> {
        let log = CallLog { calls: driver.join("calls"), times: driver.join("times") };
        for folder in [&log.calls, &log.times] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(log)
    }

    /// Every call so far.
    pub fn read(&self) -> Result<Calls> {
        Ok(Calls { begun: lines(&self.calls)?, ended: lines(&self.times)? })
    }
}

fn lines(folder: &Path) -> Result<Lines> {
    let mut lines = Lines::new();
    for entry in fs::read_dir(folder).context("no record of NVML calls")? {
        let path = entry?.path();
        let record = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let process = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        lines.insert(process, record.lines().map(str::to_owned).collect());
    }
    Ok(lines)
}

impl Calls {
    /// Those since an earlier reading.
    pub fn since(&self, before: &Calls) -> Calls {
        let since = |now: &Lines, before: &Lines| {
            let known = |process: &String| before.get(process).map_or(0, Vec::len);
            now.iter().map(|(process, calls)| (process.clone(), calls[known(process)..].to_vec())).collect()
        };
        Calls { begun: since(&self.begun, &before.begun), ended: since(&self.ended, &before.ended) }
    }

    /// How many, without waits.
    pub fn count(&self) -> u64 {
        self.begun.values().flatten().filter(|function| is_work(function)).count() as u64
    }

    /// How long the busiest process was inside NVML by now, in calls that ended. Processes work side by side, so that their
    /// times do not add up.
    pub fn time(&self) -> Duration {
        let took =
            |line: &String| line.split_once(' ').and_then(|(_, nanos)| nanos.parse().ok()).unwrap_or(0);
        let of_one = |calls: &Vec<String>| calls.iter().filter(|call| is_work(call)).map(took).sum();
        Duration::from_nanos(self.ended.values().map(of_one).max().unwrap_or_default())
    }
}

fn is_work(function: &str) -> bool {
    !function.starts_with(WAITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(processes: &[(&str, &[&str])]) -> Lines {
        let owned = |calls: &[&str]| calls.iter().map(|call| (*call).to_owned()).collect();
        processes.iter().map(|(process, calls)| ((*process).to_owned(), owned(calls))).collect()
    }

    fn calls(processes: &[(&str, &[&str])]) -> Calls {
        Calls { begun: lines(processes), ended: Lines::new() }
    }

    #[test]
    fn waits_do_not_count_and_time_is_that_of_the_busiest_process_in_calls_that_ended() {
        let begun = lines(&[
            ("1", &["nvmlInit_v2", "nvmlDeviceGetNvLinkState", "nvmlDeviceGetTopologyCommonAncestor"]),
            ("2", &["nvmlEventSetWait_v2", "nvmlInit_v2"]),
        ]);
        let ended = lines(&[
            ("1", &["nvmlInit_v2 5000", "nvmlDeviceGetNvLinkState 100"]),
            ("2", &["nvmlEventSetWait_v2 60000000", "nvmlInit_v2 4000"]),
        ]);
        let calls = Calls { begun, ended };
        assert_eq!(calls.count(), 4);
        assert_eq!(calls.time(), Duration::from_nanos(5_100));
        assert_eq!(Calls::default().time(), Duration::ZERO);
    }

    #[test]
    fn calls_since_an_earlier_reading_leave_that_out() {
        let before = calls(&[("1", &["a"])]);
        let now = calls(&[("1", &["a", "b"]), ("2", &["c"])]);
        assert_eq!(now.since(&before), calls(&[("1", &["b"]), ("2", &["c"])]));
    }
}
