//! How long calls take: one delay for all functions, and others for some functions and GPUs. It knows names, not what
//! functions do, and it does not wait itself.

mod distribution;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use distribution::{Distribution, ParseDistributionError};

/// Delays per call.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Latency {
    /// The delay of every call that `functions` does not name.
    #[serde(default)]
    pub default: Distribution,
    /// Function name, or its beginning and `*` -> delay. The longest name that fits wins, a whole one
    /// before a beginning.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<String, Distribution>,
    /// GPU -> delays of the calls that take its handle first, before those of any GPU. A node file names a GPU by index,
    /// UUID or PCI address; once checked, it is the UUID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpus: BTreeMap<String, GpuLatency>,
    /// Which draws are made of distributions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seed: u64,
}

/// Delays of calls on one GPU.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GpuLatency {
    /// The delay of every call that `functions` does not name; as of any GPU where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Distribution>,
    /// Function name, or its beginning and `*` -> delay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<String, Distribution>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A time span as people write it: `0.1ms`, `250us`, `2s`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delay(pub Duration);

/// Text that is not a time span.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a time span below a day; write a number with us, ms, s, m or h, such as 0.1ms")]
pub struct ParseDelayError(String);

const UNITS: [(&str, f64); 5] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
const DELAY_MAX_SECONDS: f64 = 86_400.0;

impl Latency {
    /// The delay of a function's calls, on a GPU (by UUID) or on none.
    pub fn of(&self, function: &str, gpu: Option<&str>) -> &Distribution {
        let own = gpu.and_then(|gpu| self.gpus.get(gpu));
        let of_gpu = own.and_then(|own| nearest(&own.functions, function).or(own.default.as_ref()));
        of_gpu.or_else(|| nearest(&self.functions, function)).unwrap_or(&self.default)
    }
}

fn nearest<'a>(functions: &'a BTreeMap<String, Distribution>, function: &str) -> Option<&'a Distribution> {
    let named = functions.iter().filter(|(pattern, _)| fits(pattern, function));
    let rank = |pattern: &str| (pattern.trim_end_matches('*').len(), !pattern.ends_with('*'));
    named.max_by_key(|(pattern, _)| rank(pattern)).map(|(_, delay)| delay)
}

/// Whether a function name is `pattern`, or begins with it where it ends in `*`.
pub fn fits(pattern: &str, function: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => function.starts_with(beginning),
        None => pattern == function,
    }
}

impl FromStr for Delay {
    type Err = ParseDelayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "0" {
            return Ok(Delay::default());
        }
        UNITS
            .iter()
            .find_map(|(unit, seconds)| {
                let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
                let total = number * seconds;
                (0.0..=DELAY_MAX_SECONDS).contains(&total).then(|| Delay(Duration::from_secs_f64(total)))
            })
            .ok_or_else(|| ParseDelayError(text.to_owned()))
    }
}

impl TryFrom<String> for Delay {
    type Error = ParseDelayError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Delay> for String {
    fn from(delay: Delay) -> String {
        delay.to_string()
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_nanos() as f64 / 1e3;
        match us {
            0.0 => write!(f, "0"),
            us if us < 1e3 => write!(f, "{us}us"),
            us if us < 1e6 => write!(f, "{}ms", us / 1e3),
            us => write!(f, "{}s", us / 1e6),
        }
    }
}
