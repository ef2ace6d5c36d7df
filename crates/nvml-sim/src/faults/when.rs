//! When a fault strikes: a moment of the node's clock, and a part of the calls that is drawn by a seed. It knows numbers
//! and texts, no faults.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::latency::Delay;

/// A moment of the node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// So much later than the fault is added, or the node is made.
    In(Delay),
    /// A time, in microseconds since 1970.
    At(u64),
}

/// Text that is not a moment.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no moment; write a time span from now such as 90s, or a time such as 2026-01-31T12:00:00Z")]
pub struct ParseMomentError(String);

impl Moment {
    /// Whether the node's clock has come to it. A span that nobody began has not.
    pub fn is_reached(self, now_us: u64) -> bool {
        matches!(self, Moment::At(at) if at <= now_us)
    }

    /// Its time, in microseconds since 1970; none of a span that nobody began.
    pub fn time_us(self) -> Option<u64> {
        if let Moment::At(us) = self { Some(us) } else { None }
    }

    /// The same moment as a time, where spans count from `now_us`.
    pub fn from(self, now_us: u64) -> Moment {
        match self {
            Moment::In(Delay(span)) => {
                let span = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
                Moment::At(now_us.saturating_add(span))
            }
            at @ Moment::At(_) => at,
        }
    }
}

impl FromStr for Moment {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(span) = text.parse() {
            return Ok(Moment::In(span));
        }
        let time: Option<Timestamp> = text.parse().ok();
        let since_1970 = time.and_then(|time| u64::try_from(time.as_microsecond()).ok());
        since_1970.map(Moment::At).ok_or_else(|| ParseMomentError(text.to_owned()))
    }
}

impl TryFrom<String> for Moment {
    type Error = ParseMomentError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> String {
        moment.to_string()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::In(span) => write!(f, "{span}"),
            Moment::At(us) => {
                let time = i64::try_from(*us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
                write!(f, "{}", time.unwrap_or(Timestamp::MAX))
            }
        }
    }
}

/// A part of all calls, in millionths: between none and each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Probability(u32);

/// Text that is not a probability.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is no probability; write a number above 0 and up to 1, such as 0.05, or a percentage such as 5%"
)]
pub struct ParseProbabilityError(String);

const MILLION: u32 = 1_000_000;

impl FromStr for Probability {
    type Err = ParseProbabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (number, whole) = match text.strip_suffix('%') {
                Some(percent) => (percent, 100.0),
                None => (text, 1.0),
            };
            let part: f64 = number.trim_end().parse::<f64>().ok()? / whole;
            let millionths = (part * f64::from(MILLION)).round();
            (millionths >= 1.0 && part <= 1.0).then_some(Probability(millionths as u32))
        };
        parse().ok_or_else(|| ParseProbabilityError(text.to_owned()))
    }
}

impl TryFrom<String> for Probability {
    type Error = ParseProbabilityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Probability> for String {
    fn from(probability: Probability) -> String {
        probability.to_string()
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(MILLION))
    }
}

/// A sequence of draws. What a draw gives follows from the seed and its number alone, and the number is kept with the
/// fault: so all processes of a node draw from one sequence, which is the same in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Chance {
    /// How probable it is that a draw strikes.
    pub probability: Probability,
    /// Which sequence.
    pub seed: u64,
    /// Draws so far.
    pub drawn: u64,
}

impl Chance {
    /// A sequence from its beginning.
    pub fn new(probability: Probability, seed: u64) -> Chance {
        Chance { probability, seed, drawn: 0 }
    }

    /// The next draw.
    pub fn draw(&mut self) -> bool {
        let number = u128::from(spread(self.seed, self.drawn));
        self.drawn = self.drawn.wrapping_add(1);
        // The upper half of the product: the number as a part of all, in millionths.
        (number * u128::from(MILLION)) >> 64 < u128::from(self.probability.0)
    }
}

/// A number that looks random, of a seed and a position: SplitMix64.
pub fn spread(seed: u64, position: u64) -> u64 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    mix(mix(seed.wrapping_add(STEP)).wrapping_add(position.wrapping_add(1).wrapping_mul(STEP)))
}
