//! Which GPUs a question touches: all that the driver counts, or some that are named by their PCI addresses. A handle by
//! index would not do for the latter: the index of a GPU changes when another one goes, and the call initialises whatever
//! stands there.

use std::fmt;

use gpu_model::PciAddress;
use serde::{Deserialize, Serialize};

/// A GPU that may be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuAt {
    /// The index under which it is spoken of.
    pub index: u32,
    /// Where it is.
    pub pci: PciAddress,
}

/// The GPUs that may be touched; all without a list.
pub(crate) type Reach = Option<Vec<GpuAt>>;

/// A GPU as it is asked for: by its index, or by its address where one is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub index: u32,
    pub pci: Option<BusId>,
}

/// A PCI address as NVML spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BusId(PciAddress);

impl Place {
    pub fn of_index(index: u32) -> Place {
        Place { index, pci: None }
    }
}

impl From<GpuAt> for Place {
    fn from(gpu: GpuAt) -> Place {
        Place { index: gpu.index, pci: Some(BusId(gpu.pci)) }
    }
}

impl fmt::Display for BusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PciAddress { domain, bus, device, function } = self.0;
        write!(f, "{domain:08x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_spelt_with_the_long_domain_that_nvml_prints() {
        let pci: PciAddress = "0000:c7:1f.0".parse().unwrap();
        let place = Place::from(GpuAt { index: 3, pci });
        assert_eq!(place.pci.unwrap().to_string(), "00000000:c7:1f.0");
    }
}
