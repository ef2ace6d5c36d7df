//! What there must be of MIG: the instances that were made and ended, and what each change must give. It keeps its own
//! books from placements alone, and takes the room for a profile from the library only to check it.

use std::collections::BTreeMap;

use crate::call::About;
use crate::code::Code;
use crate::session::Session;
use serde_json::Value;

/// From this `NVML_DEVICE_ARCH_*` on, Hopper, a MIG mode is current at once.
const HOPPER: u64 = 9;

/// A GPU's books.
#[derive(Debug)]
pub struct GpuBooks {
    /// What it is asked about by.
    pub about: About,
    /// Whether MIG is on.
    pub enabled: bool,
    /// Whether it can do MIG.
    capable: bool,
    immediate: bool,
    /// Profiles: id and their places.
    pub profiles: Vec<(u32, Vec<(u32, u32)>)>,
    /// Living GPU instances by handle.
    pub instances: BTreeMap<u64, Instance>,
}

/// A living GPU instance.
#[derive(Debug)]
pub struct Instance {
    place: (u32, u32),
    /// Handles of its compute instances.
    pub compute: Vec<u64>,
}

impl GpuBooks {
    /// Reads what there is once, with nothing made yet.
    pub fn open(session: &Session, about: About) -> GpuBooks {
        let value = |name: &str, choices: &[u32]| session.value(name, &about, choices);
        let number = |value: Option<Value>| value.and_then(|value| value.as_u64());
        let mode = value("nvmlDeviceGetMigMode", &[]);
        let enabled = mode.as_ref().and_then(|mode| mode.get("currentMode")?.as_u64()) == Some(1);
        let immediate = number(value("nvmlDeviceGetArchitecture", &[])) >= Some(HOPPER);
        let places = |id: u32| {
            let places = value("nvmlDeviceGetGpuInstancePossiblePlacements_v2", &[id])?;
            let part = |place: &Value, name: &str| Some(place.get(name)?.as_u64()? as u32);
            let places = places
                .as_array()?
                .iter()
                .filter_map(|place| Some((part(place, "start")?, part(place, "size")?)));
            Some((id, places.collect()))
        };
        let profiles = (0..128).filter_map(places).collect();
        GpuBooks { capable: mode.is_some(), enabled, immediate, profiles, instances: BTreeMap::new(), about }
    }

    /// What a mode that is asked for gives: the function's code, and the activation status where it succeeds.
    pub fn set_mode(&mut self, on: bool) -> (Code, Code) {
        if !self.capable {
            return (Code::NOT_SUPPORTED, Code::SUCCESS);
        }
        let status = match () {
            () if self.enabled == on => Code::SUCCESS,
            () if !self.instances.is_empty() => Code::IN_USE,
            () if !self.immediate => Code::RESET_REQUIRED,
            () => {
                self.enabled = on;
                Code::SUCCESS
            }
        };
        (Code::SUCCESS, status)
    }

    /// What making an instance must give; `room` is what the library said is left of the profile.
    pub fn may_create(&self, profile: &(u32, Vec<(u32, u32)>), place: Option<(u32, u32)>, room: u64) -> Code {
        match place {
            _ if !self.capable || !self.enabled => Code::NOT_SUPPORTED,
            Some(place) if !profile.1.contains(&place) => Code::INVALID_ARGUMENT,
            _ if room == 0 => Code::INSUFFICIENT_RESOURCES,
            Some(place) if !self.is_free(place) => Code::INSUFFICIENT_RESOURCES,
            _ => Code::SUCCESS,
        }
    }

    fn is_free(&self, (start, size): (u32, u32)) -> bool {
        let mut taken = self.instances.values().map(|instance| instance.place);
        !taken.any(|(other, length)| start < other + length && other < start + size)
    }

    /// The most instances of a profile that its free places leave room for.
    pub fn free_places(&self, profile: &(u32, Vec<(u32, u32)>)) -> u64 {
        profile.1.iter().filter(|place| self.is_free(**place)).count() as u64
    }

    /// Books an instance; an error is what is wrong with its place.
    pub fn made(&mut self, handle: u64, place: (u32, u32), wanted: Option<(u32, u32)>) -> Result<(), String> {
        if wanted.is_some_and(|wanted| wanted != place) {
            return Err(format!("made at {place:?}, asked for {wanted:?}"));
        }
        if !self.is_free(place) {
            return Err(format!("made at {place:?}, where another instance lies"));
        }
        if self.instances.insert(handle, Instance { place, compute: Vec::new() }).is_some() {
            return Err("made with the handle of a living instance".to_owned());
        }
        Ok(())
    }
}
