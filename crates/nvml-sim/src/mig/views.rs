//! Instances as a look at the node shows them: with their GPU and their profiles. It changes nothing.

use super::instances::{ComputeInstance, GpuInstance, GpuMig};
use super::table::{ComputeInstanceProfile, GpuInstanceProfile, MigTable};
use crate::bytes::Bytes;
use crate::code::Code;
use crate::modes::ComputeMode;
use crate::snapshot::{GpuView, Snapshot};

/// A GPU instance of a GPU that answers.
#[derive(Clone, Copy, Debug)]
pub struct GpuInstanceView<'a> {
    /// Its GPU.
    pub gpu: GpuView<'a>,
    /// Its id.
    pub id: u32,
    /// The instance.
    pub made: &'a GpuInstance,
    /// Its profile.
    pub profile: &'a GpuInstanceProfile,
}

/// A compute instance, which also is a MIG device.
#[derive(Clone, Copy, Debug)]
pub struct ComputeInstanceView<'a> {
    /// Its GPU instance.
    pub of: GpuInstanceView<'a>,
    /// Its id.
    pub id: u32,
    /// The instance.
    pub made: &'a ComputeInstance,
    /// Its profile.
    pub profile: &'a ComputeInstanceProfile,
}

/// What NVML calls a device.
#[derive(Clone, Copy, Debug)]
pub enum DeviceView<'a> {
    /// A whole GPU.
    Gpu(GpuView<'a>),
    /// A MIG device.
    Mig(ComputeInstanceView<'a>),
}

impl<'a> GpuView<'a> {
    /// The MIG table; `NOT_SUPPORTED` where the GPU cannot do MIG.
    pub fn mig_table(self) -> Result<&'a MigTable, Code> {
        let model = &self.gpu.model;
        if model.is_mig_capable() { Ok(&model.mig) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// Table and instances; `NOT_SUPPORTED` while MIG is off.
    pub fn mig(self) -> Result<(&'a MigTable, &'a GpuMig), Code> {
        let mig = self.snapshot.state.mig.gpus.get(&self.gpu.uuid).filter(|mig| mig.enabled);
        Ok((self.mig_table()?, mig.ok_or(Code::NOT_SUPPORTED)?))
    }

    /// Whether MIG is on.
    pub fn is_mig_enabled(self) -> bool {
        self.mig().is_ok()
    }

    /// Current and pending mode; `NOT_SUPPORTED` where the GPU cannot do MIG.
    pub fn mig_mode(self) -> Result<(bool, bool), Code> {
        self.mig_table()?;
        let mig = self.snapshot.state.mig.gpus.get(&self.gpu.uuid);
        Ok(mig.map_or((false, false), |mig| (mig.enabled, mig.pending)))
    }

    /// The GPU instances by id. The node file may have changed since: those of profiles that are gone are left out.
    pub fn gpu_instances(self) -> impl Iterator<Item = GpuInstanceView<'a>> {
        self.mig().into_iter().flat_map(move |(table, mig)| {
            mig.instances.iter().filter_map(move |(id, made)| {
                let profile = table.by_id(made.profile)?;
                Some(GpuInstanceView { gpu: self, id: *id, made, profile })
            })
        })
    }

    /// The MIG devices by GPU instance and compute instance.
    pub fn mig_devices(self) -> impl Iterator<Item = ComputeInstanceView<'a>> {
        self.gpu_instances().flat_map(GpuInstanceView::compute_instances)
    }
}

impl<'a> GpuInstanceView<'a> {
    /// The compute instances by id.
    pub fn compute_instances(self) -> impl Iterator<Item = ComputeInstanceView<'a>> {
        let table = &self.gpu.gpu.model.mig;
        self.made.compute.iter().filter_map(move |(id, made)| {
            let profile = table.compute_of(self.profile).find(|known| known.id == made.profile)?;
            Some(ComputeInstanceView { of: self, id: *id, made, profile })
        })
    }

    /// The compute instance profile of an id.
    pub fn compute_profile(self, id: u32) -> Result<&'a ComputeInstanceProfile, Code> {
        let mut profiles = self.gpu.gpu.model.mig.compute_of(self.profile);
        profiles.find(|known| known.id == id).ok_or(Code::INVALID_ARGUMENT)
    }
}

impl ComputeInstanceView<'_> {
    /// The profile's name as clients know it, such as `1c.3g.40gb`.
    pub fn profile_name(&self) -> String {
        self.profile.device_name(self.of.profile)
    }
}

impl<'a> DeviceView<'a> {
    /// The GPU that it is, or is a part of.
    pub fn gpu(self) -> GpuView<'a> {
        match self {
            DeviceView::Gpu(gpu) => gpu,
            DeviceView::Mig(device) => device.of.gpu,
        }
    }

    /// The MIG device that it is.
    pub fn mig_device(self) -> Result<ComputeInstanceView<'a>, Code> {
        match self {
            DeviceView::Mig(device) => Ok(device),
            DeviceView::Gpu(gpu) => Err(gpu.mig_table().err().unwrap_or(Code::INVALID_ARGUMENT)),
        }
    }

    /// Which processes may compute on it.
    pub fn compute_mode(self) -> ComputeMode {
        match self {
            DeviceView::Gpu(gpu) => gpu.compute_mode(),
            DeviceView::Mig(device) => device.made.compute_mode,
        }
    }

    /// Its UUID.
    pub fn uuid(self) -> &'a str {
        match self {
            DeviceView::Gpu(gpu) => &gpu.gpu.uuid,
            DeviceView::Mig(device) => &device.made.uuid,
        }
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            DeviceView::Gpu(gpu) => gpu.gpu.model.name.clone(),
            DeviceView::Mig(device) => {
                format!("{} MIG {}", device.of.gpu.gpu.model.name, device.profile_name())
            }
        }
    }

    /// Its frame buffer, the part that driver and firmware keep, and what processes use. All MIG devices of a GPU
    /// instance share one.
    pub fn memory(self) -> (Bytes, Bytes, Bytes) {
        match self {
            DeviceView::Gpu(view) => {
                (view.gpu.model.memory, view.gpu.model.memory_reserved, view.memory_used())
            }
            DeviceView::Mig(device) => {
                let memory = device.of.profile.memory;
                // The node file may have changed since.
                (memory, Bytes(0), self.processes_memory().min(memory))
            }
        }
    }

    /// Its window into the frame buffer over PCIe, and what of it is mapped.
    pub fn bar1(self) -> (Bytes, Bytes) {
        const MIB: u64 = 1 << 20;
        let whole = self.gpu().gpu.model.bar1.0;
        match self {
            // An idle driver keeps one MiB mapped.
            DeviceView::Gpu(_) => (Bytes(whole), Bytes(whole.min(MIB))),
            // A part as large as that of the memory slices, less one MiB: the listings of NVIDIA's MIG user guide show
            // 8191, 16383 and 32767 MiB on a GPU of 65536.
            DeviceView::Mig(device) => {
                let slices = u64::from(device.of.gpu.gpu.model.mig.slices.max(1));
                let part = whole / slices * u64::from(device.of.profile.size);
                (Bytes(part.saturating_sub(MIB)), Bytes(0))
            }
        }
    }
}

impl Snapshot {
    /// The GPUs that answer.
    fn views(&self) -> impl Iterator<Item = GpuView<'_>> {
        self.node.gpus.iter().filter_map(|gpu| self.view(gpu).ok())
    }

    /// The MIG device of a UUID.
    pub fn mig_device(&self, is_wanted: impl Fn(&str) -> bool) -> Result<ComputeInstanceView<'_>, Code> {
        let mut devices = self.views().flat_map(GpuView::mig_devices);
        devices.find(|device| is_wanted(&device.made.uuid)).ok_or(Code::NOT_FOUND)
    }
}
