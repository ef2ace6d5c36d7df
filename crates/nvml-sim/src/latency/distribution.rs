//! How long one kind of call takes: always the same, or as a distribution says. A draw follows from a seed and its
//! number, so that a run can be repeated. It knows time spans, no functions.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{DELAY_MAX_SECONDS, Delay};
use crate::faults::spread;

/// Time spans as people write them: one (`5ms`), or how they are spread (`normal(5ms, 1ms)`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Distribution {
    /// Always the same.
    Fixed(Delay),
    /// Anything between two, each as probable.
    Uniform(Delay, Delay),
    /// Around a mean, by a standard deviation; never below none.
    Normal(Delay, Delay),
    /// Half below a median, and one in a hundred above a second span: mostly short, sometimes long.
    Lognormal(Delay, Delay),
    /// One of these.
    Recorded(Vec<Delay>),
}

/// Text that is not a distribution.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is no time span or distribution; write 0.1ms, uniform(1ms, 5ms), normal(5ms, 1ms) with mean and deviation, \
     lognormal(5ms, 40ms) with median and 99th percentile, or recorded(1ms, 1ms, 7ms)"
)]
pub struct ParseDistributionError(String);

/// The 99th percentile of the standard normal distribution.
const P99: f64 = 2.326_347_874;

impl Distribution {
    /// The draw of a number.
    pub fn draw(&self, seed: u64, number: u64) -> Duration {
        let part = |of: u64| spread(seed, number.wrapping_mul(2).wrapping_add(of)) as f64 / 2_f64.powi(64);
        let seconds = |delay: &Delay| delay.0.as_secs_f64();
        // Box and Muller's way from two even draws to a normal one.
        let normal = || {
            (-2.0 * (1.0 - part(0)).max(f64::MIN_POSITIVE).ln()).sqrt()
                * (std::f64::consts::TAU * part(1)).cos()
        };
        let drawn = match self {
            Distribution::Fixed(delay) => return delay.0,
            Distribution::Recorded(delays) => {
                let at = (part(0) * delays.len() as f64) as usize;
                return delays.get(at.min(delays.len().saturating_sub(1))).copied().unwrap_or_default().0;
            }
            Distribution::Uniform(from, to) => seconds(from) + part(0) * (seconds(to) - seconds(from)),
            Distribution::Normal(mean, deviation) => seconds(mean) + normal() * seconds(deviation),
            Distribution::Lognormal(median, p99) => {
                seconds(median) * (normal() * sigma(seconds(median), seconds(p99))).exp()
            }
        };
        Duration::from_secs_f64(drawn.clamp(0.0, DELAY_MAX_SECONDS))
    }

    /// What draws come to on average; of a normal distribution, as if none were cut at zero.
    pub fn mean(&self) -> Duration {
        match self {
            Distribution::Fixed(delay) | Distribution::Normal(delay, _) => delay.0,
            Distribution::Uniform(from, to) => (from.0 + to.0) / 2,
            Distribution::Recorded(delays) => {
                let count = u32::try_from(delays.len()).unwrap_or(u32::MAX).max(1);
                delays.iter().map(|delay| delay.0).sum::<Duration>() / count
            }
            Distribution::Lognormal(median, p99) => {
                let sigma = sigma(median.0.as_secs_f64(), p99.0.as_secs_f64());
                let mean = median.0.as_secs_f64() * (sigma * sigma / 2.0).exp();
                Duration::from_secs_f64(mean.clamp(0.0, DELAY_MAX_SECONDS))
            }
        }
    }
}

/// The deviation of the logarithm.
fn sigma(median: f64, p99: f64) -> f64 {
    (p99 / median).ln() / P99
}

impl Default for Distribution {
    fn default() -> Distribution {
        Distribution::Fixed(Delay::default())
    }
}

impl From<Delay> for Distribution {
    fn from(delay: Delay) -> Distribution {
        Distribution::Fixed(delay)
    }
}

impl FromStr for Distribution {
    type Err = ParseDistributionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let Some((name, rest)) = text.split_once('(') else {
                return text.parse().ok().map(Distribution::Fixed);
            };
            let spans: Result<Vec<Delay>, _> =
                rest.strip_suffix(')')?.split(',').map(|span| span.trim().parse()).collect();
            let spans = spans.ok()?;
            Some(match (name.trim(), spans.as_slice()) {
                ("uniform", [from, to]) if from <= to => Distribution::Uniform(*from, *to),
                ("normal", [mean, deviation]) => Distribution::Normal(*mean, *deviation),
                ("lognormal", [median, p99]) if *median > Delay::default() && median <= p99 => {
                    Distribution::Lognormal(*median, *p99)
                }
                ("recorded", _) => Distribution::Recorded(spans),
                _ => return None,
            })
        };
        parse().ok_or_else(|| ParseDistributionError(text.to_owned()))
    }
}

impl TryFrom<String> for Distribution {
    type Error = ParseDistributionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Distribution> for String {
    fn from(distribution: Distribution) -> String {
        distribution.to_string()
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distribution::Fixed(delay) => write!(f, "{delay}"),
            Distribution::Uniform(from, to) => write!(f, "uniform({from}, {to})"),
            Distribution::Normal(mean, deviation) => write!(f, "normal({mean}, {deviation})"),
            Distribution::Lognormal(median, p99) => write!(f, "lognormal({median}, {p99})"),
            Distribution::Recorded(delays) => {
                let delays: Vec<_> = delays.iter().map(Delay::to_string).collect();
                write!(f, "recorded({})", delays.join(", "))
            }
        }
    }
}
