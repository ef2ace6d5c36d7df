//! A recorded series: points in time, each of which holds until the next. It knows how a series is written and which can
//! be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::activity::{Activity, NOTHING};
use super::curve::{Block, Curve, Phase, Then};
use crate::latency::Delay;

/// A recorded load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", try_from = "Written")]
pub struct Recording {
    /// The points by time.
    points: Vec<Point>,
    /// When it begins anew; the last point holds for ever where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_after: Option<Delay>,
    #[serde(skip)]
    curve: Curve,
}

/// A recorded load.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    /// What holds when, in order of time, the first at `0s`.
    points: Vec<Point>,
    /// After how long the series begins anew; its last point holds for ever where absent.
    #[serde(default)]
    repeat_after: Option<Delay>,
}

/// A point of a recorded load: what holds from then on, percent where nothing else is said, 0 where absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Point {
    /// Since the series began.
    pub at: Delay,
    /// Time that kernels run.
    pub gpu: u32,
    /// Time that memory is read or written.
    pub memory: u32,
    /// Frame buffer in use, of what processes can use.
    pub memory_used: u32,
    /// Multiprocessors with work; as `gpu` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sm: Option<u32>,
    /// Tensor cores.
    pub tensor: u32,
    /// FP64 pipes.
    pub fp64: u32,
    /// FP32 pipes.
    pub fp32: u32,
    /// FP16 pipes.
    pub fp16: u32,
    /// PCIe bandwidth, to the machine.
    pub pcie_tx: u32,
    /// PCIe bandwidth, from the machine.
    pub pcie_rx: u32,
    /// Bandwidth of each NVLink, both ways.
    pub nvlink: u32,
    /// Encoders.
    pub encoder: u32,
    /// Decoders.
    pub decoder: u32,
    /// JPEG decoders.
    pub jpeg: u32,
    /// Optical flow engine.
    pub ofa: u32,
    /// Watts drawn; as the rest of the point asks for where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<u32>,
}

/// A series that cannot be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RecordingError {
    /// No points.
    #[error("a recorded load needs points; write at least {{at: 0s, gpu: 50}}")]
    Empty,
    /// The first point comes late.
    #[error("the first point is at {0}; a series begins at 0s")]
    Start(Delay),
    /// Times that do not rise.
    #[error("a point at {0} follows one at {1}; write them in order of time, each later than the one before")]
    Order(Delay, Delay),
    /// Begins anew before its end.
    #[error("repeat-after {0} is not later than the last point, which is at {1}")]
    Repeat(Delay, Delay),
    /// More than all.
    #[error("{0} percent of {1} at {2}; write 0 to 100")]
    Percent(u32, &'static str, Delay),
    /// More than any GPU draws.
    #[error("{0} W at {1}; write 0 to 10000")]
    Power(u32, Delay),
}

fn us(delay: Delay) -> u64 {
    u64::try_from(delay.0.as_micros()).unwrap_or(u64::MAX)
}

impl TryFrom<Written> for Recording {
    type Error = RecordingError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        Recording::new(written.points, written.repeat_after)
    }
}

impl Recording {
    /// A series, if it can be.
    pub fn new(points: Vec<Point>, repeat_after: Option<Delay>) -> Result<Recording, RecordingError> {
        let (first, last) = points.first().zip(points.last()).ok_or(RecordingError::Empty)?;
        if us(first.at) != 0 {
            return Err(RecordingError::Start(first.at));
        }
        for (before, after) in points.iter().zip(points.iter().skip(1)) {
            if us(after.at) <= us(before.at) {
                return Err(RecordingError::Order(after.at, before.at));
            }
        }
        if let Some(repeat) = repeat_after.filter(|repeat| us(*repeat) <= us(last.at)) {
            return Err(RecordingError::Repeat(repeat, last.at));
        }
        points.iter().try_for_each(Point::check)?;
        // The last point's own length; where it holds for ever, any will do.
        let end = repeat_after.map_or(us(last.at) + 1, us);
        let ends = points.iter().skip(1).map(|point| us(point.at)).chain([end]);
        let phase =
            |(point, end): (&Point, u64)| Phase { us: end - us(point.at), activity: point.activity() };
        let phases = points.iter().zip(ends).map(phase).collect();
        let then = if repeat_after.is_some() { Then::Repeat } else { Then::Hold };
        let curve = Curve::new(vec![Block { times: 1, phases }], then);
        Ok(Recording { points, repeat_after, curve })
    }

    /// The curve.
    pub fn curve(&self) -> &Curve {
        &self.curve
    }
}

impl Point {
    fn check(&self) -> Result<(), RecordingError> {
        let percents = [
            ("gpu", self.gpu),
            ("memory", self.memory),
            ("memory-used", self.memory_used),
            ("sm", self.sm.unwrap_or(0)),
            ("tensor", self.tensor),
            ("fp64", self.fp64),
            ("fp32", self.fp32),
            ("fp16", self.fp16),
            ("pcie-tx", self.pcie_tx),
            ("pcie-rx", self.pcie_rx),
            ("nvlink", self.nvlink),
            ("encoder", self.encoder),
            ("decoder", self.decoder),
            ("jpeg", self.jpeg),
            ("ofa", self.ofa),
        ];
        if let Some((key, percent)) = percents.into_iter().find(|(_, percent)| *percent > 100) {
            return Err(RecordingError::Percent(percent, key, self.at));
        }
        match self.power {
            Some(watts) if watts > 10_000 => Err(RecordingError::Power(watts, self.at)),
            _ => Ok(()),
        }
    }

    fn activity(&self) -> Activity {
        let sm = self.sm.unwrap_or(self.gpu) * 10;
        Activity {
            busy: self.gpu * 10,
            sm,
            occupancy: sm / 2,
            tensor: self.tensor * 10,
            fp64: self.fp64 * 10,
            fp32: self.fp32 * 10,
            fp16: self.fp16 * 10,
            dram: self.memory * 10,
            memory_used: self.memory_used * 10,
            pcie_tx: self.pcie_tx * 10,
            pcie_rx: self.pcie_rx * 10,
            nvlink_tx: self.nvlink * 10,
            nvlink_rx: self.nvlink * 10,
            encoder: self.encoder * 10,
            decoder: self.decoder * 10,
            jpeg: self.jpeg * 10,
            ofa: self.ofa * 10,
            power_watts: self.power,
            ..NOTHING
        }
    }
}
