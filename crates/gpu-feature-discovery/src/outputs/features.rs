//! What rules of Node Feature Discovery can match on: one instance for each GPU and each MIG device.

use std::collections::BTreeMap;

use gpu_model::{Gpu, MigDevice};
use node_api::Features;

use crate::facts::DriverFacts;

/// Names of the features.
const GPU: &str = "nvidia.gpu";
const MIG: &str = "nvidia.mig";

const MIB: u64 = 1 << 20;

/// Those of the GPUs.
pub fn features(driver: Option<&DriverFacts>) -> Features {
    let gpus = driver.map(|driver| driver.inventory.gpus.as_slice()).unwrap_or_default();
    let mig = gpus.iter().flat_map(|gpu| gpu.mig_devices.iter().map(move |mig| of_mig(gpu, mig)));
    let mut features = Features::default();
    let instances = [(GPU, gpus.iter().map(of_gpu).collect()), (MIG, mig.collect::<Vec<_>>())];
    features.instances = instances
        .into_iter()
        .filter(|(_, all)| !all.is_empty())
        .map(|(name, all)| (name.to_owned(), all))
        .collect();
    features
}

type Attributes = BTreeMap<String, String>;

fn of_gpu(gpu: &Gpu) -> Attributes {
    let mut is = Attributes::new();
    let mut put = |name: &str, value: Option<String>| {
        is.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("uuid", Some(gpu.uuid.to_string()));
    put("index", Some(gpu.index.to_string()));
    put("product", gpu.product.value().cloned());
    put("pci", gpu.pci.value().map(ToString::to_string));
    put("memory_mib", gpu.memory_bytes.value().map(|bytes| (bytes / MIB).to_string()));
    put("compute", gpu.compute_capability.value().map(|(major, minor)| format!("{major}.{minor}")));
    put("numa_node", gpu.numa_node.value().map(ToString::to_string));
    put("mig_enabled", gpu.mig_mode.value().map(|mode| mode.current.to_string()));
    is
}

fn of_mig(gpu: &Gpu, mig: &MigDevice) -> Attributes {
    let mut is = Attributes::new();
    is.insert("uuid".to_owned(), mig.uuid.to_string());
    is.insert("gpu".to_owned(), gpu.uuid.to_string());
    is.insert("profile".to_owned(), mig.profile.to_string());
    is
}
