//! What a GPU is busy with: named profiles and recorded series, each a curve over time. It knows when which activity
//! runs, not what a GPU of some model makes of it, and keeps no history.

mod activity;
mod curve;
mod profiles;
mod recording;

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use thiserror::Error;

pub use activity::Activity;
pub use curve::Curve;
pub use recording::{Point, Recording, RecordingError};

/// The load of a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Load {
    /// Nothing runs.
    #[default]
    Idle,
    /// A model is trained: steps of computing and exchanging gradients, and checkpoints.
    Training,
    /// A model serves requests: bursts, more of them by day than by night.
    Inference,
    /// What someone recorded or made up.
    Recorded(Recording),
}

/// Text that names no load.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no load; write idle, training or inference")]
pub struct ParseLoadError(String);

/// A moment of a GPU's load, by which the curve is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadTime {
    /// When the load began, in microseconds since 1970: a recorded series starts there.
    pub begun_us: u64,
    /// What tells GPUs of the same load apart.
    pub seed: u64,
}

impl Load {
    /// The curve.
    fn curve(&self) -> &Curve {
        match self {
            Load::Idle => profiles::idle(),
            Load::Training => profiles::training(),
            Load::Inference => profiles::inference(),
            Load::Recorded(recording) => recording.curve(),
        }
    }

    /// Where the curve is at a time. Profiles follow the clock itself, shifted a little for each GPU.
    fn position(&self, time: LoadTime, us: u64) -> u64 {
        match self {
            Load::Idle => us,
            Load::Training => us.saturating_add(time.seed % profiles::TRAINING_SKEW_US),
            Load::Inference => us.saturating_add(time.seed % profiles::INFERENCE_SKEW_US),
            Load::Recorded(_) => us.saturating_sub(time.begun_us),
        }
    }

    /// What runs at a time, in microseconds since 1970.
    pub fn at(&self, time: LoadTime, us: u64) -> &Activity {
        self.curve().at(self.position(time, us))
    }

    /// Tells each activity that runs between two times, with its microseconds there.
    pub fn spent<'a>(
        &'a self,
        time: LoadTime,
        from_us: u64,
        to_us: u64,
        tell: impl FnMut(&'a Activity, u64),
    ) {
        self.curve().spent(self.position(time, from_us), self.position(time, to_us), tell);
    }
}

impl FromStr for Load {
    type Err = ParseLoadError;

    fn from_str(text: &str) -> Result<Load, ParseLoadError> {
        match text {
            "idle" => Ok(Load::Idle),
            "training" => Ok(Load::Training),
            "inference" => Ok(Load::Inference),
            other => Err(ParseLoadError(other.to_owned())),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Load::Idle => "idle",
            Load::Training => "training",
            Load::Inference => "inference",
            Load::Recorded(_) => "recorded",
        })
    }
}

impl Serialize for Load {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Load::Recorded(recording) => recording.serialize(serializer),
            named => serializer.collect_str(named),
        }
    }
}

impl<'de> Deserialize<'de> for Load {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LoadVisitor)
    }
}

struct LoadVisitor;

impl<'de> Visitor<'de> for LoadVisitor {
    type Value = Load;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("idle, training, inference, or a recorded series with its points")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Load, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Load, A::Error> {
        Recording::deserialize(MapAccessDeserializer::new(map)).map(Load::Recorded)
    }
}
