//! The words of a GPU model's file: brand, architecture, compute capability. It knows how they are written and how
//! NVML numbers them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The brand of a GPU; numbers are `nvmlBrandType_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Brand {
    /// Quadro.
    Quadro = 1,
    /// Tesla.
    Tesla = 2,
    /// GeForce.
    Geforce = 5,
    /// NVIDIA RTX.
    NvidiaRtx = 13,
    /// NVIDIA, the brand of data centre GPUs since Ampere.
    Nvidia = 14,
    /// GeForce RTX.
    GeforceRtx = 15,
}

impl Brand {
    /// Whether it is one of those for players.
    pub fn is_geforce(self) -> bool {
        matches!(self, Brand::Geforce | Brand::GeforceRtx)
    }
}

/// The architecture of a GPU; numbers are `NVML_DEVICE_ARCH_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// Kepler.
    Kepler = 2,
    /// Maxwell.
    Maxwell = 3,
    /// Pascal.
    Pascal = 4,
    /// Volta.
    Volta = 5,
    /// Turing.
    Turing = 6,
    /// Ampere.
    Ampere = 7,
    /// Ada.
    Ada = 8,
    /// Hopper.
    Hopper = 9,
    /// Blackwell.
    Blackwell = 10,
    /// Rubin.
    Rubin = 13,
}

/// A CUDA compute capability such as `8.0`, written as quoted text so that YAML does not make it a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComputeCapability {
    /// The part before the point.
    pub major: u8,
    /// The part after the point.
    pub minor: u8,
}

/// Text that is not a compute capability.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a compute capability; write major and minor, quoted, such as \"8.0\"")]
pub struct ParseComputeCapabilityError(String);

impl FromStr for ComputeCapability {
    type Err = ParseComputeCapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(ComputeCapability { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        parse().ok_or_else(|| ParseComputeCapabilityError(text.to_owned()))
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl TryFrom<String> for ComputeCapability {
    type Error = ParseComputeCapabilityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ComputeCapability> for String {
    fn from(capability: ComputeCapability) -> String {
        capability.to_string()
    }
}
