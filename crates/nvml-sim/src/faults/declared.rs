//! A fault as people write it, in a node file or as words of the command line: one type, and one check of it. It knows
//! which keys go together and which names are functions and GPUs.

use serde::Deserialize;
use thiserror::Error;

use super::{Chance, Effect, Fault, Moment, Occurrence, Probability};
use crate::code::Code;
use crate::functions::{self, TakesNoGpuError, UnknownFunctionError};
use crate::node::{self, Gpu, NoGpuError};

/// A fault as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FaultEntry {
    /// The function whose calls hang.
    #[serde(default)]
    pub hang: Option<String>,
    /// The function whose calls crash.
    #[serde(default)]
    pub crash: Option<String>,
    /// The function whose calls return `code`.
    #[serde(default)]
    pub r#return: Option<String>,
    /// The code, by name or number.
    #[serde(default)]
    pub code: Option<String>,
    /// Only calls on this GPU.
    #[serde(default)]
    pub gpu: Option<String>,
    /// Strike so many calls only.
    #[serde(default)]
    pub times: Option<u32>,
    /// Let so many calls pass first.
    #[serde(default)]
    pub after: u32,
    /// Let all calls pass until then.
    #[serde(default)]
    pub at: Option<Moment>,
    /// Strike this part of the calls.
    #[serde(default)]
    pub probability: Option<Probability>,
    /// Which calls those are.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// Why a fault cannot be.
#[derive(Debug, Error)]
pub enum FaultError {
    /// None of the words for what happens, or more than one.
    #[error("{count} effects; write one of hang, crash and return, each with a function")]
    Effects {
        /// How many.
        count: usize,
    },
    /// A code where none is returned, or none where one is.
    #[error("{0}")]
    Code(String),
    /// No call is struck.
    #[error("`0` calls; write a number from 1, or leave it out for every call")]
    Times,
    /// A seed of nothing.
    #[error("a seed chooses which calls a probability strikes; add `probability`, such as 0.05")]
    Seed,
    /// No such function.
    #[error(transparent)]
    NoFunction(#[from] UnknownFunctionError),
    /// No such GPU.
    #[error(transparent)]
    NoGpu(#[from] NoGpuError),
    /// A fault of one GPU's calls, of a function that takes no GPU.
    #[error(transparent)]
    TakesNoGpu(#[from] TakesNoGpuError),
    /// A wrong code from a function that returns none.
    #[error("`{function}` returns no code: its calls can hang or crash")]
    ReturnsNoCode {
        /// The function.
        function: String,
    },
}

impl FaultEntry {
    /// The key that says what happens, if there is one.
    pub fn effect_key(&self) -> Option<&'static str> {
        let keys = [("hang", &self.hang), ("crash", &self.crash), ("return", &self.r#return)];
        let mut named = keys.into_iter().filter_map(|(key, function)| function.as_ref().map(|_| key));
        named.next().filter(|_| named.next().is_none())
    }

    /// The fault that is written; its GPU is still as it was named.
    pub fn fault(self) -> Result<Fault, FaultError> {
        let effects =
            [(self.hang, Effect::Hang), (self.crash, Effect::Crash), (self.r#return, Effect::Return(0))];
        let mut named: Vec<_> =
            effects.into_iter().filter_map(|(function, effect)| Some((function?, effect))).collect();
        let count = named.len();
        let (function, mut effect) =
            named.pop().filter(|_| count == 1).ok_or(FaultError::Effects { count })?;
        match (&mut effect, self.code) {
            (Effect::Return(number), Some(code)) => *number = parse_code(&code).map_err(FaultError::Code)?.0,
            (Effect::Return(_), None) => {
                let hint = "which code? Add `code`, a name such as GPU_IS_LOST or a number";
                return Err(FaultError::Code(hint.to_owned()));
            }
            (_, Some(code)) => {
                let hint = format!("`{code}` is returned by `return` only; leave it out");
                return Err(FaultError::Code(hint));
            }
            (_, None) => {}
        }
        let occurrence = match self.times {
            Some(0) => return Err(FaultError::Times),
            times => times.map_or(Occurrence::Always, Occurrence::Times),
        };
        let chance = match (self.probability, self.seed) {
            (None, Some(_)) => return Err(FaultError::Seed),
            (probability, seed) => probability.map(|it| Chance::new(it, seed.unwrap_or(0))),
        };
        Ok(Fault { function, gpu: self.gpu, effect, at: self.at, after: self.after, chance, occurrence })
    }
}

impl Fault {
    /// This fault, if it can be on a node with these GPUs, with the UUID of the one that it names.
    pub fn checked(mut self, gpus: &[Gpu]) -> Result<Fault, FaultError> {
        functions::check(&self.function)?;
        if let (Effect::Return(_), "nvmlErrorString") = (self.effect, self.function.as_str()) {
            return Err(FaultError::ReturnsNoCode { function: self.function });
        }
        if let Some(name) = &self.gpu {
            let uuid = node::find_or_tell(gpus, name)?.uuid.clone();
            functions::check_takes_gpu(&self.function)?;
            self.gpu = Some(uuid);
        }
        Ok(self)
    }
}

impl FaultError {
    /// The key of a node file that is wrong, where it is one other than that of the effect.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            FaultError::Effects { .. } | FaultError::NoFunction(_) | FaultError::ReturnsNoCode { .. } => None,
            FaultError::Code(_) => Some("code"),
            FaultError::Times => Some("times"),
            FaultError::Seed => Some("seed"),
            FaultError::NoGpu(_) | FaultError::TakesNoGpu(_) => Some("gpu"),
        }
    }
}

/// A return code by name or number.
pub fn parse_code(text: &str) -> Result<Code, String> {
    Code::parse(text).ok_or_else(|| {
        format!("`{text}` is no NVML error; write a name such as GPU_IS_LOST, or a number from 1")
    })
}
