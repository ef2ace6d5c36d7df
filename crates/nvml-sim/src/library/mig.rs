//! Handles of MIG devices and instances, and the calls that make and end them. Each is a number of an instance that no
//! other one ever has: a handle of what is gone is refused, whatever has taken its place.

use super::handle::{self, Kind};
use super::{Call, Library};
use crate::code::Code;
use crate::identity;
use crate::mig::{ComputeInstanceView, DeviceView, GpuInstanceView, MigState};
use crate::modes::ComputeMode;
use crate::node::{Gpu, Node};
use crate::snapshot::{GpuView, Snapshot};
use crate::state::State;

/// Start and size of an instance, where its maker does not leave the choice to the driver.
pub type Placement = Option<(u32, u32)>;

/// The GPU of a MIG device's handle, lost or not.
pub fn gpu_of_mig_device<'a>(node: &'a Node, state: &State, handle: u64) -> Result<&'a Gpu, Code> {
    let number = handle::decode(Kind::MigDevice, handle)?;
    let mut gpus = node.gpus.iter();
    gpus.find(|gpu| state.mig.compute_id_of(gpu, number).is_some()).ok_or(Code::INVALID_ARGUMENT)
}

impl Library {
    /// Changes the MIG state of a GPU, which only root may.
    fn change_mig<T>(
        &self,
        gpu: GpuView<'_>,
        change: impl FnOnce(&mut MigState, &Gpu) -> Result<T, Code>,
    ) -> Result<T, Code> {
        self.change_state_of(gpu, |state| state.change_mig(gpu.gpu, change))
    }

    /// `nvmlDeviceSetMigMode`; the inner error is the activation status.
    pub fn set_mig_mode(&self, gpu: GpuView<'_>, on: bool) -> Result<Result<(), Code>, Code> {
        self.change_state_of(gpu, |state| state.set_mig_mode(gpu.gpu, on))
    }

    /// Makes a GPU instance, and gives its handle.
    pub fn create_gpu_instance(
        &self,
        gpu: GpuView<'_>,
        profile_id: u32,
        placement: Placement,
    ) -> Result<u64, Code> {
        gpu.mig()?;
        self.change_mig(gpu, |mig, gpu| {
            mig.create(gpu, profile_id, placement)?;
            Ok(handle::encode(Kind::GpuInstance, mig.made))
        })
    }

    /// Ends a GPU instance.
    pub fn destroy_gpu_instance(&self, instance: GpuInstanceView<'_>) -> Result<(), Code> {
        self.change_mig(instance.gpu, |mig, gpu| {
            let id = mig.id_of(gpu, instance.made.number).ok_or(Code::INVALID_ARGUMENT)?;
            mig.destroy(gpu, id)
        })
    }

    /// Makes a compute instance, and gives its handle.
    pub fn create_compute_instance(
        &self,
        instance: GpuInstanceView<'_>,
        profile_id: u32,
        placement: Placement,
    ) -> Result<u64, Code> {
        self.change_mig(instance.gpu, |mig, gpu| {
            let id = mig.id_of(gpu, instance.made.number).ok_or(Code::INVALID_ARGUMENT)?;
            mig.create_compute(gpu, id, profile_id, placement)?;
            Ok(handle::encode(Kind::ComputeInstance, mig.made))
        })
    }

    pub(super) fn set_compute_mode_of_mig(
        &self,
        device: ComputeInstanceView<'_>,
        mode: ComputeMode,
    ) -> Result<(), Code> {
        let gpu = device.of.gpu;
        // No change of MIG instances, of which an event would tell.
        self.change_state_of(gpu, |state| {
            let made = state.mig.compute_of(gpu.gpu, device.made.number).ok_or(Code::INVALID_ARGUMENT)?;
            made.compute_mode = mode;
            Ok(())
        })
    }

    /// Ends a compute instance.
    pub fn destroy_compute_instance(&self, instance: ComputeInstanceView<'_>) -> Result<(), Code> {
        self.change_mig(instance.of.gpu, |mig, gpu| {
            let (of, id) = mig.compute_id_of(gpu, instance.made.number).ok_or(Code::INVALID_ARGUMENT)?;
            mig.destroy_compute(gpu, of, id)
        })
    }
}

impl Call<'_> {
    /// The GPU or MIG device of a handle, if it answers.
    pub fn device(&self, handle: u64) -> Result<DeviceView<'_>, Code> {
        if handle::decode(Kind::MigDevice, handle).is_err() {
            return self.gpu(handle).map(DeviceView::Gpu);
        }
        self.compute(Kind::MigDevice, handle).map(DeviceView::Mig)
    }

    /// The GPU instance of a handle, if it lives and its GPU answers.
    pub fn gpu_instance(&self, handle: u64) -> Result<GpuInstanceView<'_>, Code> {
        let number = handle::decode(Kind::GpuInstance, handle)?;
        let snapshot = self.snapshot()?;
        let mut gpus = snapshot.node.gpus.iter();
        let gpu = gpus.find(|gpu| snapshot.state.mig.id_of(gpu, number).is_some());
        let mut instances = snapshot.view(gpu.ok_or(Code::INVALID_ARGUMENT)?)?.gpu_instances();
        instances.find(|instance| instance.made.number == number).ok_or(Code::INVALID_ARGUMENT)
    }

    /// The compute instance of a handle, if it lives and its GPU answers.
    pub fn compute_instance(&self, handle: u64) -> Result<ComputeInstanceView<'_>, Code> {
        self.compute(Kind::ComputeInstance, handle)
    }

    fn compute(&self, kind: Kind, handle: u64) -> Result<ComputeInstanceView<'_>, Code> {
        let number = handle::decode(kind, handle)?;
        let snapshot = self.snapshot()?;
        let mut gpus = snapshot.node.gpus.iter();
        let gpu = gpus.find(|gpu| snapshot.state.mig.compute_id_of(gpu, number).is_some());
        let mut devices = snapshot.view(gpu.ok_or(Code::INVALID_ARGUMENT)?)?.mig_devices();
        devices.find(|device| device.made.number == number).ok_or(Code::INVALID_ARGUMENT)
    }

    /// The handle of the GPU or MIG device of a UUID.
    pub fn device_by_uuid(&self, uuid: &str) -> Result<u64, Code> {
        let snapshot = self.snapshot()?;
        if uuid.starts_with("MIG-") {
            return snapshot.mig_device(|known| known == uuid).map(mig_handle);
        }
        snapshot.by_uuid(uuid).map(|gpu| self.handle_of(gpu))
    }

    /// The handle of the GPU or MIG device of a UUID's sixteen bytes.
    pub fn device_by_uuid_bytes(&self, uuid: [u8; 16]) -> Result<u64, Code> {
        let snapshot: &Snapshot = self.snapshot()?;
        match snapshot.by_uuid_bytes(uuid) {
            Err(Code::NOT_FOUND) => {
                let is_wanted = |known: &str| identity::mig_uuid_bytes(known) == Some(uuid);
                snapshot.mig_device(is_wanted).map(mig_handle)
            }
            found => found.map(|gpu| self.handle_of(gpu)),
        }
    }
}

/// The handle of a MIG device.
pub fn mig_handle(device: ComputeInstanceView<'_>) -> u64 {
    handle::encode(Kind::MigDevice, device.made.number)
}

/// The handle of a GPU instance.
pub fn gpu_instance_handle(instance: GpuInstanceView<'_>) -> u64 {
    handle::encode(Kind::GpuInstance, instance.made.number)
}

/// The handle of a compute instance.
pub fn compute_instance_handle(instance: ComputeInstanceView<'_>) -> u64 {
    handle::encode(Kind::ComputeInstance, instance.made.number)
}
