//! The capabilities that guard MIG: their numbers, and which of them exist. A driver numbers all that any machine can
//! have when it is loaded, and makes the files of those whose instances live.

use crate::node::Node;
use crate::state::State;

/// The capabilities that do not belong to an instance, by number.
pub const FIXED: [(&str, u32); 2] = [("config", 1), ("monitor", 2)];
const FIRST: u32 = 3;
/// How many a driver numbers. The last of all is that of gpu31/gi14/ci7, 4322, as NVIDIA's MIG user guide shows.
const GPUS: u32 = 32;
const GPU_INSTANCES: u32 = 15;
const COMPUTE_INSTANCES: u32 = 8;

/// The capability of an instance that lives.
pub struct Capability {
    /// Its folder, below the driver's of capabilities.
    pub folder: String,
    /// Its number, which also names its device node.
    pub number: u32,
}

/// The number of a GPU instance's capability.
fn of_gpu_instance(gpu: u32, instance: u32) -> u32 {
    FIRST + (gpu * GPU_INSTANCES + instance) * (1 + COMPUTE_INSTANCES)
}

/// The number of a compute instance's capability.
fn of_compute_instance(gpu: u32, instance: u32, compute: u32) -> u32 {
    of_gpu_instance(gpu, instance) + 1 + compute
}

/// Whether the driver has MIG capabilities to give: where a GPU can do MIG.
pub fn are_there(node: &Node) -> bool {
    node.gpus.iter().any(|gpu| gpu.model.is_mig_capable())
}

/// The text of `mig-minors`.
pub fn minors() -> String {
    let mut text: String = FIXED.iter().map(|(name, number)| format!("{name} {number}\n")).collect();
    for gpu in 0..GPUS {
        for instance in 0..GPU_INSTANCES {
            text += &format!("gpu{gpu}/gi{instance}/access {}\n", of_gpu_instance(gpu, instance));
            for compute in 0..COMPUTE_INSTANCES {
                let number = of_compute_instance(gpu, instance, compute);
                text += &format!("gpu{gpu}/gi{instance}/ci{compute}/access {number}\n");
            }
        }
    }
    text
}

/// The capabilities of the instances that live, as far as a driver numbers them.
pub fn of_instances(node: &Node, state: &State) -> Vec<Capability> {
    let mut capabilities = Vec::new();
    for gpu in node.gpus.iter().filter(|gpu| gpu.minor < GPUS) {
        let instances = state.mig.gpus.get(&gpu.uuid).into_iter().flat_map(|mig| &mig.instances);
        for (id, instance) in instances.filter(|(id, _)| **id < GPU_INSTANCES) {
            let folder = format!("gpu{}/mig/gi{id}", gpu.minor);
            let number = of_gpu_instance(gpu.minor, *id);
            capabilities.push(Capability { folder: folder.clone(), number });
            let compute = instance.compute.keys().filter(|compute| **compute < COMPUTE_INSTANCES);
            capabilities.extend(compute.map(|compute| Capability {
                folder: format!("{folder}/ci{compute}"),
                number: of_compute_instance(gpu.minor, *id, *compute),
            }));
        }
    }
    capabilities
}
