//! The MIG part of a GPU model: profiles, placements, engines. It knows which tables can be, not what is in use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// One more than the highest number of a GPU instance profile in NVML's header.
const GPU_PROFILES_END: u32 = 18;
/// One more than the highest number of a compute instance profile in NVML's header.
const COMPUTE_PROFILES_END: u32 = 9;
/// The most memory slices of a table; more than any GPU has.
const SLICES_MAX: u32 = 64;
/// The longest name that stays whole in NVML's buffer, behind `MIG 7c.` and before the end of the text.
const NAME_BYTES: usize = 88;

/// A MIG table: the profiles of a GPU model; empty where it cannot do MIG.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MigTable {
    /// Memory slices of the GPU, on which placements count.
    pub slices: u32,
    /// Engines of the GPU, which its instances share out among them.
    pub engines: Engines,
    /// Profiles of GPU instances.
    pub gpu_instances: Vec<GpuInstanceProfile>,
    /// Profiles of compute instances.
    pub compute_instances: Vec<ComputeInstanceProfile>,
}

/// Engines, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Engines {
    /// Copy engines.
    pub copy: u32,
    /// Video decoders.
    pub decode: u32,
    /// Video encoders.
    pub encode: u32,
    /// JPEG decoders.
    pub jpeg: u32,
    /// Optical flow accelerators.
    pub ofa: u32,
}

/// A GPU instance profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GpuInstanceProfile {
    /// Number in NVML's header (`NVML_GPU_INSTANCE_PROFILE_*`), by which a profile is asked for.
    pub profile: u32,
    /// Number by which instances are made, another one.
    pub id: u32,
    /// Name, such as `1g.10gb+me`.
    pub name: String,
    /// Compute slices.
    pub slices: u32,
    /// The most instances of it.
    pub count: u32,
    /// Streaming multiprocessors.
    pub sms: u32,
    /// Frame buffer.
    pub memory: Bytes,
    /// Memory slices.
    pub size: u32,
    /// Memory slices at which it may begin.
    pub starts: Vec<u32>,
    /// Engines.
    #[serde(default)]
    pub engines: Engines,
}

/// A compute instance profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ComputeInstanceProfile {
    /// Number in NVML's header (`NVML_COMPUTE_INSTANCE_PROFILE_*`).
    pub profile: u32,
    /// Number by which instances are made.
    pub id: u32,
    /// Compute slices.
    pub slices: u32,
    /// Streaming multiprocessors.
    pub sms: u32,
    /// The GPU instance profiles in which it can be made, by `profile`.
    pub of: Vec<u32>,
}

impl Engines {
    fn all(self) -> [u32; 5] {
        [self.copy, self.decode, self.encode, self.jpeg, self.ofa]
    }

    /// Both together.
    pub fn plus(self, other: Engines) -> Engines {
        Engines {
            copy: self.copy.saturating_add(other.copy),
            decode: self.decode.saturating_add(other.decode),
            encode: self.encode.saturating_add(other.encode),
            jpeg: self.jpeg.saturating_add(other.jpeg),
            ofa: self.ofa.saturating_add(other.ofa),
        }
    }

    /// How many times `needed` is left when `used` are taken.
    pub fn times(self, used: Engines, needed: Engines) -> u32 {
        let kinds = self.all().into_iter().zip(used.all()).zip(needed.all());
        let times = kinds.filter_map(|((all, used), needed)| all.saturating_sub(used).checked_div(needed));
        times.min().unwrap_or(u32::MAX)
    }
}

impl GpuInstanceProfile {
    /// The name that the driver gives, such as `MIG 1g.10gb`.
    pub fn driver_name(&self) -> String {
        format!("MIG {}", self.name)
    }

    /// Whether its instances draw as well as compute.
    pub fn has_graphics(&self) -> bool {
        self.name.split('+').skip(1).any(|attribute| attribute == "gfx")
    }

    /// The number of the instance at a start: instances are numbered as the nodes of a binary tree over the memory
    /// slices, 0 the whole, 1 and 2 the halves, 3 to 6 the quarters. So do the listings of real GPUs.
    pub fn instance_id(&self, table: &MigTable, start: u32) -> u32 {
        let level = table.slices.checked_div(self.size).unwrap_or_default();
        level.saturating_sub(1).saturating_add(start.checked_div(self.size).unwrap_or_default())
    }
}

impl ComputeInstanceProfile {
    /// Its name in a GPU instance: the compute slices stand in front where it does not take them all. Attributes of
    /// the GPU instance such as `+me` are left out, as the driver does.
    pub fn driver_name(&self, of: &GpuInstanceProfile) -> String {
        let plain = of.name.split(['+', '-']).next().unwrap_or_default();
        format!("MIG {}{plain}", self.prefix(of))
    }

    /// The name of the MIG device that an instance of it is, such as `1c.3g.40gb`.
    pub fn device_name(&self, of: &GpuInstanceProfile) -> String {
        format!("{}{}", self.prefix(of), of.name)
    }

    fn prefix(&self, of: &GpuInstanceProfile) -> String {
        if self.slices < of.slices { format!("{}c.", self.slices) } else { String::new() }
    }

    /// Where it may begin among the compute slices of a GPU instance.
    pub fn starts(&self, of: &GpuInstanceProfile) -> impl Iterator<Item = u32> {
        let (slices, end) = (self.slices, of.slices);
        (0..self.count(of)).map(move |index| index.saturating_mul(slices)).filter(move |start| *start < end)
    }

    /// The most instances of it in a GPU instance.
    pub fn count(&self, of: &GpuInstanceProfile) -> u32 {
        of.slices.checked_div(self.slices).unwrap_or_default()
    }
}

impl MigTable {
    /// Whether the model cannot do MIG.
    pub fn is_empty(&self) -> bool {
        self.gpu_instances.is_empty()
    }

    /// The GPU instance profile of a header's number.
    pub fn profile(&self, profile: u32) -> Option<&GpuInstanceProfile> {
        self.gpu_instances.iter().find(|known| known.profile == profile)
    }

    /// The GPU instance profile of an id.
    pub fn by_id(&self, id: u32) -> Option<&GpuInstanceProfile> {
        self.gpu_instances.iter().find(|known| known.id == id)
    }

    /// The compute instance profiles of a GPU instance.
    pub fn compute_of<'a>(
        &'a self,
        of: &GpuInstanceProfile,
    ) -> impl Iterator<Item = &'a ComputeInstanceProfile> {
        let profile = of.profile;
        self.compute_instances.iter().filter(move |known| known.of.contains(&profile))
    }

    /// What is wrong with the table, and what would be right; nothing where it can be.
    pub fn wrong(&self, memory: Bytes) -> Option<String> {
        if self.is_empty() {
            return (*self != MigTable::default()).then(|| "no profile in `gpu-instances`".to_owned());
        }
        if !(1..=SLICES_MAX).contains(&self.slices) {
            return Some(format!("`slices: {}`: write a number from 1 to {SLICES_MAX}", self.slices));
        }
        let mut gpu_instances = self.gpu_instances.iter().enumerate();
        let wrong = gpu_instances.find_map(|(index, profile)| {
            let problem = self.wrong_profile(index, profile, memory)?;
            Some(format!("gpu-instances[{index}]: {problem}"))
        });
        wrong.or_else(|| {
            self.compute_instances.iter().enumerate().find_map(|(index, profile)| {
                let problem = self.wrong_compute_profile(index, profile)?;
                Some(format!("compute-instances[{index}]: {problem}"))
            })
        })
    }

    fn wrong_profile(&self, index: usize, profile: &GpuInstanceProfile, memory: Bytes) -> Option<String> {
        let GpuInstanceProfile { profile: number, id, name, size, starts, .. } = profile;
        let before = || self.gpu_instances.iter().take(index);
        if *number >= GPU_PROFILES_END {
            return Some(format!(
                "`profile: {number}`: NVML numbers them from 0 to {}",
                GPU_PROFILES_END - 1
            ));
        }
        if before().any(|other| other.profile == *number || other.id == *id || other.name == *name) {
            return Some(format!("another one has its profile {number}, id {id} or name `{name}`"));
        }
        if name.is_empty() || name.len() > NAME_BYTES || name.contains(char::is_control) {
            return Some(format!("`name`: write one line of 1 to {NAME_BYTES} bytes"));
        }
        if profile.slices == 0 || profile.count == 0 || profile.sms == 0 {
            return Some("`slices`, `count` and `sms` are at least 1".to_owned());
        }
        if profile.memory < Bytes(1 << 20) || profile.memory > memory {
            return Some(format!("`memory: {}`: the GPU has {memory}", profile.memory));
        }
        if *size == 0 || !self.slices.is_multiple_of(*size) {
            return Some(format!("`size: {size}`: write a divisor of the {} slices", self.slices));
        }
        let fits = |start: &u32| start.is_multiple_of(*size) && start.saturating_add(*size) <= self.slices;
        let ascending = starts.iter().zip(starts.iter().skip(1)).all(|(first, next)| first < next);
        if starts.is_empty() || !starts.iter().all(fits) || !ascending {
            return Some(format!("`starts`: write ascending multiples of {size} below {}", self.slices));
        }
        if self.engines.times(Engines::default(), profile.engines) == 0 {
            return Some("`engines`: more than the GPU has".to_owned());
        }
        None
    }

    fn wrong_compute_profile(&self, index: usize, profile: &ComputeInstanceProfile) -> Option<String> {
        let ComputeInstanceProfile { profile: number, id, slices, of, .. } = profile;
        if *number >= COMPUTE_PROFILES_END {
            return Some(format!(
                "`profile: {number}`: NVML numbers them from 0 to {}",
                COMPUTE_PROFILES_END - 1
            ));
        }
        if *slices == 0 || profile.sms == 0 || of.is_empty() {
            return Some(
                "`slices` and `sms` are at least 1, and `of` names a GPU instance profile".to_owned(),
            );
        }
        let missing = of.iter().find(|of| self.profile(**of).is_none_or(|of| of.slices < *slices));
        if let Some(missing) = missing {
            return Some(format!("`of`: no GPU instance profile {missing} has {slices} compute slices"));
        }
        let mut before = self.compute_instances.iter().take(index);
        let twice = before.any(|other| {
            (other.profile == *number || other.id == *id) && other.of.iter().any(|gpu| of.contains(gpu))
        });
        twice.then(|| format!("another one has its profile {number} or id {id} in the same GPU instance"))
    }
}
