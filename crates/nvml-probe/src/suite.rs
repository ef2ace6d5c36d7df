//! The suite for a machine with GPUs: everything is asked three times, the rules are applied, every getter is misused,
//! common ones are measured, the node is recorded, and made again by the simulator to see what that answers otherwise.
//!
//! Nothing is changed on the node: each part goes by the table of getters, in which no other function compiles.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nvml_sim::StateFolder;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::bench::{self, Figures};
use crate::check::{Check, check};
use crate::code::Code;
use crate::compare::{Difference, shape};
use crate::host;
use crate::misuse::{self, Misuse};
use crate::record::{Nearness, RecordError, nearness, record};
use crate::session::{Session, SessionError};
use crate::walk::{self, Walk};

/// How often everything is asked: before, at and after a moment.
const WALKS: usize = 3;
/// Threads of the mixed measurement.
const THREADS: usize = 4;

/// What to do beside asking.
#[derive(Debug)]
pub struct Options<'a> {
    /// Read the host's files below this root too.
    pub host_root: Option<&'a Path>,
    /// How long each figure is measured; nothing is where it is zero.
    pub span: Duration,
    /// The simulated library on which the recorded node is made again.
    pub simulator: Option<&'a Path>,
}

/// What the suite found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Whether the library says that it is a simulation.
    pub simulated: bool,
    /// The driver's version.
    pub driver: Option<String>,
    /// The GPUs' names, by index.
    pub gpus: Vec<String>,
    /// The rules, and what broke them.
    pub checks: Vec<Check>,
    /// All wrong calls, and what each one got.
    pub misuse: Vec<Misuse>,
    /// How quick the library is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// The preset that each GPU is nearest to, and the keys in which it differs.
    pub nearness: Vec<Nearness>,
    /// The node as a file for the simulator; absent where a GPU does not tell enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// What the simulator answers otherwise on that file, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulator: Option<Otherwise>,
    /// Why the simulator could not make the node again, where it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_simulated: Option<String>,
    /// The first of the walks.
    pub walk: Walk,
}

/// What a simulated node answers otherwise than the one from which it was recorded.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Otherwise {
    /// Functions and fields that answer on one alone, or with another code: `one` is the node's, `other` the simulator's.
    pub shape: Vec<Difference>,
    /// Wrong calls that get another code: call -> the node's and the simulator's.
    pub misuse: BTreeMap<String, [String; 2]>,
}

impl Report {
    /// Whether a rule was broken, or a wrong call got a code that it may not.
    pub fn has_problems(&self) -> bool {
        self.checks.iter().any(|check| !check.problems.is_empty())
            || !self.misuse.iter().all(Misuse::is_right)
    }
}

/// Why the suite cannot run.
#[derive(Debug, Error)]
pub enum SuiteError {
    /// The library cannot be asked.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// There is no GPU.
    #[error("the driver has no GPU")]
    NoGpu,
    /// Wrong calls cannot be tried.
    #[error("cannot misuse the library from a process of its own")]
    Misuse(#[source] std::io::Error),
}

impl SuiteError {
    /// Whether there is merely nothing to ask: the loader finds no library of that name, the driver is not loaded, or it has
    /// no GPU.
    pub fn is_absence(&self) -> bool {
        match self {
            SuiteError::NoGpu => true,
            SuiteError::Session(SessionError::Open(error)) => error.path.components().count() == 1,
            SuiteError::Session(SessionError::Init { code, .. }) => {
                [Code::DRIVER_NOT_LOADED, Code::LIBRARY_NOT_FOUND].contains(code)
            }
            _ => false,
        }
    }
}

/// Runs the suite by processes of `program`, which is this one.
pub fn run(program: &Path, library: &Path, options: &Options<'_>) -> Result<Report, SuiteError> {
    let host = options.host_root.map(host::read);
    // First, while this process has not loaded the library yet.
    let figures = match options.span {
        Duration::ZERO => None,
        span => Some(bench::measure(library, span, THREADS)?),
    };
    let mut session = Session::begin(library)?;
    if walk::gpus(&mut session).is_empty() {
        return Err(SuiteError::NoGpu);
    }
    let mut walks: Vec<Walk> = (0..WALKS).map(|_| walk::walk(&mut session, host.clone())).collect();
    drop(session);
    let checks = check(&walks);
    let walk = walks.swap_remove(0);
    let misuse = misuse::try_all(program, library, &[]).map_err(SuiteError::Misuse)?;
    let recording = record(&walk);
    let simulator = options.simulator.map(|simulator| {
        let recording = recording.as_ref().map_err(RecordError::to_string)?;
        simulate(program, simulator, recording, &walk, &misuse)
    });
    let (simulator, not_simulated) = match simulator.transpose() {
        Ok(simulator) => (simulator, None),
        Err(reason) => (None, Some(reason)),
    };
    let told = |answers: &walk::Answers, call| answers.get(call).and_then(Value::as_str).map(str::to_owned);
    let name =
        |gpu: &walk::GpuWalk| told(&gpu.answers, "nvmlDeviceGetName").unwrap_or_else(|| "no name".to_owned());
    Ok(Report {
        simulated: walk.simulated,
        driver: told(&walk.system, "nvmlSystemGetDriverVersion"),
        gpus: walk.gpus.iter().map(name).collect(),
        checks,
        misuse,
        figures,
        nearness: nearness(&walk),
        recording: recording.ok(),
        simulator,
        not_simulated,
        walk,
    })
}

/// Makes the node again, and asks it the same.
fn simulate(
    program: &Path,
    library: &Path,
    recording: &str,
    walk: &Walk,
    misuse: &[Misuse],
) -> Result<Otherwise, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let folder: PathBuf = dir.path().join("node");
    StateFolder::create(&folder, Path::new("recording"), recording).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg("--library").arg(library).args(["walk", "--output", "json"]).env("NVML_SIM_DIR", &folder);
    let output = command.output().map_err(|error| error.to_string())?;
    let simulated: Walk = serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
    let variables: &[(&str, &Path)] = &[("NVML_SIM_DIR", &folder)];
    let there = misuse::try_all(program, library, variables).map_err(|error| error.to_string())?;
    let there: BTreeMap<&str, &str> =
        there.iter().map(|misuse| (misuse.call.as_str(), misuse.code.as_str())).collect();
    let otherwise = misuse.iter().filter_map(|misuse| {
        let code = there.get(misuse.call.as_str()).filter(|code| **code != misuse.code)?;
        Some((misuse.call.clone(), [misuse.code.clone(), (*code).to_owned()]))
    });
    Ok(Otherwise { shape: shape(walk, &simulated), misuse: otherwise.collect() })
}
