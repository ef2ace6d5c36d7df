//! Percentiles of measured durations.

use std::fmt;
use std::time::Duration;

/// Durations of one measure, sorted.
#[derive(Clone, Debug)]
pub struct Sample(Vec<Duration>);

impl Sample {
    /// A sample of at least one duration; `None` without any.
    pub fn new(mut durations: Vec<Duration>) -> Option<Sample> {
        durations.sort_unstable();
        (!durations.is_empty()).then_some(Sample(durations))
    }

    /// The smallest duration that at least `share` (0 to 1) of the sample does not exceed (nearest rank).
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// Half of the sample takes no longer.
    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// 99 of 100 take no longer.
    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.quantile(1.0)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {} / {}", Millis(self.median()), Millis(self.p99()), Millis(self.max()))
    }
}

/// A duration in milliseconds, with as many digits as it deserves.
pub struct Millis(pub Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_secs_f64() * 1e3;
        match ms {
            ..1.0 => write!(f, "{ms:.3}"),
            ..10.0 => write!(f, "{ms:.2}"),
            ..100.0 => write!(f, "{ms:.1}"),
            _ => write!(f, "{ms:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ms: impl IntoIterator<Item = u64>) -> Sample {
        Sample::new(ms.into_iter().map(Duration::from_millis).collect()).unwrap()
    }

    #[test]
    fn sample_of_a_hundred_has_its_percentiles_at_their_ranks() {
        let sample = sample((1..=100).rev());
        assert_eq!(sample.median(), Duration::from_millis(50));
        assert_eq!(sample.p99(), Duration::from_millis(99));
        assert_eq!(sample.max(), Duration::from_millis(100));
    }

    #[test]
    fn sample_of_one_is_every_percentile() {
        assert_eq!(sample([7]).p99(), Duration::from_millis(7));
        assert!(Sample::new(Vec::new()).is_none());
    }

    #[test]
    fn sample_printed_shows_median_p99_and_max_in_milliseconds() {
        assert_eq!(sample([1, 2, 300]).to_string(), "2.00 / 300 / 300");
    }
}
