//! What this crate's client and its workers say to each other. One build on both sides, so no version.

use std::time::Duration;

use gpu_model::{DetailSet, GpuFailure};
use serde::{Deserialize, Serialize};

use crate::reach::Reach;
use crate::{Code, NvmlError};

/// Role that answers queries.
pub(crate) const QUERIES: &str = "nvml";

/// Role that waits for events.
pub(crate) const EVENTS: &str = "nvml-events";

/// A question to the role [`QUERIES`]; each has its own type of answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Query {
    pub about: Subject,
    /// The GPUs that may be touched.
    pub reach: Reach,
    /// GPUs that must not be asked, each with the failure to give in its place.
    pub skip: Vec<GpuFailure>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    Inventory,
    Details(DetailSet),
    Topology,
    Probe,
}

/// What the role [`EVENTS`] is asked: to push events until it cannot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Longest time of one wait.
    pub wait: Duration,
    /// The GPUs that may be touched.
    pub reach: Reach,
    /// GPUs that must not be touched, each with the failure to tell and for how long; without a time, not
    /// while this watch lives.
    pub skip: Vec<(GpuFailure, Option<Duration>)>,
}

/// A worker's answer.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// Why a worker has no answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Refusal {
    NoDriver { reason: String },
    VersionMismatch { call: String },
    NoPermission { call: String },
    NotSupported { reason: String },
    Call { call: String, code: Code },
    Garbage { reason: String },
}

impl From<Refusal> for NvmlError {
    fn from(refusal: Refusal) -> NvmlError {
        match refusal {
            Refusal::NoDriver { reason } => NvmlError::NoDriver { reason },
            Refusal::VersionMismatch { call } => NvmlError::VersionMismatch { call },
            Refusal::NoPermission { call } => NvmlError::NoPermission { call },
            Refusal::NotSupported { reason } => NvmlError::NotSupported { reason },
            Refusal::Call { call, code } => NvmlError::Call { call, code },
            Refusal::Garbage { reason } => NvmlError::Garbage { reason },
        }
    }
}
