//! MIG profiles: what kind of slice a MIG device is, as people write it.
//!
//! ```text
//!   1c.3g.40gb+me
//!   |  |  |    what it has, or lacks, beside its share of the GPU
//!   |  |  memory of the GPU instance
//!   |  compute slices of the GPU instance
//!   compute slices of the compute instance; left out where it takes all of them
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The profile of a MIG device. The order is by size: GPU slices, memory, compute slices, then engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MigProfile {
    gpu_slices: u32,
    memory_gb: u32,
    compute_slices: u32,
    engines: MigEngines,
}

/// How the engines of a GPU instance differ from its plain share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MigEngines {
    /// The plain share.
    #[default]
    Plain,
    /// `+me`: a set of media engines.
    Media,
    /// `+me.all`: all media engines of the GPU.
    AllMedia,
    /// `+gfx`: graphics.
    Graphics,
    /// `-me`: no media engine.
    NoMedia,
}

/// A text that is no MIG profile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{value:?} is not a MIG profile: expected [<C>c.]<G>g.<MEMORY>gb[+me|+me.all|+gfx|-me], such as 1g.10gb"
)]
pub struct ParseMigProfileError {
    value: String,
}

const ENGINES: [MigEngines; 5] =
    [MigEngines::Plain, MigEngines::Media, MigEngines::AllMedia, MigEngines::Graphics, MigEngines::NoMedia];

impl MigEngines {
    /// As a profile's name ends.
    fn suffix(self) -> &'static str {
        match self {
            MigEngines::Plain => "",
            MigEngines::Media => "+me",
            MigEngines::AllMedia => "+me.all",
            MigEngines::Graphics => "+gfx",
            MigEngines::NoMedia => "-me",
        }
    }
}

impl MigProfile {
    /// The profile of a MIG device, from what the driver tells of the device and its GPU. `None` for slices that
    /// make no sense: none, or more in the compute instance than in its GPU instance.
    ///
    /// The memory in the name is no measured value: the instance's part of the GPU, rounded up to eighths, of the
    /// GPU's memory in whole GiB. So NVIDIA's go-nvlib reckons, from which the resource names of the field come.
    pub fn new(
        gpu_slices: u32,
        compute_slices: u32,
        memory_bytes: u64,
        gpu_memory_bytes: u64,
        engines: MigEngines,
    ) -> Option<MigProfile> {
        const GIB: u128 = 1 << 30;
        const PARTS: u128 = 8;
        let (memory, whole) = (u128::from(memory_bytes), u128::from(gpu_memory_bytes));
        let parts = if whole == 0 { 0 } else { (memory * PARTS).div_ceil(whole) };
        let gb = (parts * whole.div_ceil(GIB) + PARTS / 2) / PARTS;
        let memory_gb = u32::try_from(gb).ok()?;
        let is_sound = (1..=gpu_slices).contains(&compute_slices);
        is_sound.then_some(MigProfile { gpu_slices, memory_gb, compute_slices, engines })
    }

    /// Compute slices of the GPU instance.
    pub fn gpu_slices(self) -> u32 {
        self.gpu_slices
    }

    /// Compute slices of the device itself.
    pub fn compute_slices(self) -> u32 {
        self.compute_slices
    }

    /// Whether the device has its GPU instance for itself. Others share memory and media engines with their neighbours.
    pub fn is_whole_instance(self) -> bool {
        self.compute_slices == self.gpu_slices
    }

    /// The name of the resource for this profile behind its domain, such as `mig-1g.10gb.me`: a resource's name has no
    /// `+`.
    pub fn resource(self) -> String {
        format!("mig-{self}").replace('+', ".")
    }
}

impl fmt::Display for MigProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_whole_instance() {
            write!(f, "{}c.", self.compute_slices)?;
        }
        write!(f, "{}g.{}gb{}", self.gpu_slices, self.memory_gb, self.engines.suffix())
    }
}

/// The number before `unit`, without sign or leading zeros.
fn number(text: &str, unit: &str) -> Option<u32> {
    let digits = text.strip_suffix(unit)?;
    let is_plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if is_plain { digits.parse().ok() } else { None }
}

fn parse(text: &str) -> Option<MigProfile> {
    let at = text.find(['+', '-']).unwrap_or(text.len());
    let (sizes, suffix) = text.split_at(at);
    let engines = ENGINES.into_iter().find(|engines| engines.suffix() == suffix)?;
    let parts: Vec<&str> = sizes.split('.').collect();
    let (compute, gpu, memory) = match parts.as_slice() {
        [gpu, memory] => (None, *gpu, *memory),
        [compute, gpu, memory] => (Some(number(compute, "c")?), *gpu, *memory),
        _ => return None,
    };
    let (gpu_slices, memory_gb) = (number(gpu, "g")?, number(memory, "gb")?);
    let compute_slices = compute.unwrap_or(gpu_slices);
    let is_sound = (1..=gpu_slices).contains(&compute_slices);
    is_sound.then_some(MigProfile { gpu_slices, memory_gb, compute_slices, engines })
}

impl FromStr for MigProfile {
    type Err = ParseMigProfileError;

    fn from_str(text: &str) -> Result<MigProfile, ParseMigProfileError> {
        parse(text).ok_or_else(|| ParseMigProfileError { value: text.to_owned() })
    }
}

impl TryFrom<String> for MigProfile {
    type Error = ParseMigProfileError;

    fn try_from(text: String) -> Result<MigProfile, ParseMigProfileError> {
        text.parse()
    }
}

impl From<MigProfile> for String {
    fn from(profile: MigProfile) -> String {
        profile.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ResourceName;
    use crate::names::NVIDIA_DOMAIN;

    #[test]
    fn profile_is_named_as_nvidias_tools_name_it() {
        // GPU slices, compute slices, MiB of the instance, MiB of the GPU, engines: listings of nvidia-smi that users
        // published, and the names in mig-parted's shipped configuration.
        for (expected, gpu, compute, memory, whole, engines) in [
            ("1g.5gb", 1, 1, 4864, 40_960, MigEngines::Plain),
            ("1g.10gb", 1, 1, 9728, 81_920, MigEngines::Plain),
            ("1g.10gb+me", 1, 1, 9728, 81_920, MigEngines::Media),
            ("1c.3g.40gb", 3, 1, 40_192, 81_920, MigEngines::Plain),
            ("7g.80gb", 7, 7, 80_384, 81_920, MigEngines::Plain),
            ("1g.12gb", 1, 1, 11_008, 95_830, MigEngines::Plain),
            ("3g.47gb", 3, 3, 47_488, 95_830, MigEngines::Plain),
            ("2g.12gb", 2, 2, 11_968, 24_576, MigEngines::Plain),
            ("1g.24gb-me", 1, 1, 24_192, 97_887, MigEngines::NoMedia),
            ("2g.48gb+me.all", 2, 2, 48_512, 97_887, MigEngines::AllMedia),
            ("4g.96gb+gfx", 4, 4, 97_408, 97_887, MigEngines::Graphics),
            ("1g.0gb", 1, 1, 0, 0, MigEngines::Plain),
        ] {
            let profile = MigProfile::new(gpu, compute, memory << 20, whole << 20, engines).unwrap();
            assert_eq!(profile.to_string(), expected);
        }
    }

    #[test]
    fn profile_of_no_sense_is_refused_with_the_value_in_the_message() {
        assert_eq!(MigProfile::new(3, 4, 1, 1, MigEngines::Plain), None);
        assert_eq!(MigProfile::new(0, 0, 1, 1, MigEngines::Plain), None);
        for text in [
            "",
            "1g",
            "1g.",
            "1g.10",
            "g.10gb",
            "0g.10gb",
            "4c.3g.40gb",
            "0c.1g.5gb",
            "01g.10gb",
            "+1g.10gb",
            "1g.10gb+",
            "1g.10gb+me+gfx",
            "1g.10gb.me",
            "1g.10gb ",
            "1G.10GB",
            "1c.1c.1g.10gb",
            "1g.99999999999gb",
        ] {
            let error = text.parse::<MigProfile>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn profiles_are_ordered_by_size() {
        let ordered =
            ["1g.10gb", "1g.10gb+me", "1g.20gb", "2g.20gb", "1c.3g.40gb", "2c.3g.40gb", "3g.40gb", "4g.40gb"];
        let mut profiles: Vec<MigProfile> = ordered.iter().rev().map(|text| text.parse().unwrap()).collect();
        profiles.sort();
        assert_eq!(profiles.iter().map(ToString::to_string).collect::<Vec<_>>(), ordered);
    }

    #[test]
    fn compute_instance_that_takes_all_is_the_whole_instance() {
        let profile: MigProfile = "3c.3g.40gb".parse().unwrap();
        assert_eq!(profile.to_string(), "3g.40gb");
        assert!(profile.is_whole_instance());
    }

    proptest! {
        #[test]
        fn profile_survives_the_round_trip_and_names_a_resource(
            gpu in 1u32..=8, compute in 1u32..=8, memory in 0u64..1 << 40, whole in 0u64..1 << 40, engines in 0..ENGINES.len(),
        ) {
            let Some(profile) = MigProfile::new(gpu, compute.min(gpu), memory.min(whole), whole, ENGINES[engines]) else {
                return Err(TestCaseError::fail("refused"));
            };
            prop_assert_eq!(profile.to_string().parse::<MigProfile>().unwrap(), profile);
            let resource = format!("{NVIDIA_DOMAIN}/{}", profile.resource());
            prop_assert!(resource.parse::<ResourceName>().is_ok(), "{}", resource);
        }

        #[test]
        fn profile_parser_given_any_text_never_panics(text: String) {
            let _ = text.parse::<MigProfile>();
        }
    }
}
