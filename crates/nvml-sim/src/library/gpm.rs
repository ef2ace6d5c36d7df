//! GPM samples of one process: allocated, filled, freed, each by a handle. It knows no metric.

use std::collections::BTreeMap;

use super::Library;
use super::handle::{self, Kind};
use crate::code::Code;
use crate::gpm::GpmSample;

/// The samples by number; one that was never filled is empty.
#[derive(Debug, Default)]
pub struct GpmSamples {
    samples: BTreeMap<u32, Option<GpmSample>>,
    made: u32,
}

impl Library {
    /// `nvmlGpmSampleAlloc`: the handle of an empty sample.
    pub fn make_gpm_sample(&self) -> Result<u64, Code> {
        self.snapshot()?;
        let mut process = self.process();
        process.gpm.made += 1;
        let number = process.gpm.made;
        process.gpm.samples.insert(number, None);
        Ok(handle::encode(Kind::GpmSample, number))
    }

    /// `nvmlGpmSampleFree`.
    pub fn free_gpm_sample(&self, sample: u64) -> Result<(), Code> {
        let number = handle::decode(Kind::GpmSample, sample)?;
        self.process().gpm.samples.remove(&number).map(|_| ()).ok_or(Code::INVALID_ARGUMENT)
    }

    /// Fills a sample.
    pub fn fill_gpm_sample(&self, sample: u64, taken: GpmSample) -> Result<(), Code> {
        let number = handle::decode(Kind::GpmSample, sample)?;
        let mut process = self.process();
        let place = process.gpm.samples.get_mut(&number).ok_or(Code::INVALID_ARGUMENT)?;
        *place = Some(taken);
        Ok(())
    }

    /// A sample that was filled.
    pub fn gpm_sample(&self, sample: u64) -> Result<GpmSample, Code> {
        let number = handle::decode(Kind::GpmSample, sample)?;
        let process = self.process();
        process.gpm.samples.get(&number).cloned().flatten().ok_or(Code::INVALID_ARGUMENT)
    }
}
