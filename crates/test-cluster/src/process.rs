//! Processes told apart by id and start time, so that a reused id is never taken for the old process.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A process of one process-id namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// The id.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since boot (field 22 of /proc/PID/stat).
    pub(crate) started: u64,
}

impl ProcessId {
    /// The process that has this id now, zombies left out. `proc` is the /proc of its namespace.
    pub(crate) fn find(proc: &Path, pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
        let (state, started) = parse_stat(&stat)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, started })
    }

    /// True while this very process lives.
    pub(crate) fn lives(self, proc: &Path) -> bool {
        Self::find(proc, self.pid) == Some(self)
    }
}

/// State and start time. The program's name is in parentheses and may contain both spaces and parentheses.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_program_with_a_strange_name_parses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 88 943 2 8 0 0 0 0 20 0 1 0 1098 2 3";
        assert_eq!(parse_stat(stat), Some(('S', 1098)));
    }

    #[test]
    fn this_process_lives_and_one_of_another_start_time_does_not() {
        let me = ProcessId::find(Path::new("/proc"), std::process::id()).unwrap();
        assert!(me.lives(Path::new("/proc")));
        assert!(!ProcessId { started: me.started + 1, ..me }.lives(Path::new("/proc")));
    }
}
