//! Percentiles of what was measured.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

/// What one measure gave, sorted; never empty.
#[derive(Clone, Debug)]
pub struct Sample<T>(Vec<T>);

impl<T: Ord + Copy> Sample<T> {
    /// A sample.
    ///
    /// # Errors
    /// There is nothing in it.
    pub fn new(mut values: Vec<T>) -> Result<Sample<T>> {
        ensure!(!values.is_empty(), "nothing was measured");
        values.sort_unstable();
        Ok(Sample(values))
    }

    /// The smallest value that at least `share` (0 to 1) of the sample does not exceed (nearest rank).
    fn quantile(&self, share: f64) -> T {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// Half of the sample is no larger.
    pub fn median(&self) -> T {
        self.quantile(0.5)
    }

    /// 99 of 100 are no larger.
    pub fn p99(&self) -> T {
        self.quantile(0.99)
    }

    /// The smallest.
    pub fn min(&self) -> T {
        self.quantile(0.0)
    }

    /// The largest.
    pub fn max(&self) -> T {
        self.quantile(1.0)
    }
}

impl Sample<Duration> {
    /// The same without a span that each of them contains.
    pub fn less(&self, span: Duration) -> Sample<Duration> {
        Sample(self.0.iter().map(|duration| duration.saturating_sub(span)).collect())
    }
}

impl fmt::Display for Sample<Duration> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, max] = [self.median(), self.p99(), self.max()].map(Millis);
        write!(f, "{median} / {p99} / {max} of {}", self.0.len())
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

    fn sample(ms: impl IntoIterator<Item = u64>) -> Sample<Duration> {
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
    fn sample_of_one_is_every_percentile_and_of_none_an_error() {
        assert_eq!(sample([7]).p99(), Duration::from_millis(7));
        assert!(Sample::<u64>::new(Vec::new()).is_err());
    }

    #[test]
    fn sample_printed_shows_median_p99_max_and_its_size() {
        assert_eq!(sample([1, 2, 300]).to_string(), "2.00 / 300 / 300 of 3");
    }
}
