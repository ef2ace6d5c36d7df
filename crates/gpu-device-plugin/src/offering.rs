//! What is to be offered, and how: the settings that a config file may change while the plugin runs. Pure: flags and
//! file in, one value out.
//!
//! A flag counts before its variable, both before the file, and the file before the default.

use std::sync::Arc;

use gpu_config::{Config, DeviceFilter, GpuRule, MigRule, MigStrategy, SharedPolicy, TimeSlicing};

use crate::injection::{Injection, InjectionError, InjectionFlags};
use crate::state::Terms;

/// What flags and variables say; none where they say nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfferingFlags {
    /// What MIG devices become.
    pub mig_strategy: Option<MigStrategy>,
    /// Which of several shares or MIG devices a container gets.
    pub shared_policy: Option<SharedPolicy>,
    /// Whether MIG devices are packed where nobody says which.
    pub packs_mig: bool,
    /// How many ids of the management of GPUs there are; 0 for none.
    pub management: Option<u32>,
    /// How a container gets its devices.
    pub injection: InjectionFlags,
}

/// What is to be offered, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Offering {
    /// What MIG devices become.
    pub mig_strategy: MigStrategy,
    /// Which GPUs are offered.
    pub filter: DeviceFilter,
    /// What whole GPUs are called; the first that fits wins.
    pub gpu_rules: Vec<GpuRule>,
    /// What MIG devices are called; the first that fits wins.
    pub mig_rules: Vec<MigRule>,
    /// Which devices are shared by taking turns.
    pub time_slicing: Option<TimeSlicing>,
    /// Which of several shares a container gets.
    pub shared_policy: SharedPolicy,
    /// Which of several MIG devices a container gets.
    pub mig_policy: SharedPolicy,
    /// How many ids of the management of GPUs there are; 0 for none.
    pub management: u32,
    /// How a container gets its devices.
    pub injection: Arc<Injection>,
}

impl Offering {
    /// What flags and a config file together say. Without a file, the flags alone.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn new(flags: &OfferingFlags, file: Option<&Config>) -> Result<Self, InjectionError> {
        let management = management(flags, file);
        let file = file.cloned().unwrap_or_default();
        let injection = Arc::new(Injection::new(&flags.injection, &file)?);
        let mig_strategy = flags.mig_strategy.or(file.flags.mig_strategy).unwrap_or(MigStrategy::None);
        let policy = flags.shared_policy.or(file.flags.plugin.shared_policy);
        Ok(Self {
            mig_strategy,
            filter: file.devices,
            gpu_rules: file.gpu_rules,
            mig_rules: file.mig_rules,
            time_slicing: file.time_slicing,
            shared_policy: policy.unwrap_or(SharedPolicy::Distributed),
            mig_policy: policy.unwrap_or(if flags.packs_mig {
                SharedPolicy::Packed
            } else {
                SharedPolicy::Distributed
            }),
            management,
            injection,
        })
    }

    /// How requests are met.
    pub fn terms(&self) -> Terms {
        let one_share_at_most =
            self.time_slicing.as_ref().is_some_and(|sharing| sharing.fail_requests_greater_than_one);
        Terms { one_share_at_most, policy: self.shared_policy, mig_policy: self.mig_policy }
    }
}

/// How many ids of the management of GPUs flags and a config file together want; 0 for none.
pub fn management(flags: &OfferingFlags, file: Option<&Config>) -> u32 {
    flags.management.or(file.and_then(|file| file.gpu_management)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use gpu_config::{Mode, read};

    use super::*;

    #[test]
    fn flag_counts_before_the_file_and_the_file_before_the_default() {
        let file = read(
            "test",
            "version: v1\nflags: {migStrategy: mixed, plugin: {sharedDevicesAllocationPolicy: packed}}\n",
            Mode::Strict,
        )
        .unwrap()
        .config;
        let flags = OfferingFlags { mig_strategy: Some(MigStrategy::Single), ..OfferingFlags::default() };
        let both = Offering::new(&flags, Some(&file)).unwrap();
        assert_eq!((both.mig_strategy, both.shared_policy), (MigStrategy::Single, SharedPolicy::Packed));
        let alone = Offering::new(&OfferingFlags::default(), Some(&file)).unwrap();
        assert_eq!(alone.mig_strategy, MigStrategy::Mixed);
        assert_eq!(alone.mig_policy, SharedPolicy::Packed);
        let default = Offering::new(&OfferingFlags::default(), None).unwrap();
        assert_eq!(default.mig_strategy, MigStrategy::None);
        let ours = OfferingFlags { packs_mig: true, ..OfferingFlags::default() };
        for (flags, of_mig) in
            [(OfferingFlags::default(), SharedPolicy::Distributed), (ours, SharedPolicy::Packed)]
        {
            let unsaid = Offering::new(&flags, None).unwrap();
            assert_eq!((unsaid.shared_policy, unsaid.mig_policy), (SharedPolicy::Distributed, of_mig));
        }
    }
}
