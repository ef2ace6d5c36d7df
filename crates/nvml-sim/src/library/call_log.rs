//! A record of the calls that a process makes, for counting them. It is kept in the folder that
//! `NVML_SIM_CALL_LOG` names, else in `calls/` of the node's state folder if that exists; otherwise not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Names the folder in which each process writes `PID.calls`, one function name a line.
const VARIABLE: &str = "NVML_SIM_CALL_LOG";

/// Where the record is kept in a state folder that asks for one.
const FOLDER: &str = "calls";

/// The record of this process. Lines are appended unbuffered, so that a killed process loses none.
#[derive(Debug)]
pub struct CallLog {
    dir: Option<PathBuf>,
    file: OnceLock<Option<File>>,
}

impl CallLog {
    /// As the environment asks for, else as the state folder does: a client may pass no environment on.
    pub fn of(state: Option<PathBuf>) -> CallLog {
        let named = std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let kept = || state.map(|state| state.join(FOLDER)).filter(|dir| dir.is_dir());
        CallLog { dir: named.or_else(kept), file: OnceLock::new() }
    }

    /// Writes one call down. A log that cannot be written is no reason for a call to fail.
    pub fn record(&self, function: &str) {
        let Some(dir) = &self.dir else { return };
        let open = || {
            fs::create_dir_all(dir).ok()?;
            let path = dir.join(format!("{}.calls", std::process::id()));
            File::options().create(true).append(true).open(path).ok()
        };
        if let Some(mut file) = self.file.get_or_init(open).as_ref() {
            let _ = file.write_all(format!("{function}\n").as_bytes());
        }
    }
}
