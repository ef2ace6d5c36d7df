//! The driver's buffers of samples, as `nvmlDeviceGetSamples` reads them: they follow from the load and the clock, so that
//! nothing is kept. It knows which samples there are.

use crate::code::Code;
use crate::counters::Quantity;
use crate::snapshot::GpuView;
use crate::telemetry::ENGINE_SAMPLE_US;

/// Samples that a buffer holds (assumed): twenty seconds.
const KEPT: u64 = 120;

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken, in microseconds since 1970.
    pub at_us: u64,
    /// Milliwatts, percent or MHz.
    pub value: u32,
}

impl GpuView<'_> {
    /// The samples of a kind (`nvmlSamplingType_t`) that are later than a time, the oldest first. A change of the GPU empties
    /// its buffers; `NOT_FOUND` where there are none.
    pub fn samples(&self, kind: u32, later_than_us: u64) -> Result<Vec<Sample>, Code> {
        let percent = |quantity| -> Result<Box<dyn Fn(u64) -> u32>, Code> {
            // As of utilisation itself, which NVML's documentation says of GPUs with MIG on.
            if self.is_mig_enabled() {
                return Err(Code::NOT_SUPPORTED);
            }
            let drive = self.drive();
            Ok(Box::new(move |us| {
                let rate = drive.average(quantity, ENGINE_SAMPLE_US.into(), us);
                u32::try_from((rate + 5) / 10).unwrap_or(100).min(100)
            }))
        };
        let drive = self.drive();
        let value: Box<dyn Fn(u64) -> u32 + '_> = match kind {
            0 => Box::new(|us| {
                let rate = drive.average(Quantity::Energy, ENGINE_SAMPLE_US.into(), us);
                u32::try_from(rate).unwrap_or(u32::MAX)
            }),
            1 => percent(Quantity::Busy)?,
            2 => percent(Quantity::Dram)?,
            3 => percent(Quantity::Encoder)?,
            4 => percent(Quantity::Decoder)?,
            5 => Box::new(|us| drive.at(us).clock_mhz),
            6 => Box::new(|us| self.memory_clock_at(us)),
            // Power of a whole module, which only Grace Hopper and its followers are.
            7 => return Err(Code::NOT_SUPPORTED),
            8 => self.has_jpeg().and(percent(Quantity::Jpeg))?,
            9 => self.has_jpeg().and(percent(Quantity::Ofa))?,
            _ => return Err(Code::INVALID_ARGUMENT),
        };
        let period = u64::from(ENGINE_SAMPLE_US);
        let last = self.now_us() / period;
        let first = last.saturating_sub(KEPT - 1);
        let times = (first..=last).map(|number| number * period);
        let times = times.filter(|us| *us > later_than_us && *us > drive.since_us());
        let samples: Vec<Sample> = times.map(|us| Sample { at_us: us, value: value(us) }).collect();
        if samples.is_empty() { Err(Code::NOT_FOUND) } else { Ok(samples) }
    }
}
