//! When a kubelet is done with the end of a stream. Knows what it counts; who registers again is the machine's business.
//!
//! A kubelet closes the connection first, and strikes the devices off after that. One before 1.37 strikes off whatever is
//! registered by then: a registration in between would be lost, and nothing on its own stream would tell.

use std::path::Path;
use std::time::Duration;

use gpu_model::ResourceName;
use tokio::time::{sleep, timeout};

use crate::pod_resources;

/// How long is waited in any case: also what else the kubelet does with an ended stream has to be over. It takes milliseconds.
pub(super) const AFTERMATH: Duration = Duration::from_millis(250);

/// How long after that a kubelet is waited for that still counts devices: they may be those of another instance.
const AT_MOST: Duration = Duration::from_secs(2);

/// From one look to the next.
const AGAIN: Duration = Duration::from_millis(50);

/// Waits until the kubelet counts none of the resource's devices as healthy. One that does not tell is not waited for.
pub(super) async fn struck_off(pod_resources: &Path, resource: &ResourceName) {
    let none = async {
        while counts(pod_resources, resource).await {
            sleep(AGAIN).await;
        }
    };
    if timeout(AT_MOST, none).await.is_err() {
        tracing::info!(%resource, "the kubelet has not struck the devices off that a stream has ended for");
    }
}

async fn counts(pod_resources: &Path, resource: &ResourceName) -> bool {
    match pod_resources::allocatable(pod_resources).await {
        Ok(devices) => devices
            .iter()
            .any(|devices| devices.resource_name == resource.as_str() && !devices.device_ids.is_empty()),
        Err(error) => {
            tracing::debug!(error = %daemon::error_chain(&error), "the kubelet does not tell what it counts");
            false
        }
    }
}
