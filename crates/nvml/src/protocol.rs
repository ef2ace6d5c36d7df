//! What this crate's client and its workers say to each other. One build on both sides, so no version.

use serde::{Deserialize, Serialize};

use crate::{Code, NvmlError};

/// Role that answers queries.
pub(crate) const QUERIES: &str = "nvml";

/// Role that waits for events.
pub(crate) const EVENTS: &str = "nvml-events";

/// A question to the role [`QUERIES`]; each has its own type of answer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Query {
    Inventory,
    Topology,
    Probe,
}

/// What the role [`EVENTS`] is asked: to push events until it cannot.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Watch;

/// A worker's answer.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// Why a worker has no answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Refusal {
    NoDriver { reason: String },
    Call { call: String, code: Code },
    Garbage { reason: String },
}

impl From<Refusal> for NvmlError {
    fn from(refusal: Refusal) -> NvmlError {
        match refusal {
            Refusal::NoDriver { reason } => NvmlError::NoDriver { reason },
            Refusal::Call { call, code } => NvmlError::Call { call, code },
            Refusal::Garbage { reason } => NvmlError::Garbage { reason },
        }
    }
}
