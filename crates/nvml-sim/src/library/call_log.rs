//! A record of the calls that a process makes, for counting them. It is kept in the folder that
//! `NVML_SIM_CALL_LOG` names, else in `calls/` of the node's state folder if that exists; otherwise not at all.
//!
//! How long each call took is kept beside it, in `times/` of the state folder if that exists.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

/// Names the folder in which each process writes `PID.calls`, one function name a line.
const VARIABLE: &str = "NVML_SIM_CALL_LOG";

/// Where the record is kept in a state folder that asks for one.
const FOLDER: &str = "calls";

/// Where times are, one call a line that is over: function name and nanoseconds.
const TIMES: &str = "times";

/// The record of this process.
#[derive(Debug)]
pub struct CallLog {
    calls: Lines,
    times: Lines,
}

/// A file of this process in a folder, `PID.calls`, made with its first line. Lines are appended unbuffered, so that a
/// killed process loses none.
#[derive(Debug)]
struct Lines {
    dir: Option<PathBuf>,
    file: OnceLock<Option<File>>,
}

impl CallLog {
    /// As the environment asks for, else as the state folder does: a client may pass no environment on.
    pub fn of(state: Option<PathBuf>) -> CallLog {
        let named = std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let kept = |name: &str| state.as_ref().map(|state| state.join(name)).filter(|dir| dir.is_dir());
        CallLog { calls: Lines::of(named.or_else(|| kept(FOLDER))), times: Lines::of(kept(TIMES)) }
    }

    /// Writes down that a call begins, and gives when, if its time is to be written down.
    pub fn begin(&self, function: &str) -> Option<Instant> {
        self.calls.append(function);
        self.times.dir.is_some().then(Instant::now)
    }

    /// Writes down how long a call took.
    pub fn end(&self, function: &str, began: Option<Instant>) {
        if let Some(took) = began.as_ref().map(Instant::elapsed) {
            self.times.append(&format!("{function} {}", took.as_nanos()));
        }
    }
}

impl Lines {
    fn of(dir: Option<PathBuf>) -> Lines {
        Lines { dir, file: OnceLock::new() }
    }

    /// A log that cannot be written is no reason for a call to fail.
    fn append(&self, line: &str) {
        let Some(dir) = &self.dir else { return };
        let open = || {
            fs::create_dir_all(dir).ok()?;
            let path = dir.join(format!("{}.calls", std::process::id()));
            File::options().create(true).append(true).open(path).ok()
        };
        if let Some(mut file) = self.file.get_or_init(open).as_ref() {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}
