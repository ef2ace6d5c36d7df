//! Steps on the MIG state of a node: one GPU's rules, and the numbers that are the node's. It knows no handles.

use super::instances::{ComputeInstance, GpuMig, MigState};
use crate::code::Code;
use crate::node::Gpu;

impl MigState {
    fn of(&mut self, gpu: &Gpu) -> Result<&mut GpuMig, Code> {
        if gpu.model.is_mig_capable() {
            return Ok(self.gpus.entry(gpu.uuid.clone()).or_default());
        }
        Err(Code::NOT_SUPPORTED)
    }

    /// Asks for a mode. The inner error is the activation status: why it is not the current one.
    pub fn set_mode(&mut self, gpu: &Gpu, on: bool) -> Result<Result<(), Code>, Code> {
        let status = self.of(gpu)?.set_mode(on, gpu.model.architecture);
        self.forget_default(gpu);
        Ok(status)
    }

    /// Asks for the mode of a GPU that is in use: it stays pending, and that is the activation status.
    pub fn set_pending_mode(&mut self, gpu: &Gpu, on: bool) -> Result<Result<(), Code>, Code> {
        let mig = self.of(gpu)?;
        mig.pending = on;
        let status = if mig.enabled == on { Ok(()) } else { Err(Code::IN_USE) };
        self.forget_default(gpu);
        Ok(status)
    }

    /// Resets a GPU; one that cannot do MIG has nothing to lose.
    pub fn reset(&mut self, gpu: &Gpu) {
        self.restart(gpu, GpuMig::reset);
    }

    /// The driver of a GPU is loaded anew.
    pub fn reload(&mut self, gpu: &Gpu) {
        self.restart(gpu, |mig| mig.reload(gpu.model.architecture));
    }

    fn restart(&mut self, gpu: &Gpu, restart: impl FnOnce(&mut GpuMig)) {
        if let Some(mig) = self.gpus.get_mut(&gpu.uuid) {
            restart(mig);
        }
        self.forget_default(gpu);
    }

    /// A GPU without an entry has MIG off.
    fn forget_default(&mut self, gpu: &Gpu) {
        if self.gpus.get(&gpu.uuid) == Some(&GpuMig::default()) {
            self.gpus.remove(&gpu.uuid);
        }
    }

    /// Makes a GPU instance, and gives its id.
    pub fn create(&mut self, gpu: &Gpu, profile_id: u32, placement: Option<(u32, u32)>) -> Result<u32, Code> {
        let number = self.number_next();
        self.of(gpu)?.create(&gpu.model.mig, profile_id, placement, number)
    }

    /// Makes a compute instance, and gives its id.
    pub fn create_compute(
        &mut self,
        gpu: &Gpu,
        instance_id: u32,
        profile_id: u32,
        placement: Option<(u32, u32)>,
    ) -> Result<u32, Code> {
        let number = self.number_next();
        let of = (gpu.uuid.as_str(), instance_id);
        self.of(gpu)?.create_compute(&gpu.model.mig, of, profile_id, placement, number)
    }

    /// Ends a GPU instance.
    pub fn destroy(&mut self, gpu: &Gpu, id: u32) -> Result<(), Code> {
        self.of(gpu)?.destroy(id)
    }

    /// Ends a compute instance.
    pub fn destroy_compute(&mut self, gpu: &Gpu, instance_id: u32, id: u32) -> Result<(), Code> {
        self.of(gpu)?.destroy_compute(instance_id, id)
    }

    /// The compute instance of these ids.
    pub fn at(&self, gpu: &Gpu, instance: u32, compute: u32) -> Option<&ComputeInstance> {
        self.gpus.get(&gpu.uuid)?.instances.get(&instance)?.compute.get(&compute)
    }

    /// The compute instance of a GPU that has a number, if it lives.
    pub fn compute_of(&mut self, gpu: &Gpu, number: u32) -> Option<&mut ComputeInstance> {
        let instances = self.gpus.get_mut(&gpu.uuid)?.instances.values_mut();
        instances.flat_map(|instance| instance.compute.values_mut()).find(|made| made.number == number)
    }

    /// Id of the GPU instance of a GPU that has a number, if it lives.
    pub fn id_of(&self, gpu: &Gpu, number: u32) -> Option<u32> {
        let mut instances = self.gpus.get(&gpu.uuid)?.instances.iter();
        instances.find(|(_, made)| made.number == number).map(|(id, _)| *id)
    }

    /// Ids of the GPU and compute instance of a GPU of which the latter has a number, if it lives.
    pub fn compute_id_of(&self, gpu: &Gpu, number: u32) -> Option<(u32, u32)> {
        let mut instances = self.gpus.get(&gpu.uuid)?.instances.iter();
        instances.find_map(|(id, made)| {
            let mut compute = made.compute.iter();
            compute.find(|(_, made)| made.number == number).map(|(compute, _)| (*id, *compute))
        })
    }
}
