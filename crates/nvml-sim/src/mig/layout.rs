//! MIG instances as people write them, such as `3g.40gb`, `1g.10gb@4` or `3g.40gb/2c/1c`, and layouts of them that a node has from the
//! beginning. It knows profiles and rooms, neither files nor command lines.

use thiserror::Error;

use super::instances::{GpuMig, MigState};
use super::table::{ComputeInstanceProfile, GpuInstanceProfile, MigTable};
use crate::code::Code;
use crate::node::Gpu;

/// A word for a GPU instance without compute instances.
const NONE: &str = "none";

/// A GPU instance to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Id of its profile.
    pub profile: u32,
    /// The memory slice at which it begins; the driver's choice where absent.
    pub start: Option<u32>,
    /// Profile and start of each of its compute instances; one that takes all of it where absent.
    pub compute: Option<Vec<(u32, Option<u32>)>>,
}

/// Words that are no instance of a GPU.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WantedError {
    /// A profile that the GPU lacks.
    #[error("no MIG profile `{name}` there; {known}")]
    NoProfile {
        /// As it was written.
        name: String,
        /// What would be right.
        known: String,
    },
    /// A place that is none.
    #[error("`{0}`: after the @ stands the slice at which it begins, such as 3g.40gb@4")]
    Place(String),
}

impl WantedError {
    /// A profile that is none of the known ones.
    pub fn no_profile(name: &str, known: impl Iterator<Item = String>) -> WantedError {
        let known: Vec<String> = known.collect();
        let known =
            if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        WantedError::NoProfile { name: name.to_owned(), known }
    }
}

/// `PROFILE[@START]`.
pub fn split(word: &str) -> Result<(&str, Option<u32>), WantedError> {
    match word.split_once('@') {
        None => Ok((word, None)),
        Some((profile, start)) => {
            let start = start.parse().map_err(|_| WantedError::Place(word.to_owned()))?;
            Ok((profile, Some(start)))
        }
    }
}

/// The GPU instance that a word names: `PROFILE[@START]`, and behind slashes its compute instances, or `none`.
pub fn wanted<'a>(table: &'a MigTable, word: &str) -> Result<(&'a GpuInstanceProfile, Wanted), WantedError> {
    let mut parts = word.split('/');
    let (of, start) = profile(table, parts.next().unwrap_or_default())?;
    let parts: Vec<&str> = parts.collect();
    let compute = |part: &&str| compute_wanted(table, of, part).map(|(profile, start)| (profile.id, start));
    let compute = match parts.as_slice() {
        [] => None,
        [NONE] => Some(Vec::new()),
        some => Some(some.iter().map(compute).collect::<Result<_, _>>()?),
    };
    Ok((of, Wanted { profile: of.id, start, compute }))
}

/// The profile of compute instances that a word names, such as `1c` or `1c@2`, and its start.
pub fn compute_wanted<'a>(
    table: &'a MigTable,
    of: &GpuInstanceProfile,
    word: &str,
) -> Result<(&'a ComputeInstanceProfile, Option<u32>), WantedError> {
    let (name, start) = split(word)?;
    let found = table.compute_of(of).find(|known| {
        format!("{}c", known.slices) == name || known.device_name(of) == name || name.parse() == Ok(known.id)
    });
    let known = table.compute_of(of).map(|known| known.device_name(of));
    Ok((found.ok_or_else(|| WantedError::no_profile(name, known))?, start))
}

/// The profile that a word names, by name or id, and its start.
fn profile<'a>(
    table: &'a MigTable,
    word: &str,
) -> Result<(&'a GpuInstanceProfile, Option<u32>), WantedError> {
    let (name, start) = split(word)?;
    let mut profiles = table.gpu_instances.iter();
    let found = profiles.find(|known| known.name == name || name.parse() == Ok(known.id));
    let known = || table.gpu_instances.iter().map(|known| known.name.clone());
    Ok((found.ok_or_else(|| WantedError::no_profile(name, known()))?, start))
}

impl MigState {
    /// Makes a GPU instance with its compute instances, and gives the former's id.
    pub fn create_wanted(&mut self, gpu: &Gpu, wanted: &Wanted) -> Result<u32, Code> {
        let profile = gpu.model.mig.by_id(wanted.profile).ok_or(Code::INVALID_ARGUMENT)?;
        let id = self.create(gpu, profile.id, wanted.start.map(|start| (start, profile.size)))?;
        if let Some(compute) = &wanted.compute {
            for (of, start) in compute {
                let slices = gpu.model.mig.compute_of(profile).find(|known| known.id == *of);
                let slices = slices.map(|known| known.slices).ok_or(Code::INVALID_ARGUMENT)?;
                self.create_compute(gpu, id, *of, start.map(|start| (start, slices)))?;
            }
            return Ok(id);
        }
        let whole = gpu.model.mig.compute_of(profile).filter(|whole| whole.slices == profile.slices);
        // Of two that take all slices the one with all multiprocessors.
        let whole = whole.max_by_key(|whole| whole.sms).ok_or(Code::NOT_SUPPORTED)?;
        self.create_compute(gpu, id, whole.id, None)?;
        Ok(id)
    }

    /// Turns MIG on and makes instances, as if that had been done before the driver's clients came. Or which of them
    /// cannot be.
    pub fn lay(&mut self, gpu: &Gpu, layout: &[Wanted]) -> Result<(), (usize, Code)> {
        self.gpus.insert(gpu.uuid.clone(), GpuMig { enabled: true, pending: true, ..GpuMig::default() });
        for (index, wanted) in layout.iter().enumerate() {
            self.create_wanted(gpu, wanted).map_err(|code| (index, code))?;
        }
        Ok(())
    }
}
