//! What `nvml-sim set` can say of one GPU: one table of keys, of the values that they take, and of what they change.
//! It knows how text becomes a value, not how a reading is asked for.

use std::ops::RangeInclusive;
use std::str::FromStr;

use thiserror::Error;

use crate::bytes::Bytes;
use crate::fabric::{FabricHealth, FabricState};
use crate::model::Model;
use crate::modes::{ComputeMode, Modes};
use crate::overrides::{Overrides, RecoveryAction};

/// A setting that cannot be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingError {
    /// No such key.
    #[error("`{key}` cannot be set; known keys are {}", keys())]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A value that the key does not take.
    #[error("`{value}` is no value for {key}: {hint}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What would be right.
        hint: &'static str,
    },
    /// More memory than processes can use.
    #[error(
        "`{value}` is no value for memory-used: at most {most} of the GPU's {memory}, the rest is reserved"
    )]
    Memory {
        /// The value.
        value: String,
        /// What processes can use.
        most: Bytes,
        /// What the GPU has.
        memory: Bytes,
    },
}

/// A key of one GPU.
#[derive(Debug)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// The values that it takes, in words.
    pub values: &'static str,
    apply: fn(&Value<'_>, Target<'_>) -> Result<(), SettingError>,
}

/// What settings of one GPU change.
#[derive(Debug)]
pub struct Target<'a> {
    /// Its model.
    pub model: &'a Model,
    /// Its readings.
    pub readings: &'a mut Overrides,
    /// Its modes.
    pub modes: &'a mut Modes,
}

/// Every key of one GPU. Empty text gives a key back to the model, or to a driver that was just loaded.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "temperature",
        values: "degrees Celsius from 0 to 200",
        apply: |value, to| value.number(0..=200).map(|it| to.readings.temperature = it),
    },
    Setting {
        key: "utilization-gpu",
        values: "percent from 0 to 100",
        apply: |value, to| value.number(0..=100).map(|it| to.readings.utilization_gpu = it),
    },
    Setting {
        key: "utilization-memory",
        values: "percent from 0 to 100",
        apply: |value, to| value.number(0..=100).map(|it| to.readings.utilization_memory = it),
    },
    Setting {
        key: "power",
        values: "watts from 0 to 10000",
        apply: |value, to| value.number(0..=10_000).map(|it| to.readings.power = it),
    },
    Setting {
        key: "load",
        values: "idle, training or inference",
        apply: |value, to| value.parse().map(|it| to.readings.load = it),
    },
    Setting {
        key: "throttle",
        values: "clocks event reasons such as hw-power-brake,sync-boost",
        apply: |value, to| value.parse().map(|it| to.readings.throttle = it),
    },
    Setting { key: "memory-used", values: "an amount such as 10GiB", apply: set_memory_used },
    Setting {
        key: "persistence-mode",
        values: "on or off",
        apply: |value, to| {
            let on = value.choice(&[("on", true), ("off", false)])?;
            to.modes.persistence_mode = on.unwrap_or(Modes::initial().persistence_mode);
            Ok(())
        },
    },
    Setting {
        key: "compute-mode",
        values: "default, exclusive-process or prohibited",
        apply: |value, to| {
            let modes = [
                ("default", ComputeMode::Default),
                ("exclusive-process", ComputeMode::ExclusiveProcess),
                ("prohibited", ComputeMode::Prohibited),
            ];
            to.modes.compute_mode = value.choice(&modes)?.unwrap_or_default();
            Ok(())
        },
    },
    Setting {
        key: "accounting-mode",
        values: "on or off",
        apply: |value, to| {
            to.modes.set_accounting(value.choice(&[("on", true), ("off", false)])?.unwrap_or(false));
            Ok(())
        },
    },
    Setting {
        key: "recovery-action",
        values: "none, reset, reboot, drain-p2p or drain-and-reset",
        apply: |value, to| {
            let actions = [
                ("none", RecoveryAction::None),
                ("reset", RecoveryAction::Reset),
                ("reboot", RecoveryAction::Reboot),
                ("drain-p2p", RecoveryAction::DrainP2p),
                ("drain-and-reset", RecoveryAction::DrainAndReset),
            ];
            value.choice(&actions).map(|it| to.readings.recovery_action = it)
        },
    },
    Setting {
        key: "fabric-state",
        values: "not-started, in-progress, completed or failed",
        apply: |value, to| {
            let states = [
                ("not-started", FabricState::NotStarted),
                ("in-progress", FabricState::InProgress),
                ("completed", FabricState::Completed),
                ("failed", FabricState::Failed),
            ];
            value.choice(&states).map(|it| to.readings.fabric_state = it)
        },
    },
    Setting {
        key: "fabric-health",
        values: "healthy, degraded-bandwidth, route-recovery, route-unhealthy, access-timeout or no-partition",
        apply: |value, to| {
            let healths = [
                ("healthy", FabricHealth::Healthy),
                ("degraded-bandwidth", FabricHealth::DegradedBandwidth),
                ("route-recovery", FabricHealth::RouteRecovery),
                ("route-unhealthy", FabricHealth::RouteUnhealthy),
                ("access-timeout", FabricHealth::AccessTimeout),
                ("no-partition", FabricHealth::NoPartition),
            ];
            value.choice(&healths).map(|it| to.readings.fabric_health = it)
        },
    },
];

fn set_memory_used(value: &Value<'_>, to: Target<'_>) -> Result<(), SettingError> {
    let used = value.parse::<Bytes>()?;
    let most = to.model.memory_usable();
    if used.is_some_and(|used| used > most) {
        return Err(SettingError::Memory { value: value.text.to_owned(), most, memory: to.model.memory });
    }
    to.readings.memory_used = used;
    Ok(())
}

/// The keys as one line for a hint.
pub fn keys() -> String {
    SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>().join(", ")
}

/// Sets a key from text.
pub fn set(key: &str, text: &str, target: Target<'_>) -> Result<(), SettingError> {
    let setting = SETTINGS.iter().find(|setting| setting.key == key);
    let setting = setting.ok_or_else(|| SettingError::UnknownKey { key: key.to_owned() })?;
    (setting.apply)(&Value { setting, text }, target)
}

/// The text for a key.
struct Value<'a> {
    setting: &'static Setting,
    text: &'a str,
}

impl Value<'_> {
    fn wrong(&self) -> SettingError {
        let Setting { key, values, .. } = self.setting;
        SettingError::Value { key, value: self.text.to_owned(), hint: values }
    }

    fn parse<T: FromStr>(&self) -> Result<Option<T>, SettingError> {
        match self.text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| self.wrong()),
        }
    }

    fn number(&self, range: RangeInclusive<u32>) -> Result<Option<u32>, SettingError> {
        match self.parse::<u32>()? {
            Some(number) if !range.contains(&number) => Err(self.wrong()),
            number => Ok(number),
        }
    }

    fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<Option<T>, SettingError> {
        if self.text.is_empty() {
            return Ok(None);
        }
        let found = choices.iter().find(|(name, _)| *name == self.text);
        found.map(|(_, value)| Some(*value)).ok_or_else(|| self.wrong())
    }
}
