//! The record of NVML calls that the simulated driver keeps: how many, and how long they took by the profile.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nvml_sim::Latency;

/// Waits for something that is no part of the driver's work: it neither counts nor is its time the driver's. It
/// comes back by the clock, whatever is measured.
const WAITS: &str = "nvmlEventSetWait";

/// Where the record is.
#[derive(Clone, Debug)]
pub struct CallLog(pub PathBuf);

/// Functions called, in order, by the process that called them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls(BTreeMap<String, Vec<String>>);

impl CallLog {
    /// Every call so far.
    pub fn read(&self) -> Result<Calls> {
        let mut calls = BTreeMap::new();
        for entry in fs::read_dir(&self.0).context("no record of NVML calls")? {
            let path = entry?.path();
            let record =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let process = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            calls.insert(process, record.lines().map(str::to_owned).collect());
        }
        Ok(Calls(calls))
    }
}

impl Calls {
    /// Those since an earlier reading.
    pub fn since(&self, before: &Calls) -> Calls {
        let known = |process: &String| before.0.get(process).map_or(0, Vec::len);
        Calls(
            self.0
                .iter()
                .map(|(process, calls)| (process.clone(), calls[known(process)..].to_vec()))
                .collect(),
        )
    }

    /// How many, without waits.
    pub fn count(&self) -> u64 {
        self.0.values().flatten().filter(|function| is_work(function)).count() as u64
    }

    /// How long the busiest process was inside NVML by now, at least. Processes work side by side, so that their times
    /// do not add up; a call is written down when it begins, so that each one's last may go on.
    pub fn time(&self, latency: &Latency) -> Duration {
        let of_one = |calls: &Vec<String>| -> Duration {
            let ended = calls.split_last().map_or(&[][..], |(_, ended)| ended);
            ended
                .iter()
                .filter(|function| is_work(function))
                .map(|function| latency.of(function, None).mean())
                .sum()
        };
        self.0.values().map(of_one).max().unwrap_or_default()
    }
}

fn is_work(function: &str) -> bool {
    !function.starts_with(WAITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn calls(processes: &[(&str, &[&str])]) -> Calls {
        let owned = |calls: &[&str]| calls.iter().map(|call| (*call).to_owned()).collect();
        Calls(processes.iter().map(|(process, calls)| ((*process).to_owned(), owned(calls))).collect())
    }

    #[test]
    fn waits_do_not_count_and_time_is_that_of_the_busiest_process_without_the_call_that_goes_on() {
        let calls = calls(&[
            ("1", &["nvmlInit_v2", "nvmlDeviceGetNvLinkState", "nvmlDeviceGetTopologyCommonAncestor"]),
            ("2", &["nvmlEventSetWait_v2", "nvmlInit_v2"]),
        ]);
        assert_eq!(calls.count(), 4);
        assert_eq!(calls.time(&Profile::Recorded.latency()), Duration::from_micros(5_100));
        assert_eq!(calls.time(&Profile::NONE.latency()), Duration::ZERO);
    }

    #[test]
    fn calls_since_an_earlier_reading_leave_that_out() {
        let before = calls(&[("1", &["a"])]);
        let now = calls(&[("1", &["a", "b"]), ("2", &["c"])]);
        assert_eq!(now.since(&before), calls(&[("1", &["b"]), ("2", &["c"])]));
    }
}
