//! Readings of one GPU that a person has set: what `nvml-sim set` can say. It knows keys and ranges, not how a
//! reading is asked for.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bytes::Bytes;
use crate::model::Model;

/// Readings that replace the model's idle ones.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Overrides {
    /// Degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<u32>,
    /// Percent of time that kernels ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_gpu: Option<u32>,
    /// Percent of time that memory was read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_memory: Option<u32>,
    /// Watts drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<u32>,
    /// Frame buffer used by processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<Bytes>,
    /// Whether the driver stays loaded without clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence_mode: Option<bool>,
    /// What the driver says must be done with the GPU (field 230).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_action: Option<RecoveryAction>,
}

/// What the driver says must be done with a GPU; numbers are `nvmlDeviceGpuRecoveryAction_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryAction {
    /// Nothing.
    None = 0,
    /// Reset the GPU.
    Reset = 1,
    /// Reboot the machine.
    Reboot = 2,
    /// Let work finish first, then reset at point-to-point level.
    DrainP2p = 3,
    /// Let work finish, then reset.
    DrainAndReset = 4,
}

/// A setting that cannot be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingError {
    /// No such key.
    #[error("`{key}` cannot be set; known keys are {}", KEYS.join(", "))]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A value that the key does not take.
    #[error("`{value}` is no value for {key}: {hint}")]
    Value {
        /// The key.
        key: String,
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

/// Keys of one GPU.
pub const KEYS: &[&str] = &[
    "temperature",
    "utilization-gpu",
    "utilization-memory",
    "power",
    "memory-used",
    "persistence-mode",
    "recovery-action",
];

impl Overrides {
    /// Sets a key of a GPU of `model` from text; empty text gives the key back to the model.
    pub fn set(&mut self, key: &str, value: &str, model: &Model) -> Result<(), SettingError> {
        let field = Field { key, value };
        match key {
            "temperature" => self.temperature = field.number(0..=200, "degrees Celsius from 0 to 200")?,
            "utilization-gpu" => self.utilization_gpu = field.number(0..=100, "percent from 0 to 100")?,
            "utilization-memory" => {
                self.utilization_memory = field.number(0..=100, "percent from 0 to 100")?
            }
            "power" => self.power = field.number(0..=10_000, "watts from 0 to 10000")?,
            "memory-used" => {
                let used = field.parse("an amount such as 10GiB")?;
                let most = model.memory_usable();
                if used.is_some_and(|used| used > most) {
                    return Err(SettingError::Memory { value: value.to_owned(), most, memory: model.memory });
                }
                self.memory_used = used;
            }
            "persistence-mode" => {
                self.persistence_mode = field.choice(&[("on", true), ("off", false)], "on or off")?;
            }
            "recovery-action" => {
                let actions = [
                    ("none", RecoveryAction::None),
                    ("reset", RecoveryAction::Reset),
                    ("reboot", RecoveryAction::Reboot),
                    ("drain-p2p", RecoveryAction::DrainP2p),
                    ("drain-and-reset", RecoveryAction::DrainAndReset),
                ];
                self.recovery_action =
                    field.choice(&actions, "none, reset, reboot, drain-p2p or drain-and-reset")?;
            }
            _ => return Err(SettingError::UnknownKey { key: key.to_owned() }),
        }
        Ok(())
    }
}

/// A key and the text for it.
struct Field<'a> {
    key: &'a str,
    value: &'a str,
}

impl Field<'_> {
    fn wrong(&self, hint: &'static str) -> SettingError {
        SettingError::Value { key: self.key.to_owned(), value: self.value.to_owned(), hint }
    }

    fn parse<T: FromStr>(&self, hint: &'static str) -> Result<Option<T>, SettingError> {
        match self.value {
            "" => Ok(None),
            value => value.parse().map(Some).map_err(|_| self.wrong(hint)),
        }
    }

    fn number(
        &self,
        range: std::ops::RangeInclusive<u32>,
        hint: &'static str,
    ) -> Result<Option<u32>, SettingError> {
        match self.parse::<u32>(hint)? {
            Some(number) if !range.contains(&number) => Err(self.wrong(hint)),
            number => Ok(number),
        }
    }

    fn choice<T: Copy>(&self, choices: &[(&str, T)], hint: &'static str) -> Result<Option<T>, SettingError> {
        if self.value.is_empty() {
            return Ok(None);
        }
        let found = choices.iter().find(|(name, _)| *name == self.value);
        found.map(|(_, value)| Some(*value)).ok_or_else(|| self.wrong(hint))
    }
}
