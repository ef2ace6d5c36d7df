//! MIG instances as people write them, such as `3g.40gb` or `1g.10gb@4`, and layouts of them that a node has from the
//! beginning. It knows profiles and rooms, neither files nor command lines.

use thiserror::Error;

use super::instances::{GpuMig, MigState};
use super::table::{GpuInstanceProfile, MigTable};
use crate::code::Code;
use crate::node::Gpu;

/// A GPU instance to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Id of its profile.
    pub profile: u32,
    /// The memory slice at which it begins; the driver's choice where absent.
    pub start: Option<u32>,
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

/// The profile that a word names, by name or id, and its start.
pub fn wanted<'a>(
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
    /// Makes a GPU instance with a compute instance that takes it all, and gives the former's id.
    pub fn create_whole(&mut self, gpu: &Gpu, wanted: Wanted) -> Result<u32, Code> {
        let profile = gpu.model.mig.by_id(wanted.profile).ok_or(Code::INVALID_ARGUMENT)?;
        let id = self.create(gpu, profile.id, wanted.start.map(|start| (start, profile.size)))?;
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
            self.create_whole(gpu, *wanted).map_err(|code| (index, code))?;
        }
        Ok(())
    }
}
