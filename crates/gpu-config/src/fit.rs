//! Which GPUs and MIG devices an entry of the config means. Rules over values; no GPU is looked at here.

use gpu_model::{Gpu, GpuUuid, MigProfile, MigUuid, ResourceName};

use crate::config::{DeviceFilter, GpuRule, MigRule, SharedResource, TimeSlicing};
use crate::devices::{DeviceRef, Devices};
use crate::selector::GpuSelector;
use crate::values::{ComputeCapability, Memory};

/// A GPU or MIG device by all its names.
#[derive(Clone, Copy, Debug)]
pub struct NamedDevice<'a> {
    /// Index of the GPU that it is, or is part of.
    pub gpu_index: u32,
    /// UUID of that GPU.
    pub gpu: &'a GpuUuid,
    /// What it is called beside that as a MIG device; none for a whole GPU.
    pub mig: Option<NamedMig<'a>>,
}

/// A MIG device's own names.
#[derive(Clone, Copy, Debug)]
pub struct NamedMig<'a> {
    /// Its index on the GPU.
    pub index: u32,
    /// Its UUID.
    pub uuid: &'a MigUuid,
    /// Its GPU instance.
    pub gpu_instance: u32,
    /// Its compute instance.
    pub compute_instance: u32,
}

impl DeviceRef {
    /// Whether it is a name of this device.
    pub fn names(&self, device: NamedDevice<'_>) -> bool {
        match (self, device.mig) {
            (DeviceRef::Gpu(index), None) => *index == device.gpu_index,
            (DeviceRef::GpuUuid(uuid), None) => uuid == device.gpu,
            (DeviceRef::Mig(gpu, index), Some(mig)) => (*gpu, *index) == (device.gpu_index, mig.index),
            (DeviceRef::MigUuid(uuid), Some(mig)) => uuid == mig.uuid,
            (DeviceRef::MigOfGpu(gpu, gi, ci), Some(mig)) => {
                gpu == device.gpu && (*gi, *ci) == (mig.gpu_instance, mig.compute_instance)
            }
            _ => false,
        }
    }
}

impl Devices {
    /// Whether they are meant to include the device at this position of its resource; none for one that has no names.
    pub fn mean(&self, at: usize, device: Option<NamedDevice<'_>>) -> bool {
        match self {
            Devices::All => true,
            Devices::Count(count) => at < *count as usize,
            Devices::These(these) => {
                device.is_some_and(|device| these.iter().any(|reference| reference.names(device)))
            }
        }
    }
}

impl TimeSlicing {
    /// By which entry the device at this position of a resource is shared, and its place in the list: the first that means
    /// it.
    pub fn entry(
        &self,
        resource: &ResourceName,
        at: usize,
        device: Option<NamedDevice<'_>>,
    ) -> Option<(usize, &SharedResource)> {
        let means = |entry: &SharedResource| entry.resource == *resource && entry.devices.mean(at, device);
        self.resources.iter().enumerate().find(|(_, entry)| means(entry))
    }
}

impl GpuSelector {
    /// Whether it selects this GPU.
    pub fn fits(&self, gpu: &Gpu) -> bool {
        match self {
            GpuSelector::Index(index) => *index == gpu.index,
            GpuSelector::Uuid(uuid) => *uuid == gpu.uuid,
            GpuSelector::Pci(address) => gpu.pci.value() == Some(address),
            GpuSelector::Product(pattern) => pattern.fits(gpu.product.value().map_or("", String::as_str)),
        }
    }
}

impl DeviceFilter {
    /// Why a GPU is not offered; none for one that is.
    pub fn leaves_out(&self, gpu: &Gpu) -> Option<&'static str> {
        if gpu.is_display() {
            Some("it drives the machine's display")
        } else if self.exclude.iter().any(|selector| selector.fits(gpu)) {
            Some("the config excludes it")
        } else if self
            .include
            .as_ref()
            .is_some_and(|include| !include.iter().any(|selector| selector.fits(gpu)))
        {
            Some("the config does not include it")
        } else {
            None
        }
    }
}

impl GpuRule {
    /// Whether it is about this GPU.
    pub fn fits(&self, gpu: &Gpu) -> bool {
        let memory = gpu.memory_bytes.value().map(|bytes| Memory(*bytes));
        let capability =
            gpu.compute_capability.value().map(|(major, minor)| ComputeCapability(*major, *minor));
        self.product.fits(gpu.product.value().map_or("", String::as_str))
            && (self.memory.is_open() || memory.is_some_and(|memory| self.memory.contains(&memory)))
            && (self.compute_capability.is_open()
                || capability.is_some_and(|capability| self.compute_capability.contains(&capability)))
    }
}

impl MigRule {
    /// Whether it is about MIG devices of this profile.
    pub fn fits(&self, profile: MigProfile) -> bool {
        self.profile.fits(&profile.to_string())
    }
}
