//! The device plugin service: the only place, with `streams`, that knows the kubelet's messages.
//!
//! One service for each resource. Every answer comes from memory. Nothing here asks a driver, reads a file or waits for anything.

use std::time::Instant;

use kubelet_api::deviceplugin::MAX_MESSAGE_TO_KUBELET;
use kubelet_api::deviceplugin::v1beta1 as wire;
use kubelet_api::deviceplugin::v1beta1::device_plugin_server::{DevicePlugin, DevicePluginServer};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::allocate::{self, Grant, Mount, Refusal};
use crate::cdi_gate::CdiGate;
use crate::held::Granted;
use crate::host_devices::NodePath;
use crate::metrics::ResourceMetrics;
use crate::preferred::preferred_ids;
use crate::socket::Origin;
use crate::state::Snapshot;
use crate::streams::{LONGEST_ID, MAX_DEVICES, Message, Streams};

/// Largest request that is read, in bytes. A preference names every free device twice over at most, in ids of 63 bytes
/// and 3 of framing: 2.1 MiB for as many devices as one resource may have.
const MAX_REQUEST: usize = MAX_DEVICES * 2 * (LONGEST_ID + 3) + 64 * 1024;

/// A GPU device is read and written; no container needs to make device nodes.
const NODE_PERMISSIONS: &str = "rw";

/// Answers the kubelet.
#[derive(Clone)]
pub struct Service {
    /// What the plugin offers.
    pub state: watch::Receiver<Snapshot>,
    /// The streams of device lists.
    pub streams: Streams,
    /// Whether the runtime still resolves CDI names.
    pub cdi: watch::Receiver<CdiGate>,
    /// Told what is granted.
    pub granted: mpsc::UnboundedSender<Granted>,
    /// Counts and durations.
    pub metrics: ResourceMetrics,
    /// Ends the streams when the plugin stops.
    pub stopping: CancellationToken,
}

impl Service {
    /// The service as tonic serves it, with its bounds.
    pub fn into_server(self) -> DevicePluginServer<Self> {
        DevicePluginServer::new(self)
            .max_decoding_message_size(MAX_REQUEST)
            .max_encoding_message_size(MAX_MESSAGE_TO_KUBELET)
    }

    fn grant(&self, ids: &[String]) -> Result<Grant, Status> {
        let state = self.state.borrow();
        if state.injection.uses_cdi() {
            match &*self.cdi.borrow() {
                CdiGate::Open => {}
                CdiGate::Revoked { reason } => {
                    return Err(Status::failed_precondition(format!("CDI is not proven any more: {reason}")));
                }
                // It is asked for anew, since a change of the config a moment ago.
                CdiGate::Closed | CdiGate::NotNeeded => {
                    return Err(Status::failed_precondition("CDI is not proven yet"));
                }
            }
        }
        allocate::allocate(&state, ids).map_err(|refusal| status_of(&refusal))
    }
}

#[tonic::async_trait]
impl DevicePlugin for Service {
    async fn get_device_plugin_options(
        &self,
        request: Request<wire::Empty>,
    ) -> Result<Response<wire::DevicePluginOptions>, Status> {
        let started = Instant::now();
        self.streams.introduced(origin_of(&request));
        let options =
            wire::DevicePluginOptions { pre_start_required: false, get_preferred_allocation_available: true };
        self.metrics.answered("GetDevicePluginOptions", started, true);
        Ok(Response::new(options))
    }

    type ListAndWatchStream = ReceiverStream<Message>;

    async fn list_and_watch(
        &self,
        request: Request<wire::Empty>,
    ) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let stopping = self.stopping.clone();
        let messages = self.streams.open(origin_of(&request), async move { stopping.cancelled().await });
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<wire::PreferredAllocationRequest>,
    ) -> Result<Response<wire::PreferredAllocationResponse>, Status> {
        let started = Instant::now();
        let state = self.state.borrow().clone();
        let prefer =
            |asked: wire::ContainerPreferredAllocationRequest| wire::ContainerPreferredAllocationResponse {
                device_i_ds: preferred_ids(
                    &state,
                    &asked.available_device_i_ds,
                    &asked.must_include_device_i_ds,
                    asked.allocation_size,
                ),
            };
        let container_responses = request.into_inner().container_requests.into_iter().map(prefer).collect();
        self.metrics.answered("GetPreferredAllocation", started, true);
        Ok(Response::new(wire::PreferredAllocationResponse { container_responses }))
    }

    async fn allocate(
        &self,
        request: Request<wire::AllocateRequest>,
    ) -> Result<Response<wire::AllocateResponse>, Status> {
        let started = Instant::now();
        let asked = request.into_inner().container_requests;
        let grants: Result<Vec<Grant>, Status> =
            asked.iter().map(|asked| self.grant(&asked.devices_ids)).collect();
        self.metrics.answered("Allocate", started, grants.is_ok());
        match &grants {
            Ok(grants) => {
                let devices: Vec<&String> = grants.iter().flat_map(|grant| &grant.devices).collect();
                self.metrics.allocated(devices.len());
                tracing::info!(resource = %self.state.borrow().resource, ?devices, "allocated");
                let ids = asked.into_iter().flat_map(|asked| asked.devices_ids).collect();
                // Without a reader the daemon is about to end.
                let _ = self.granted.send(Granted { resource: self.state.borrow().resource.clone(), ids });
            }
            Err(status) => {
                self.metrics.refused();
                tracing::warn!(resource = %self.state.borrow().resource, reason = status.message(), "allocation refused");
            }
        }
        Ok(Response::new(wire::AllocateResponse {
            container_responses: grants?.into_iter().map(render).collect(),
        }))
    }

    async fn pre_start_container(
        &self,
        _request: Request<wire::PreStartContainerRequest>,
    ) -> Result<Response<wire::PreStartContainerResponse>, Status> {
        Ok(Response::new(wire::PreStartContainerResponse {}))
    }
}

/// Where a request came in.
fn origin_of<T>(request: &Request<T>) -> Origin {
    request.extensions().get().copied().unwrap_or_default()
}

fn render(grant: Grant) -> wire::ContainerAllocateResponse {
    let Grant { devices: _, cdi_devices, annotations, envs, mounts, nodes } = grant;
    let mount = |Mount { container, host }| wire::Mount {
        container_path: container,
        host_path: host,
        read_only: false,
    };
    let node = |NodePath { container, host }| wire::DeviceSpec {
        container_path: container,
        host_path: host,
        permissions: NODE_PERMISSIONS.to_owned(),
    };
    wire::ContainerAllocateResponse {
        envs,
        mounts: mounts.into_iter().map(mount).collect(),
        devices: nodes.into_iter().map(node).collect(),
        annotations,
        cdi_devices: cdi_devices.into_iter().map(|name| wire::CdiDevice { name }).collect(),
    }
}

fn status_of(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::UnknownDevice { .. } | Refusal::TooManyShares { .. } => Status::invalid_argument(text),
        Refusal::NotSchedulable { .. }
        | Refusal::Retired { .. }
        | Refusal::SpecStale { .. }
        | Refusal::NoImexChannel => Status::failed_precondition(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use cdi::Spec;

    use super::*;
    use crate::host_devices::HostDevices;
    use crate::injection::tests::file;
    use crate::injection::{Injection, InjectionFlags};
    use crate::state::tests::{gpu, node};

    /// The spec of two GPUs below a driver container's root, with all that there can be beside them.
    fn spec() -> Spec {
        let node = |path: &str| {
            format!(
                r#"{{"path":"{path}","hostPath":"/run/nvidia/driver{path}","type":"c","major":195,"minor":0,"permissions":"rw"}}"#
            )
        };
        let device = |name: &str, path: &str| {
            let node = node(path);
            format!(r#"{{"name":"{name}","containerEdits":{{"deviceNodes":[{node}]}}}}"#)
        };
        let devices = [
            device(gpu(0).as_str(), "/dev/nvidia0"),
            device(gpu(1).as_str(), "/dev/nvidia1"),
            device("gds", "/dev/nvidia-fs0"),
            device("gdrcopy", "/dev/gdrdrv"),
            device("imex-channel0", "/dev/nvidia-caps-imex-channels/channel0"),
        ];
        let text = format!(
            r#"{{"cdiVersion":"0.5.0","kind":"gantry.dev/gpu","devices":[{}],"containerEdits":{{"deviceNodes":[{},{}]}}}}"#,
            devices.join(","),
            node("/dev/nvidiactl"),
            node("/dev/nvidia-uvm"),
        );
        Spec::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn answer_of_each_way_of_injection_is_as_the_goldens_say() {
        let everything = "gdsEnabled: true, gdrcopyEnabled: true, mofedEnabled: true, ";
        let imex = "imex: {channelIDs: [0], required: true}\n";
        for (golden, shared, plugin, rest) in [
            ("envvar", "", "deviceListStrategy: envvar", ""),
            ("volume-mounts", "", "deviceListStrategy: volume-mounts", ""),
            ("cdi-annotations", "", "deviceListStrategy: cdi-annotations", ""),
            ("cdi-cri", "", "deviceListStrategy: cdi-cri", ""),
            ("cdi-with-everything", everything, "deviceListStrategy: [cdi-cri, cdi-annotations]", imex),
            (
                "all-ways-with-everything",
                everything,
                "deviceListStrategy: [envvar, volume-mounts, cdi-annotations, cdi-cri], deviceIDStrategy: index, passDeviceSpecs: true",
                imex,
            ),
        ] {
            let config = file(&format!("flags: {{{shared}plugin: {{{plugin}}}}}\n{rest}"));
            let mut state = node(2);
            state.injection = Arc::new(Injection::new(&InjectionFlags::default(), &config).unwrap());
            state.host = Arc::new(HostDevices::of(&spec()));
            let ids = [gpu(1).to_string(), gpu(0).to_string()];
            let answer = render(allocate::allocate(&state, &ids).unwrap());
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
            sim_node::assert_golden(
                &folder.join(format!("allocate-{golden}.txt")),
                &format!("{answer:#?}\n"),
            );
        }
    }
}
