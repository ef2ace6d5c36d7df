//! The capabilities by which the driver guards MIG instances: each has a number, and a device node that a container
//! needs to use the instance. Facts: NVIDIA's MIG user guide, "Device Nodes and Capabilities".

use std::collections::BTreeMap;

use crate::kernel::{self, ReadError};
use crate::root::HostRoot;

/// Folder of the nodes in `/dev`.
pub(crate) const FOLDER: &str = "nvidia-caps";

const MINORS: &str = "/proc/driver/nvidia-caps/mig-minors";

const DEVICES: &str = "/proc/devices";

/// The kernel's name of the major number.
const MAJOR_NAME: &str = "nvidia-caps";

/// The numbers of the capabilities of all instances that the driver can make, whether they live or not: it gives them
/// when it is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigMinors(BTreeMap<Instance, u32>);

/// Minor number of the GPU, GPU instance, and compute instance if it is one.
type Instance = (u32, u32, Option<u32>);

impl MigMinors {
    /// Reads the driver's list. It is empty where the driver has none, as without a GPU that can do MIG.
    pub fn read(host: &HostRoot) -> Result<MigMinors, ReadError> {
        Ok(kernel::read_proc(host, MINORS)?.map_or_else(MigMinors::default, |text| MigMinors::parse(&text)))
    }

    /// The list in a text such as the driver prints. Lines that are not about an instance are passed over.
    pub fn parse(text: &str) -> MigMinors {
        MigMinors(text.lines().filter_map(line).collect())
    }

    /// Whether it has no number at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The capability of a GPU instance: by the minor number of its GPU, and its id.
    pub fn gpu_instance(&self, gpu: u32, instance: u32) -> Option<u32> {
        self.0.get(&(gpu, instance, None)).copied()
    }

    /// The capability of a compute instance.
    pub fn compute_instance(&self, gpu: u32, instance: u32, compute: u32) -> Option<u32> {
        self.0.get(&(gpu, instance, Some(compute))).copied()
    }
}

/// `gpu0/gi1/access 12`, or `gpu0/gi1/ci2/access 15`.
fn line(text: &str) -> Option<(Instance, u32)> {
    let (path, number) = text.split_once(' ')?;
    let number = number.trim().parse().ok()?;
    let mut parts = path.split('/');
    let gpu = parts.next()?.strip_prefix("gpu")?.parse().ok()?;
    let instance = parts.next()?.strip_prefix("gi")?.parse().ok()?;
    let compute = match (parts.next()?, parts.next(), parts.next()) {
        ("access", None, None) => None,
        (compute, Some("access"), None) => Some(compute.strip_prefix("ci")?.parse().ok()?),
        _ => return None,
    };
    Some(((gpu, instance, compute), number))
}

/// The major number that the kernel gave to the nodes of capabilities when the driver was loaded; nothing where it
/// gave none.
pub fn major(host: &HostRoot) -> Result<Option<u32>, ReadError> {
    let text = kernel::read_proc(host, DEVICES)?.unwrap_or_default();
    let characters = text.lines().take_while(|line| !line.starts_with("Block"));
    let mut majors = characters.filter_map(|line| {
        let (number, name) = line.trim().split_once(' ')?;
        if name == MAJOR_NAME { number.parse().ok() } else { None }
    });
    Ok(majors.next())
}

/// The number in the name of a node below `/dev`: 7 for `nvidia-caps/nvidia-cap7`.
pub(crate) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(FOLDER)?.strip_prefix("/nvidia-cap")?;
    // `parse` alone would take a sign, and several spellings of one number.
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// The name below `/dev` of the node of a capability.
pub fn node_name(number: u32) -> String {
    format!("{FOLDER}/nvidia-cap{number}")
}
