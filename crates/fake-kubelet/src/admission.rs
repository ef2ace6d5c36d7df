//! Admission of a container: choose devices, ask the plugin, write down what came of it.
//!
//! Knows the order of the real kubelet's calls. The rules of choice are the books'.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kubelet_api::deviceplugin::{
    PRE_START_TIMEOUT,
    v1beta1::{
        AllocateRequest, ContainerAllocateRequest, ContainerPreferredAllocationRequest,
        PreStartContainerRequest, PreferredAllocationRequest,
    },
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tonic::Status;

use crate::{
    books::{Choice, Pending},
    incarnation::{Caller, Incarnation},
    injection::Injection,
    state::{PodName, PodRequest},
};

/// A container that was admitted and started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Its devices, sorted.
    pub devices: Vec<String>,
    /// What the plugin put into it.
    pub injection: Injection,
    /// How long `GetPreferredAllocation` took; absent when it was not called.
    pub preferred_took: Option<Duration>,
    /// How long `Allocate` took; absent when an earlier answer was reused.
    pub allocate_took: Option<Duration>,
}

/// Why a container was not admitted, or not started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// The kubelet is stopped.
    #[error("the kubelet does not run")]
    NotRunning,
    /// No plugin ever registered the resource: the scheduler would not have sent the pod.
    #[error("no plugin offers {resource}")]
    Unknown {
        /// The resource.
        resource: String,
    },
    /// The resource has no list of devices.
    #[error("cannot allocate unregistered device {resource}")]
    Unregistered {
        /// The resource.
        resource: String,
    },
    /// All devices are unhealthy.
    #[error("no healthy devices present; cannot allocate unhealthy devices {resource}")]
    NoneHealthy {
        /// The resource.
        resource: String,
    },
    /// The container is admitted anew, and devices of its first admission are unhealthy or gone.
    #[error(
        "previously allocated devices are no longer healthy; cannot allocate unhealthy devices {resource}"
    )]
    HeldUnhealthy {
        /// The resource.
        resource: String,
    },
    /// The container is admitted anew with another count.
    #[error("holds {held} {resource} and now asks for {count}")]
    Changed {
        /// The resource.
        resource: String,
        /// What it holds.
        held: usize,
        /// What it asks for.
        count: usize,
    },
    /// Too few devices are free.
    #[error("{needed} {resource} needed, {available} available")]
    Unavailable {
        /// The resource.
        resource: String,
        /// How many were missing before the last source was looked at.
        needed: usize,
        /// How many there were.
        available: usize,
    },
    /// The plugin has gone.
    #[error("the plugin of {resource} has stopped; {call} cannot be called")]
    Stopped {
        /// The call.
        call: &'static str,
        /// The resource.
        resource: String,
    },
    /// The plugin answered with an error.
    #[error("{call} of {resource} failed with {code}: {message}")]
    Call {
        /// The call.
        call: &'static str,
        /// The resource.
        resource: String,
        /// gRPC code.
        code: String,
        /// The plugin's text.
        message: String,
    },
    /// `Allocate` answered without an answer for the container.
    #[error("Allocate of {resource} answered for no container")]
    NoContainer {
        /// The resource.
        resource: String,
    },
    /// The oracle: the books gave a device to two containers.
    #[error("{device} of {resource} is held by {first} and by {second}")]
    HeldTwice {
        /// The resource.
        resource: String,
        /// The device.
        device: String,
        /// One holder.
        first: String,
        /// The other holder.
        second: String,
    },
    /// The container holds nothing of the resource.
    #[error("{pod} {container} holds no {resource}")]
    NotHeld {
        /// The pod.
        pod: PodName,
        /// The container.
        container: String,
        /// The resource.
        resource: String,
    },
}

impl AdmissionError {
    /// The reason that the pod's status shows.
    pub const REASON: &'static str = "UnexpectedAdmissionError";
}

/// Admits a container.
pub(crate) async fn admit(kubelet: &Incarnation, request: &PodRequest) -> Result<Allocation, AdmissionError> {
    let resource = &request.resource;
    let choice = {
        let mut books = kubelet.books();
        if !books.is_known(resource) {
            return Err(AdmissionError::Unknown { resource: resource.clone() });
        }
        books.choose(request)?
    };
    let (ids, preferred_took) = match choice {
        Choice::Held => return held(kubelet, request),
        Choice::Chosen(ids) => (ids, None),
        Choice::Ask(pending) => prefer(kubelet, request, pending).await?,
    };
    let began = Instant::now();
    let injection = match allocate(kubelet, resource, &ids).await {
        Ok(answer) => answer,
        Err(error) => {
            // An answer without a container leaves the reservation, as in the real kubelet.
            if !matches!(error, AdmissionError::NoContainer { .. }) {
                kubelet.books().recount();
            }
            return Err(error);
        }
    };
    let allocate_took = Some(began.elapsed());
    kubelet.books().hold(request, &ids, injection.clone()).map_err(|twice| AdmissionError::HeldTwice {
        resource: resource.clone(),
        device: twice.device,
        first: twice.first,
        second: twice.second,
    })?;
    kubelet.save();
    Ok(Allocation { devices: ids.into_iter().collect(), injection, preferred_took, allocate_took })
}

/// Starts an admitted container, for the first time or again: `PreStartContainer` when the plugin wants it, and the
/// answer of its admission.
pub(crate) async fn start(kubelet: &Incarnation, request: &PodRequest) -> Result<Allocation, AdmissionError> {
    const CALL: &str = "PreStartContainer";
    let allocation = held(kubelet, request)?;
    let wanted = kubelet.books().primary(&request.resource).is_some_and(|at| at.options.pre_start_required);
    if wanted {
        let mut caller = caller(kubelet, &request.resource, CALL)?;
        let mut client = caller.client.clone();
        let devices_ids = allocation.devices.clone();
        let call = client.pre_start_container(PreStartContainerRequest { devices_ids });
        let answer = tokio::time::timeout(PRE_START_TIMEOUT, caller.answer(call)).await;
        answer
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
            .map_err(|status| failed(CALL, &request.resource, &status))?;
    }
    Ok(allocation)
}

fn held(kubelet: &Incarnation, request: &PodRequest) -> Result<Allocation, AdmissionError> {
    let PodRequest { pod, container, resource, count, .. } = request;
    match kubelet.books().held(pod, container, resource) {
        Some(held) => Ok(Allocation {
            devices: held.devices.keys().cloned().collect(),
            injection: held.injection.clone(),
            preferred_took: None,
            allocate_took: None,
        }),
        None if *count == 0 => Ok(Allocation {
            devices: Vec::new(),
            injection: Injection::default(),
            preferred_took: None,
            allocate_took: None,
        }),
        None => Err(AdmissionError::NotHeld {
            pod: pod.clone(),
            container: container.clone(),
            resource: resource.clone(),
        }),
    }
}

async fn prefer(
    kubelet: &Incarnation,
    request: &PodRequest,
    pending: Pending,
) -> Result<(BTreeSet<String>, Option<Duration>), AdmissionError> {
    const CALL: &str = "GetPreferredAllocation";
    let resource = &request.resource;
    let offered =
        kubelet.books().primary(resource).is_some_and(|at| at.options.get_preferred_allocation_available);
    let mut preferred = BTreeSet::new();
    let mut took = None;
    if offered {
        let mut caller = caller(kubelet, resource, CALL)?;
        let mut client = caller.client.clone();
        let question = {
            let mut books = kubelet.books();
            ContainerPreferredAllocationRequest {
                available_device_i_ds: books.unordered(&pending.available),
                must_include_device_i_ds: books.unordered(&pending.must_include),
                allocation_size: i32::try_from(pending.size).unwrap_or(i32::MAX),
            }
        };
        let began = Instant::now();
        let container_requests = vec![question];
        // No deadline: neither has the real kubelet.
        let call = client.get_preferred_allocation(PreferredAllocationRequest { container_requests });
        let answer = caller.answer(call).await;
        took = Some(began.elapsed());
        let answer = answer.map_err(|status| failed(CALL, resource, &status))?;
        if let Some(first) = answer.container_responses.into_iter().next() {
            preferred = first.device_i_ds.into_iter().collect();
        }
    }
    let ids = kubelet.books().choose_preferred(request, pending, &preferred)?;
    Ok((ids, took))
}

async fn allocate(
    kubelet: &Incarnation,
    resource: &str,
    ids: &BTreeSet<String>,
) -> Result<Injection, AdmissionError> {
    const CALL: &str = "Allocate";
    let mut caller = caller(kubelet, resource, CALL)?;
    let mut client = caller.client.clone();
    let devices_ids = kubelet.books().unordered(ids);
    let container_requests = vec![ContainerAllocateRequest { devices_ids }];
    let answer = caller.answer(client.allocate(AllocateRequest { container_requests })).await;
    let answer = answer.map_err(|status| failed(CALL, resource, &status))?;
    let first = answer.container_responses.into_iter().next();
    first.map(Injection::from).ok_or_else(|| AdmissionError::NoContainer { resource: resource.to_owned() })
}

fn caller(kubelet: &Incarnation, resource: &str, call: &'static str) -> Result<Caller, AdmissionError> {
    let number = kubelet
        .books()
        .primary(resource)
        .filter(|endpoint| endpoint.stopped.is_none())
        .and_then(|endpoint| endpoint.client);
    number
        .and_then(|number| kubelet.caller(number))
        .ok_or_else(|| AdmissionError::Stopped { call, resource: resource.to_owned() })
}

fn failed(call: &'static str, resource: &str, status: &Status) -> AdmissionError {
    AdmissionError::Call {
        call,
        resource: resource.to_owned(),
        code: format!("{:?}", status.code()),
        message: status.message().to_owned(),
    }
}
