//! Single values of a config: what can be written, and what it means.

use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// What MIG devices become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MigStrategy {
    /// Nothing: each GPU is offered whole.
    None,
    /// `nvidia.com/gpu`, where all are of one profile.
    Single,
    /// `nvidia.com/mig-<profile>`.
    Mixed,
}

/// How a container gets its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceListStrategy {
    /// The variable `NVIDIA_VISIBLE_DEVICES`.
    Envvar,
    /// Mounts below `/var/run/nvidia-container-devices`.
    VolumeMounts,
    /// CDI names in an annotation.
    CdiAnnotations,
    /// CDI names in the kubelet's answer.
    CdiCri,
}

/// What a device is called towards the container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceIdStrategy {
    /// Its UUID.
    Uuid,
    /// Its index.
    Index,
}

/// How GPUs are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiscoveryStrategy {
    /// As the machine allows.
    Auto,
    /// By NVML.
    Nvml,
    /// The integrated GPU of a Tegra machine.
    Tegra,
}

/// Which of several shares a container gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SharedPolicy {
    /// Those of the GPU that has the fewest taken.
    Distributed,
    /// Those of the GPU that has the most taken.
    Packed,
}

/// Time between two rounds of the feature discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepInterval {
    /// So long.
    Every(Duration),
    /// There is one round only.
    Infinite,
}

/// Units of Go's durations, in which NVIDIA's files are written, with their nanoseconds.
const GO_UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

impl FromStr for SleepInterval {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HINT: &str = "expected a time span such as 60s or 1h30m, or infinite";
        if text == "infinite" {
            return Ok(SleepInterval::Infinite);
        }
        let mut rest = text;
        let mut nanoseconds = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|sign: char| !sign.is_ascii_digit() && sign != '.').ok_or(HINT)?;
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|sign: char| sign.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let (_, size) = GO_UNITS.iter().find(|(name, _)| *name == unit).ok_or(HINT)?;
            nanoseconds += number.parse::<f64>().map_err(|_| HINT)? * size;
            rest = after;
        }
        let span = Duration::try_from_secs_f64(nanoseconds / 1e9).map_err(|_| HINT)?;
        if span.is_zero() { Err(HINT) } else { Ok(SleepInterval::Every(span)) }
    }
}

/// An amount of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory(pub u64);

const MEMORY_UNITS: [(&str, u64); 3] = [("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

impl FromStr for Memory {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (unit, size) = MEMORY_UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
            text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(*size).map(Memory)
        };
        parse().ok_or("expected a whole number of MiB, GiB or TiB, such as 40GiB")
    }
}

/// A CUDA compute capability, as major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComputeCapability(pub u32, pub u32);

impl FromStr for ComputeCapability {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(ComputeCapability(major.parse().ok()?, minor.parse().ok()?))
        };
        parse().ok_or("expected major and minor, quoted, such as \"8.0\"")
    }
}

/// From the one to the other, both within; open where absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    /// The lowest.
    pub min: Option<T>,
    /// The highest.
    pub max: Option<T>,
}

impl<T> Default for Range<T> {
    fn default() -> Self {
        Range { min: None, max: None }
    }
}

impl<T: PartialOrd> Range<T> {
    /// Whether a value is within.
    pub fn contains(&self, value: &T) -> bool {
        self.min.as_ref().is_none_or(|min| value >= min) && self.max.as_ref().is_none_or(|max| value <= max)
    }

    /// Whether every value is within.
    pub fn is_open(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_interval_is_a_go_duration_or_infinite() {
        let every = |seconds: f64| Ok(SleepInterval::Every(Duration::from_secs_f64(seconds)));
        assert_eq!("60s".parse(), every(60.0));
        assert_eq!("1h30m".parse(), every(5400.0));
        assert_eq!("1.5ms".parse(), every(0.0015));
        assert_eq!("infinite".parse(), Ok(SleepInterval::Infinite));
        for wrong in ["", "60", "s", "0s", "-1s", "1d", "forever", "1e400s", "NaNs"] {
            assert!(wrong.parse::<SleepInterval>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_and_compute_capability_need_their_form() {
        assert_eq!("40GiB".parse(), Ok(Memory(40 << 30)));
        assert_eq!("81920 MiB".parse(), Ok(Memory(80 << 30)));
        assert_eq!("10.0".parse(), Ok(ComputeCapability(10, 0)));
        assert!(ComputeCapability(9, 0) < ComputeCapability(10, 0));
        for wrong in ["40", "40GB", "GiB", "-1GiB", "99999999999TiB"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
        assert!("8".parse::<ComputeCapability>().is_err());
    }
}
