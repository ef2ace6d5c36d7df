//! NVLinks: what each GPU's links end at, the NVSwitches, and the fabric.

use serde_json::Value;

use super::{Fabric, Recording, facts, value};
use crate::walk::{Answers, GpuWalk, Walk};

/// More links than a GPU has.
const LINKS_END: u32 = 36;
/// `nvmlIntNvLinkDeviceType_t`.
const GPU: u64 = 0;
const SWITCH: u64 = 2;
/// `nvmlGpuFabricState_t`: the GPU has joined.
const COMPLETED: u64 = 3;
const NO_CLUSTER: &str = "00000000-0000-0000-0000-000000000000";

/// Fills in what the walk tells of links.
pub fn fill(recording: &mut Recording, walk: &Walk) {
    let addresses: Vec<String> = recording.gpus.iter().map(|gpu| gpu.pci.clone()).collect();
    for (index, walked) in walk.gpus.iter().enumerate() {
        let (mut peers, mut gap) = (Vec::new(), false);
        for link in 0..LINKS_END {
            let Some((kind, remote)) = end_of(&walked.answers, link) else {
                gap = true;
                continue;
            };
            let address = facts::address(remote);
            let peer =
                address.as_ref().and_then(|address| addresses.iter().position(|known| known == address));
            match (kind, peer, address) {
                (GPU, Some(peer), _) => {
                    // A node file lists the links from the first one on.
                    if gap {
                        recording
                            .notes
                            .push(format!("GPU {index}: link {link} stands behind one that ends nowhere"));
                    }
                    peers.push(peer);
                }
                (SWITCH, _, Some(address)) if !recording.nvswitches.contains(&address) => {
                    recording.nvswitches.push(address);
                    let device =
                        remote.get("pciDeviceId").and_then(Value::as_u64).map(|id| (id >> 16) as u32);
                    recording.nvswitch_device = recording.nvswitch_device.or(device.filter(|id| *id != 0));
                }
                _ => {}
            }
        }
        if let Some(gpu) = recording.gpus.get_mut(index).filter(|_| !peers.is_empty()) {
            gpu.peers = Some(peers);
        }
    }
    for (address, device) in walk.host.iter().flat_map(|host| &host.nvswitches) {
        if !recording.nvswitches.contains(address) {
            recording.nvswitches.push(address.clone());
        }
        let device = u32::from_str_radix(device.trim_start_matches("0x"), 16).ok();
        recording.nvswitch_device = recording.nvswitch_device.or(device);
    }
    let is_switched = |gpu: &GpuWalk| {
        (0..LINKS_END).any(|link| end_of(&gpu.answers, link).is_some_and(|(kind, _)| kind == SWITCH))
    };
    if recording.nvswitches.is_empty() && walk.host.is_none() && walk.gpus.iter().any(is_switched) {
        recording
            .notes
            .push("the driver does not tell where the NVSwitches are: record with --host-root".to_owned());
    }
    recording.fabric = walk.gpus.iter().find_map(|gpu| fabric(&gpu.answers));
}

/// What a link ends at, and where that is.
fn end_of(answers: &Answers, link: u32) -> Option<(u64, &Value)> {
    let kind = answers.get(&format!("nvmlDeviceGetNvLinkRemoteDeviceType({link})"))?.as_u64()?;
    let remote = answers.get(&format!("nvmlDeviceGetNvLinkRemotePciInfo_v2({link})"))?;
    remote.get("busId").map(|_| (kind, remote))
}

/// The fabric that a GPU has joined.
fn fabric(answers: &Answers) -> Option<Fabric> {
    let call = "nvmlDeviceGetGpuFabricInfoV";
    if value(answers, call, "state") != Some(COMPLETED) {
        return None;
    }
    let hex = answers.get(call)?.get("clusterUuid")?.as_str()?;
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let cluster = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    Some(Fabric {
        cluster: if cluster.len() == 36 { cluster } else { NO_CLUSTER.to_owned() },
        clique: value(answers, call, "cliqueId")?,
    })
}
