//! Which GPUs are meant, in a list of GPUs that are offered or left out.

use std::str::FromStr;

use gpu_model::{GpuUuid, PciAddress};
use thiserror::Error;

use crate::pattern::Pattern;

/// A GPU by one of its names, or several by their product's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuSelector {
    /// By index.
    Index(u32),
    /// By UUID.
    Uuid(GpuUuid),
    /// By PCI address.
    Pci(PciAddress),
    /// By product name.
    Product(Pattern),
}

/// Text that selects no GPU.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` selects no GPU: expected an index (0), a UUID (GPU-…), a PCI address (0000:07:00.0) or a product's name, with `*` for any text"
)]
pub struct ParseGpuSelectorError(String);

impl FromStr for GpuSelector {
    type Err = ParseGpuSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseGpuSelectorError(text.to_owned());
        if text.trim().is_empty() || text.starts_with("MIG-") {
            return Err(wrong());
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(GpuSelector::Index).map_err(|_| wrong());
        }
        if text.starts_with("GPU-") {
            return text.parse().map(GpuSelector::Uuid).map_err(|_| wrong());
        }
        // Product names have no colons.
        if text.contains(':') {
            return text.parse().map(GpuSelector::Pci).map_err(|_| wrong());
        }
        Ok(GpuSelector::Product(Pattern::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selector_is_told_apart_by_its_form() {
        assert_eq!("3".parse(), Ok(GpuSelector::Index(3)));
        assert!(matches!("0000:07:00.0".parse(), Ok(GpuSelector::Pci(_))));
        assert_eq!("*A100*".parse(), Ok(GpuSelector::Product(Pattern::new("*A100*"))));
        for wrong in ["", " ", "GPU-1", "0:1", "MIG-1", "99999999999"] {
            assert!(wrong.parse::<GpuSelector>().is_err(), "{wrong}");
        }
    }
}
