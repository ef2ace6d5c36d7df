//! What a container gets for the devices that the kubelet chose. Pure: from the state alone.
//!
//! A device that is not schedulable is refused: the kubelet only chooses healthy ones, so such a request is
//! a race with the news, and a pod that is refused now is placed again, while one that starts on a dead GPU
//! fails later and says less. A container that is started again does not come here; the kubelet replays its
//! first answer.

use cdi::builder::IMEX_CHANNEL;
use thiserror::Error;

use crate::injection::Need;
use crate::resource_map::Unit;
use crate::state::{Device, SpecState, State};

mod grant;

pub use grant::{Grant, Mount};

/// Why a container gets nothing. Nothing changes by a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The id was never offered.
    #[error("unknown device {id:?}: {resource} has {known} devices, and this is none of them")]
    UnknownDevice {
        /// The id as the kubelet gave it, cut to a bounded length.
        id: String,
        /// The resource.
        resource: String,
        /// Number of its devices.
        known: usize,
    },
    /// The id is offered no more; a pod holds it still, or did until a moment ago.
    #[error("{id} of {resource} is not offered any more: it is listed until the pod that holds it ends")]
    Retired {
        /// The id.
        id: String,
        /// The resource.
        resource: String,
    },
    /// The GPU cannot take work.
    #[error("no work can be placed on this device: {complaint}")]
    NotSchedulable {
        /// Which, and why.
        complaint: String,
    },
    /// The request is for more shares than one container may have.
    #[error(
        "{asked} shares of {resource} were asked for, and its config lets a container have 1: several shares give no more than one does (sharing.timeSlicing.failRequestsGreaterThanOne)"
    )]
    TooManyShares {
        /// How many.
        asked: usize,
        /// The resource.
        resource: String,
    },
    /// The runtime could not resolve the names, and the container would fail or start without its GPU.
    #[error("the CDI spec cannot be used: {reason}")]
    SpecStale {
        /// Why.
        reason: String,
    },
    /// The IMEX channel that each container is to have is not there.
    #[error(
        "the host has no {IMEX_CHANNELS_DIR}/channel0, and no container is to start without it (--imex-required, imex.required)"
    )]
    NoImexChannel,
}

/// Longest id that an error repeats, in characters. Real ids have 40.
const SHOWN_ID: usize = 80;

/// Where the driver has the nodes of IMEX channels.
const IMEX_CHANNELS_DIR: &str = "/dev/nvidia-caps-imex-channels";

/// Name of the device of the channel that a container gets, in our CDI spec.
fn imex_device() -> String {
    format!("{IMEX_CHANNEL}0")
}

/// What a container gets for `ids`. A device named twice, or by several of its shares, is injected once.
///
/// # Errors
/// When one of the ids cannot be handed out, or what has to be injected with it is not there.
pub fn allocate(state: &State, ids: &[String]) -> Result<Grant, Refusal> {
    let devices = chosen(state, ids)?;
    let injection = &state.injection;
    match &state.spec {
        _ if injection.need() < Need::Nodes => {}
        SpecState::Ready => {}
        SpecState::Pending => return Err(Refusal::SpecStale { reason: "it was not written yet".to_owned() }),
        SpecState::Stale { reason } => return Err(Refusal::SpecStale { reason: reason.clone() }),
    }
    if devices.iter().any(|device| device.offered.unit == Unit::Management) {
        return Ok(grant::of_management(injection, &state.host));
    }
    let has_channel = injection.imex.channel && state.host.has(&imex_device());
    if injection.imex.channel && injection.imex.required && !has_channel {
        return Err(Refusal::NoImexChannel);
    }
    Ok(grant::of(injection, &state.host, &devices))
}

/// The devices that are meant, each once, in the order asked.
fn chosen<'s>(state: &'s State, ids: &[String]) -> Result<Vec<&'s Device>, Refusal> {
    let mut devices: Vec<&Device> = Vec::with_capacity(ids.len());
    for id in ids {
        let device = state.device(id).ok_or_else(|| unknown(state, id))?;
        let is_share = device.offered.gpu.is_some() && device.offered.shares.is_some();
        if is_share && ids.len() > 1 && state.terms.one_share_at_most {
            return Err(Refusal::TooManyShares { asked: ids.len(), resource: state.resource.to_string() });
        }
        if !device.is_schedulable() {
            return Err(Refusal::NotSchedulable { complaint: device.complaint().unwrap_or_default() });
        }
        if !devices.iter().any(|chosen| chosen.offered.unit == device.offered.unit) {
            devices.push(device);
        }
    }
    Ok(devices)
}

fn unknown(state: &State, id: &str) -> Refusal {
    let resource = state.resource.to_string();
    if state.retired.iter().any(|retired| retired == id) {
        return Refusal::Retired { id: id.to_owned(), resource };
    }
    Refusal::UnknownDevice { id: id.chars().take(SHOWN_ID).collect(), resource, known: state.ids() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gpu_model::{Health, HealthReason};
    use proptest::prelude::*;

    use super::*;
    use crate::injection::tests::file;
    use crate::injection::{Injection, InjectionFlags};
    use crate::resource_map::Offered;
    use crate::state::tests::{gpu, node, shared};

    fn by(plugin: &str) -> Arc<Injection> {
        let text = format!("flags: {{plugin: {{{plugin}}}}}");
        Arc::new(Injection::new(&InjectionFlags::default(), &file(&text)).unwrap())
    }

    fn ids(positions: &[usize]) -> Vec<String> {
        positions.iter().map(|n| gpu(*n).to_string()).collect()
    }

    #[test]
    fn grant_names_each_device_once_in_the_order_asked() {
        let grant = allocate(&node(8), &ids(&[3, 1, 3])).unwrap();
        assert_eq!(
            grant.cdi_devices,
            [format!("gantry.dev/gpu={}", gpu(3)), format!("gantry.dev/gpu={}", gpu(1))]
        );
    }

    #[test]
    fn unknown_id_is_named_in_the_refusal_but_never_at_full_length() {
        let refusal = allocate(&node(8), &["GPU-nope".to_owned()]).unwrap_err();
        assert!(refusal.to_string().starts_with("unknown device \"GPU-nope\""), "{refusal}");
        let long = allocate(&node(8), &["é".repeat(100_000)]).unwrap_err();
        assert!(long.to_string().len() < 400);
    }

    #[test]
    fn id_that_is_offered_no_more_is_refused_as_such() {
        let mut state = shared(1, 2);
        let gone = format!("{}::3", gpu(0));
        state.retired = vec![gone.clone()];
        let refusal = allocate(&state, std::slice::from_ref(&gone)).unwrap_err();
        assert_eq!(refusal, Refusal::Retired { id: gone, resource: "nvidia.com/gpu".to_owned() });
    }

    #[test]
    fn unhealthy_device_is_refused_with_its_reason_and_unknown_health_is_not() {
        let mut state = node(2);
        state.devices[0].health = Health::Unhealthy { reason: HealthReason::Xid { xid: 79 } };
        state.devices[1].health = Health::Unknown { reason: HealthReason::NvmlStuck };
        let refusal = allocate(&state, &ids(&[0])).unwrap_err();
        assert!(refusal.to_string().contains("Unhealthy(xid-79)"), "{refusal}");
        assert!(allocate(&state, &ids(&[1])).is_ok());
    }

    #[test]
    fn stale_spec_refuses_rather_than_let_a_container_start_without_its_gpu() {
        let mut state = node(1);
        state.spec = SpecState::Stale { reason: "No space left on device".into() };
        assert!(matches!(allocate(&state, &ids(&[0])), Err(Refusal::SpecStale { .. })));
        state.spec = SpecState::Pending;
        assert!(matches!(allocate(&state, &ids(&[0])), Err(Refusal::SpecStale { .. })));
    }

    #[test]
    fn spec_that_nobody_needs_refuses_nothing() {
        let mut state = node(1);
        state.injection = by("deviceListStrategy: envvar");
        for spec in [SpecState::Pending, SpecState::Stale { reason: "No space left on device".into() }] {
            state.spec = spec;
            assert!(allocate(&state, &ids(&[0])).is_ok());
        }
        state.injection = by("deviceListStrategy: envvar, passDeviceSpecs: true");
        assert!(matches!(allocate(&state, &ids(&[0])), Err(Refusal::SpecStale { .. })));
    }

    #[test]
    fn container_goes_without_an_imex_channel_that_is_not_there_unless_it_is_required() {
        let mut state = node(1);
        let with = |imex: &str| {
            let text = format!("flags: {{plugin: {{deviceListStrategy: envvar}}}}\nimex: {imex}\n");
            Arc::new(Injection::new(&InjectionFlags::default(), &file(&text)).unwrap())
        };
        state.injection = with("{channelIDs: [0]}");
        assert!(!allocate(&state, &ids(&[0])).unwrap().envs.contains_key("NVIDIA_IMEX_CHANNELS"));
        state.injection = with("{channelIDs: [0], required: true}");
        let refusal = allocate(&state, &ids(&[0])).unwrap_err().to_string();
        assert!(refusal.contains("channel0") && refusal.contains("imex.required"), "{refusal}");
    }

    #[test]
    fn shares_of_one_gpu_give_that_gpu_once_and_several_are_refused_where_the_config_says_so() {
        let mut state = shared(2, 4);
        let asked = [format!("{}::0", gpu(1)), format!("{}::3", gpu(1))];
        assert_eq!(allocate(&state, &asked).unwrap().cdi_devices, [format!("gantry.dev/gpu={}", gpu(1))]);
        state.terms.one_share_at_most = true;
        assert!(allocate(&state, &asked[..1]).is_ok());
        let refusal = allocate(&state, &asked).unwrap_err().to_string();
        assert!(refusal.contains("2 shares of nvidia.com/gpu"), "{refusal}");
        // Whole GPUs are not shares.
        let mut whole = node(2);
        whole.terms.one_share_at_most = true;
        assert!(allocate(&whole, &ids(&[0, 1])).is_ok());
    }

    #[test]
    fn daemon_gets_all_nodes_by_any_number_of_ids_and_nothing_that_containers_get_beside_gpus() {
        let config = "flags: {gdsEnabled: true}\nimex: {channelIDs: [0], required: true}\n";
        let mut state = node(1);
        state.devices = vec![Device { offered: Offered::management(4), ..state.devices[0].clone() }];
        state.injection = Arc::new(Injection::new(&InjectionFlags::default(), &file(config)).unwrap());
        state.terms.one_share_at_most = true;
        let ids = ["management::0".to_owned(), "management::3".to_owned()];
        assert_eq!(allocate(&state, &ids).unwrap().cdi_devices, ["gantry.dev/gpu=management"]);
        assert!(allocate(&state, &["management::4".to_owned()]).is_err());
        state.devices[0].lacking = Some("there is no driver".to_owned());
        let refusal = allocate(&state, &ids).unwrap_err().to_string();
        assert!(refusal.contains("there is no driver"), "{refusal}");
    }

    proptest! {
        #[test]
        fn any_request_is_granted_whole_or_refused(
            positions in proptest::collection::vec(0usize..10, 0..12),
            sick in proptest::collection::vec(0usize..8, 0..3),
        ) {
            let mut state = node(8);
            for at in &sick {
                state.devices[*at].health = Health::Unhealthy { reason: HealthReason::Lost };
            }
            let fine = positions.iter().all(|at| *at < 8 && !sick.contains(at));
            match allocate(&state, &ids(&positions)) {
                Ok(grant) => {
                    prop_assert!(fine);
                    let names: std::collections::BTreeSet<_> = positions.iter().map(|at| format!("gantry.dev/gpu={}", gpu(*at))).collect();
                    prop_assert_eq!(grant.cdi_devices.len(), names.len());
                    prop_assert!(grant.cdi_devices.iter().all(|name| names.contains(name)));
                }
                Err(_) => prop_assert!(!fine),
            }
        }
    }
}
