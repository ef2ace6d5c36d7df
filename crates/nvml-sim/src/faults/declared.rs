//! A fault as people write it, in a node file or as words of the command line: one type, and one check of it. It knows
//! which keys go together and which names are functions and GPUs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;

use super::{Chance, Effect, Fault, Moment, Occurrence, Probability};
use crate::code::Code;
use crate::damage::Counter;
use crate::functions::{self, TakesNoGpuError, UnknownFunctionError};
use crate::incidents::{Befall, Containment, Incident, Recovery};
use crate::latency::Delay;
use crate::loss::Loss;
use crate::node::{self, Gpu, NoGpuError};
use crate::settings::SettingError;

/// A fault: exactly one of `hang`, `crash`, `return`, `garbage`, `lose`, `xid`, `count`, `memory-error`, `nvlink-down`,
/// `nvlink-up`, `recover`, `set`, `drain`, `remove`, `discover`, `reload` and `reboot`, and when.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FaultEntry {
    /// The function whose calls hang.
    #[serde(default)]
    pub hang: Option<String>,
    /// Whether calls of `hang` hang beyond the reach of signals. It is root's to make ready.
    #[serde(default)]
    pub uninterruptible: bool,
    /// The function whose calls crash.
    #[serde(default)]
    pub crash: Option<String>,
    /// The function whose calls return `code`.
    #[serde(default)]
    pub r#return: Option<String>,
    /// The function whose calls give nonsense.
    #[serde(default)]
    pub garbage: Option<String>,
    /// The code, by name or number.
    #[serde(default)]
    pub code: Option<String>,
    /// The XID that `gpu` reports.
    #[serde(default)]
    pub xid: Option<u64>,
    /// The MIG GPU instance that the XID, the error or the errors concern.
    #[serde(default)]
    pub gi: Option<u32>,
    /// The MIG compute instance that the XID concerns.
    #[serde(default)]
    pub ci: Option<u32>,
    /// An XID asks for no recovery.
    #[serde(default)]
    pub no_recovery_action: bool,
    /// An uncorrectable error in the device memory of `gpu`.
    #[serde(default)]
    pub memory_error: Option<Containment>,
    /// NVLinks of `gpu` that go down, all where none is named, with `xid` if that is given too.
    #[serde(default)]
    pub nvlink_down: Option<Vec<u32>>,
    /// NVLinks of `gpu` that come up again, all where none is named.
    #[serde(default)]
    pub nvlink_up: Option<Vec<u32>>,
    /// How `gpu` recovers.
    #[serde(default)]
    pub recover: Option<Recovery>,
    /// Readings and modes of `gpu`.
    #[serde(default)]
    pub set: Option<BTreeMap<String, String>>,
    /// Whether `gpu` takes no new programs, or takes them again.
    #[serde(default)]
    pub drain: Option<bool>,
    /// The driver lets go of `gpu`, which drains.
    #[serde(default)]
    pub remove: bool,
    /// Whether `remove` leaves its PCI device in the tree.
    #[serde(default)]
    pub keep_device: bool,
    /// The driver looks for GPUs that were removed: for `gpu`, or for all.
    #[serde(default)]
    pub discover: bool,
    /// The driver version that is loaded anew, or `same`.
    #[serde(default)]
    pub reload: Option<String>,
    /// The machine boots anew.
    #[serde(default)]
    pub reboot: bool,
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
    /// Which calls those are, and which nonsense `garbage` gives.
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
/// The calls that what befalls the node is counted by.
const ANYWHERE: &str = "nvml*";

/// Why a fault cannot be.
#[derive(Debug, Error)]
pub enum FaultError {
    /// None of the words for what happens, or more than one.
    #[error(
        "{count} effects; write one of hang, crash, return and garbage, each with a function, one of xid, lose, count, \
         memory-error, nvlink-down, nvlink-up, recover, set, drain and remove, each with `gpu`, or discover, reload or \
         reboot"
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
    /// What cannot befall this GPU, or not so; with the key that says so.
    #[error("{1}")]
    Befall(&'static str, String),
    /// A reading that cannot be set.
    #[error(transparent)]
    Setting(#[from] SettingError),
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
            ("garbage", self.garbage.is_some()),
            ("lose", self.lose.is_some()),
            ("xid", self.xid.is_some() && self.lose.is_none() && self.nvlink_down.is_none()),
            ("memory-error", self.memory_error.is_some()),
            ("nvlink-down", self.nvlink_down.is_some()),
            ("nvlink-up", self.nvlink_up.is_some()),
            ("recover", self.recover.is_some()),
            ("set", self.set.is_some()),
            ("drain", self.drain.is_some()),
            ("remove", self.remove),
            ("discover", self.discover),
            ("reload", self.reload.is_some()),
            ("reboot", self.reboot),
            ("count", self.count.is_some()),
        ];
        let mut named = keys.into_iter().filter_map(|(key, is_there)| is_there.then_some(key));
        named.next().filter(|_| named.next().is_none())
    }

    /// What is declared; its GPU is still as it was named.
    pub fn declared(self) -> Result<Declared, FaultError> {
        let befall = self.befall()?;
        if self.uninterruptible && self.hang.is_none() {
            let hint = "only a `hang` can be beyond the reach of signals; leave it out";
            return Err(FaultError::Befall("uninterruptible", hint.to_owned()));
        }
        let occurrence = match self.times {
            Some(0) => return Err(FaultError::Times),
            // A GPU is befallen once, unless it is said how often.
            None if befall.is_some() => Occurrence::Times(1),
            times => times.map_or(Occurrence::Always, Occurrence::Times),
        };
        let chance = match (self.probability, self.seed) {
            (None, Some(_)) if self.garbage.is_none() => return Err(FaultError::Seed),
            (probability, seed) => probability.map(|it| Chance::new(it, seed.unwrap_or(0))),
        };
        let waits_for_calls = self.after > 0 || self.times.is_some() || chance.is_some();
        if let (Some(_), Some(code)) = (&befall, &self.code) {
            return Err(FaultError::needless(code));
        }
        if let (Some(what), false) = (befall.clone(), waits_for_calls) {
            let at = self.at.unwrap_or(Moment::In(Delay::default()));
            return Ok(Declared::Incident(Incident { gpu: self.gpu, what, at }));
        }
        let named = self.functions().map(|(function, effect)| (function.clone(), effect));
        if befall == Some(Befall::Discover) && self.gpu.is_some() {
            let hint = "no call reaches a GPU that was removed; leave `gpu` out, or say by `at` when it is discovered";
            return Err(FaultError::Befall("gpu", hint.to_owned()));
        }
        let befalls = befall.map(|what| {
            let function = if what.is_of_the_node() { ANYWHERE } else { ON_A_GPU };
            (function.to_owned(), Effect::Befall(what))
        });
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

impl FaultEntry {
    /// The functions that are named, each with what happens to its calls; a code is still to come.
    pub(super) fn functions(&self) -> impl Iterator<Item = (&String, Effect)> {
        let seed = self.seed.unwrap_or(0);
        let effects = [
            (&self.hang, if self.uninterruptible { Effect::Freeze } else { Effect::Hang }),
            (&self.crash, Effect::Crash),
            (&self.r#return, Effect::Return(0)),
            (&self.garbage, Effect::Garbage { seed }),
        ];
        effects.into_iter().filter_map(|(function, effect)| Some((function.as_ref()?, effect)))
    }
}

impl Declared {
    /// Whether calls will hang beyond the reach of signals, for which the machine has to be made ready.
    pub fn freezes(&self) -> bool {
        matches!(self, Declared::Fault(Fault { effect: Effect::Freeze, .. }))
    }

    /// This, if it can be on a node with these GPUs, with the UUID of the one that it names.
    pub fn checked(self, gpus: &[Gpu]) -> Result<Declared, FaultError> {
        Ok(match self {
            Declared::Fault(fault) => Declared::Fault(fault.checked(gpus)?),
            Declared::Incident(incident) => {
                let gpu = incident.gpu.as_ref().map(|name| node::find_or_tell(gpus, name)).transpose()?;
                incident.what.check(gpu)?;
                Declared::Incident(Incident { gpu: gpu.map(|gpu| gpu.uuid.clone()), ..incident })
            }
        })
    }
}

impl Fault {
    /// This fault, if it can be on a node with these GPUs, with the UUID of the one that it names.
    pub fn checked(mut self, gpus: &[Gpu]) -> Result<Fault, FaultError> {
        functions::check(&self.function)?;
        if let (Effect::Return(_) | Effect::Garbage { .. }, "nvmlErrorString") =
            (&self.effect, self.function.as_str())
        {
            return Err(FaultError::ReturnsNoCode { function: self.function });
        }
        if let (Effect::Befall(what), None) = (&self.effect, &self.gpu) {
            what.check(None)?;
        }
        if let Some(name) = &self.gpu {
            let gpu = node::find_or_tell(gpus, name)?;
            if let Effect::Befall(what) = &self.effect {
                what.check(Some(gpu))?;
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
            FaultError::Befall(key, _) => Some(key),
            FaultError::Setting(_) => Some("set"),
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
