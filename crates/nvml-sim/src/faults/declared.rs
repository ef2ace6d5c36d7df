//! A fault as people write it, in a node file or as words of the command line: one type, and one check of it. It knows
//! which keys go together and which names are functions and GPUs.

use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;

use super::{Chance, Effect, Fault, Moment, Occurrence, Probability};
use crate::code::Code;
use crate::damage::Counter;
use crate::functions::{self, TakesNoGpuError, UnknownFunctionError};
use crate::incidents::Incident;
use crate::latency::Delay;
use crate::loss::Loss;
use crate::node::{self, Gpu, NoGpuError};

/// A fault: exactly one of `hang`, `crash`, `return`, `lose`, `xid` and `count`, and when.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
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
    /// The XID that `gpu` reports.
    #[serde(default)]
    pub xid: Option<u64>,
    /// The MIG GPU instance that the XID or the errors concern.
    #[serde(default)]
    pub gi: Option<u32>,
    /// The MIG compute instance that the XID concerns.
    #[serde(default)]
    pub ci: Option<u32>,
    /// What is counted in `gpu`.
    #[serde(default)]
    pub count: Option<Counter>,
    /// How much `count` rises; 1 where absent.
    #[serde(default)]
    pub by: Option<u32>,
    /// Whether rows and pages of `count` need no reset any more.
    #[serde(default)]
    pub settled: bool,
    /// The way in which `gpu` is lost, and reports `xid` if that is given too.
    #[serde(default)]
    pub lose: Option<Loss>,
    /// Only calls on this GPU; or the GPU that is befallen.
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

/// What an entry declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// What waits for calls.
    Fault(Fault),
    /// What comes by itself.
    Incident(Incident),
}

/// The calls that what befalls a GPU is counted by.
const ON_A_GPU: &str = "nvmlDevice*";

/// Why a fault cannot be.
#[derive(Debug, Error)]
pub enum FaultError {
    /// None of the words for what happens, or more than one.
    #[error(
        "{count} effects; write one of hang, crash and return, each with a function, or one of xid, lose and count, with `gpu`"
    )]
    Effects {
        /// How many.
        count: usize,
    },
    /// A code where none is returned, or none where one is.
    #[error("{0}")]
    Code(String),
    /// Something befalls a GPU, and none is named.
    #[error("which GPU? Add `gpu`: index, UUID or PCI address")]
    WhichGpu,
    /// An instance without an XID, or a compute instance without its GPU instance.
    #[error("{0}")]
    Instance(&'static str),
    /// Errors that are not counted so, or not in this GPU.
    #[error("{0}")]
    Count(String),
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
        let keys = [
            ("hang", self.hang.is_some()),
            ("crash", self.crash.is_some()),
            ("return", self.r#return.is_some()),
            ("lose", self.lose.is_some()),
            ("xid", self.xid.is_some() && self.lose.is_none()),
            ("count", self.count.is_some()),
        ];
        let mut named = keys.into_iter().filter_map(|(key, is_there)| is_there.then_some(key));
        named.next().filter(|_| named.next().is_none())
    }

    /// What is declared; its GPU is still as it was named.
    pub fn declared(self) -> Result<Declared, FaultError> {
        let befall = self.befall()?;
        let occurrence = match self.times {
            Some(0) => return Err(FaultError::Times),
            // A GPU is befallen once, unless it is said how often.
            None if befall.is_some() => Occurrence::Times(1),
            times => times.map_or(Occurrence::Always, Occurrence::Times),
        };
        let chance = match (self.probability, self.seed) {
            (None, Some(_)) => return Err(FaultError::Seed),
            (probability, seed) => probability.map(|it| Chance::new(it, seed.unwrap_or(0))),
        };
        let waits_for_calls = self.after > 0 || self.times.is_some() || chance.is_some();
        if let (Some(_), Some(code)) = (&befall, &self.code) {
            return Err(FaultError::needless(code));
        }
        if let (Some(what), false) = (befall.clone(), waits_for_calls) {
            let at = self.at.unwrap_or(Moment::In(Delay::default()));
            return Ok(Declared::Incident(Incident { gpu: self.gpu.ok_or(FaultError::WhichGpu)?, what, at }));
        }
        let effects =
            [(self.hang, Effect::Hang), (self.crash, Effect::Crash), (self.r#return, Effect::Return(0))];
        let named = effects.into_iter().filter_map(|(function, effect)| Some((function?, effect)));
        let befalls = befall.map(|what| (ON_A_GPU.to_owned(), Effect::Befall(what)));
        let mut named: Vec<_> = named.chain(befalls).collect();
        let count = named.len();
        let (function, mut effect) =
            named.pop().filter(|_| count == 1).ok_or(FaultError::Effects { count })?;
        match (&mut effect, self.code) {
            (Effect::Return(number), Some(code)) => *number = parse_code(&code).map_err(FaultError::Code)?.0,
            (Effect::Return(_), None) => {
                let hint = "which code? Add `code`, a name such as GPU_IS_LOST or a number";
                return Err(FaultError::Code(hint.to_owned()));
            }
            (_, Some(code)) => return Err(FaultError::needless(&code)),
            (_, None) => {}
        }
        let (gpu, at, after) = (self.gpu, self.at, self.after);
        Ok(Declared::Fault(Fault { function, gpu, effect, at, after, chance, occurrence }))
    }
}

impl Declared {
    /// This, if it can be on a node with these GPUs, with the UUID of the one that it names.
    pub fn checked(self, gpus: &[Gpu]) -> Result<Declared, FaultError> {
        Ok(match self {
            Declared::Fault(fault) => Declared::Fault(fault.checked(gpus)?),
            Declared::Incident(incident) => {
                let gpu = node::find_or_tell(gpus, &incident.gpu)?;
                incident.what.check(gpu)?;
                Declared::Incident(Incident { gpu: gpu.uuid.clone(), ..incident })
            }
        })
    }
}

impl Fault {
    /// This fault, if it can be on a node with these GPUs, with the UUID of the one that it names.
    pub fn checked(mut self, gpus: &[Gpu]) -> Result<Fault, FaultError> {
        functions::check(&self.function)?;
        if let (Effect::Return(_), "nvmlErrorString") = (&self.effect, self.function.as_str()) {
            return Err(FaultError::ReturnsNoCode { function: self.function });
        }
        if let (Effect::Befall(_), None) = (&self.effect, &self.gpu) {
            return Err(FaultError::WhichGpu);
        }
        if let Some(name) = &self.gpu {
            let gpu = node::find_or_tell(gpus, name)?;
            if let Effect::Befall(what) = &self.effect {
                what.check(gpu)?;
            }
            functions::check_takes_gpu(&self.function)?;
            self.gpu = Some(gpu.uuid.clone());
        }
        Ok(self)
    }
}

impl FaultError {
    fn needless(code: &str) -> FaultError {
        FaultError::Code(format!("`{code}` is returned by `return` only; leave it out"))
    }

    /// The key of a node file that is wrong, where it is one other than that of the effect.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            FaultError::Effects { .. } | FaultError::NoFunction(_) | FaultError::ReturnsNoCode { .. } => None,
            FaultError::Code(_) => Some("code"),
            FaultError::Count(_) => Some("count"),
            FaultError::Times => Some("times"),
            FaultError::Seed => Some("seed"),
            FaultError::NoGpu(_) | FaultError::TakesNoGpu(_) | FaultError::WhichGpu => Some("gpu"),
            FaultError::Instance(_) => Some("gi"),
        }
    }
}

/// A return code by name or number.
pub fn parse_code(text: &str) -> Result<Code, String> {
    Code::parse(text).ok_or_else(|| {
        format!("`{text}` is no NVML error; write a name such as GPU_IS_LOST, or a number from 1")
    })
}
