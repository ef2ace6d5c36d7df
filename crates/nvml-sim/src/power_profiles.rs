//! Workload power profiles of Blackwell GPUs in data centres: which there are, what is requested, what comes of it. No power
//! follows from them.

use std::collections::BTreeSet;

use crate::code::{Code, numbered};
use crate::model::Architecture;
use crate::snapshot::GpuView;

/// Profiles that a GPU has: the numbers that NVML 13.0 names, but the last one, of MIG (assumed).
const PROFILES: std::ops::Range<u32> = 0..14;
/// Most performance, and most of it for its power: each excludes the other (assumed).
const MAX_P: u32 = 0;
const MAX_Q: u32 = 1;

/// A profile; its priority is its number (assumed), and the lower one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PowerProfile {
    /// The number, by `nvmlPowerProfileType_t`.
    pub id: u32,
    /// The profile that cannot be in force beside it.
    pub conflicts_with: Option<u32>,
}

/// What a program does to the requested profiles; numbers are `nvmlPowerProfileOperation_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileChange {
    /// Takes some away.
    Clear = 0,
    /// Adds some.
    Add = 1,
    /// Requests these alone.
    Replace = 2,
}

impl ProfileChange {
    /// The one of a number.
    pub fn from_number(number: u32) -> Result<ProfileChange, Code> {
        let all = [ProfileChange::Clear, ProfileChange::Add, ProfileChange::Replace];
        numbered(&all, number, |change| change as u32)
    }

    /// What is requested afterwards.
    pub fn of(self, requested: &BTreeSet<u32>, profiles: &BTreeSet<u32>) -> BTreeSet<u32> {
        match self {
            ProfileChange::Clear => requested - profiles,
            ProfileChange::Add => requested | profiles,
            ProfileChange::Replace => profiles.clone(),
        }
    }
}

fn conflict(id: u32) -> Option<u32> {
    match id {
        MAX_P => Some(MAX_Q),
        MAX_Q => Some(MAX_P),
        _ => None,
    }
}

impl GpuView<'_> {
    /// The profiles that the GPU has; `NOT_SUPPORTED` before Blackwell, and without the memory of data centre GPUs (assumed:
    /// NVIDIA names B200 and GB200).
    pub fn power_profiles(&self) -> Result<Vec<PowerProfile>, Code> {
        let model = &self.gpu.model;
        if model.architecture < Architecture::Blackwell || !model.has_hbm() {
            return Err(Code::NOT_SUPPORTED);
        }
        Ok(PROFILES.map(|id| PowerProfile { id, conflicts_with: conflict(id) }).collect())
    }

    /// The requested profiles.
    pub fn requested_power_profiles(&self) -> Result<BTreeSet<u32>, Code> {
        self.power_profiles()?;
        Ok(self.switches().map(|switches| switches.power_profiles.clone()).unwrap_or_default())
    }

    /// The requested profiles that are in force: of two that conflict, that of the lower number.
    pub fn enforced_power_profiles(&self) -> Result<BTreeSet<u32>, Code> {
        let requested = self.requested_power_profiles()?;
        let mut enforced = BTreeSet::new();
        for id in requested {
            if !conflict(id).is_some_and(|other| enforced.contains(&other)) {
                enforced.insert(id);
            }
        }
        Ok(enforced)
    }
}
