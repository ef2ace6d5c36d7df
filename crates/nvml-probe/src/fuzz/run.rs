//! Draws sequences from a seed, has each one played by a process of its own, and makes one that fails small.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use thiserror::Error;

use super::step::{Case, cases};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// What the sequences are drawn from.
    pub seed: u64,
    /// Sequences of each seed.
    pub cases: u32,
    /// The most steps of a sequence.
    pub steps: usize,
    /// Goes on with the next seeds for so long.
    pub span: Duration,
}

/// A sequence that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// What went wrong.
    pub problem: String,
    /// The shortest sequence that was found to do so, as JSON.
    pub case: String,
}

/// Why nothing could be tried.
#[derive(Debug, Error)]
pub enum FuzzError {
    /// The library is that of real GPUs, or tells nothing about itself.
    #[error("{0} does not say that it is a simulation: MIG instances of real GPUs are not for this")]
    NotSimulated(String),
    /// No process can be started.
    #[error("cannot start a process")]
    Process(#[from] std::io::Error),
}

/// Tries sequences, and gives how many, or the first that failed. `program` is this one.
pub fn run(program: &Path, library: &Path, budget: Budget) -> Result<Result<u64, Failure>, FuzzError> {
    let (began, mut tried) = (Instant::now(), 0);
    for seed in budget.seed.. {
        let config = Config {
            cases: budget.cases,
            max_shrink_iters: 400,
            failure_persistence: None,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(seed.to_le_bytes()).for_each(|(place, byte)| *place = byte);
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let played = runner.run(&cases(budget.steps), |case| {
            let problem = play_apart(program, library, &case);
            problem
                .map_err(|error| TestCaseError::fail(error.to_string()))?
                .map_or(Ok(()), |problem| Err(TestCaseError::fail(problem)))
        });
        tried += u64::from(budget.cases);
        match played {
            Ok(()) => {}
            Err(TestError::Fail(problem, case)) => {
                let case = serde_json::to_string(&case).unwrap_or_default();
                return Ok(Err(Failure { seed, problem: problem.to_string(), case }));
            }
            Err(TestError::Abort(problem)) => {
                return Ok(Err(Failure { seed, problem: problem.to_string(), case: String::new() }));
            }
        }
        if began.elapsed() >= budget.span {
            break;
        }
    }
    Ok(Ok(tried))
}

/// Has a process play a sequence, and gives what went wrong.
fn play_apart(program: &Path, library: &Path, case: &Case) -> std::io::Result<Option<String>> {
    let mut command = Command::new(program);
    command.arg("--library").arg(library).arg("fuzz-case");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(serde_json::to_string(case)?.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let steps = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let step = steps.lines().last().and_then(|index| index.parse::<usize>().ok());
    let step = step.and_then(|index| case.steps.get(index));
    Ok(Some(match output.status.signal() {
        Some(signal) => format!("the process ended by signal {signal} in {step:?}\n{said}"),
        None => said,
    }))
}
