//! What the kubelet takes: how many ids one resource may have. Pure.

use gpu_model::ResourceName;
use thiserror::Error;

use super::{Offered, ResourceMap};
use crate::streams::MAX_DEVICES;

/// A resource that the kubelet would not take.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{resource} would have {arithmetic} = {ids} ids, and one resource may have {MAX_DEVICES} at most: lower `replicas`"
)]
pub struct TooManyDevices {
    resource: ResourceName,
    ids: u64,
    arithmetic: String,
}

impl ResourceMap {
    /// Whether the kubelet takes each resource.
    ///
    /// # Errors
    /// At the first that it would not, with the figures.
    pub fn check(&self) -> Result<(), TooManyDevices> {
        for (resource, devices) in &self.resources {
            let ids: u64 = devices.iter().map(|device| u64::from(device.count())).sum();
            if ids > MAX_DEVICES as u64 {
                return Err(TooManyDevices {
                    resource: resource.clone(),
                    ids,
                    arithmetic: arithmetic(devices),
                });
            }
        }
        Ok(())
    }
}

/// How the number of ids comes about: `8 devices x 4096 replicas`.
fn arithmetic(devices: &[Offered]) -> String {
    let mut sharings: Vec<(Option<u32>, usize)> = Vec::new();
    for device in devices {
        match sharings.iter_mut().find(|(shares, _)| *shares == device.shares) {
            Some((_, count)) => *count += 1,
            None => sharings.push((device.shares, 1)),
        }
    }
    let term = |(shares, count): &(Option<u32>, usize)| match shares {
        Some(shares) => format!("{count} devices x {shares} replicas"),
        None => format!("{count} devices"),
    };
    sharings.iter().map(term).collect::<Vec<_>>().join(" + ")
}
