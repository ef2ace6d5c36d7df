//! Says on standard error why the simulation does not work: NVML's return codes cannot. It knows what it has said
//! already, not what anything means.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Different complaints of one process. A client that asks again and again must not fill its log.
const MOST: usize = 64;

/// What was said.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<BTreeSet<String>>);

impl Complaints {
    /// Says an error with its causes, unless the same was said before.
    pub fn say(&self, error: &dyn Error) {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < MOST && !said.contains(&text) {
            let _ = writeln!(std::io::stderr(), "nvml-sim (simulated libnvidia-ml): {text}");
            said.insert(text);
        }
    }
}
