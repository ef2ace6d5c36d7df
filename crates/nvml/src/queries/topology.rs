//! How the GPUs are wired. A GPU that cannot be identified is left out; what cannot be read of a pair
//! leaves the pair out.

use std::collections::BTreeMap;

use gpu_model::{GpuLink, GpuPlace, GpuUuid, PciAddress, Topology};

use crate::Code;
use crate::binding::{Driver, Failure, Gpu, LinkEnd};
use crate::protocol::Refusal;

/// NVLinks that are asked for at most: as many as header 13.3 allows.
const MAX_LINKS: u32 = 36;

struct Node<'d> {
    gpu: Gpu<'d>,
    uuid: GpuUuid,
    pci: Option<PciAddress>,
}

pub(super) fn take(driver: &Driver<'_>) -> Result<Topology, Refusal> {
    let mut nodes = Vec::new();
    for index in 0..driver.gpu_count()? {
        nodes.extend(node(driver, index)?);
    }
    let mut topology = Topology::default();
    let mut links: BTreeMap<(&GpuUuid, PciAddress), u32> = BTreeMap::new();
    for node in &nodes {
        let mut place = GpuPlace { numa_node: optional(node.gpu.numa_node())?, nvswitch_links: 0 };
        for end in link_ends(driver, &node.gpu)? {
            match end {
                LinkEnd::Switch => place.nvswitch_links += 1,
                LinkEnd::At(pci) if nodes.iter().any(|other| other.pci == Some(pci)) => {
                    *links.entry((&node.uuid, pci)).or_default() += 1;
                }
                // A driver that does not tell kinds: what is no GPU of ours is a switch.
                LinkEnd::At(_) if !driver.abilities.nvlink_kind => place.nvswitch_links += 1,
                LinkEnd::At(_) | LinkEnd::Other => {}
            }
        }
        topology.gpus.insert(node.uuid.clone(), place);
    }
    let direct = |from: &Node<'_>, to: &Node<'_>| {
        to.pci.and_then(|pci| links.get(&(&from.uuid, pci))).copied().unwrap_or(0)
    };
    for (at, a) in nodes.iter().enumerate() {
        for b in nodes.iter().skip(at + 1) {
            if driver.abilities.ancestors
                && let Some(ancestor) = optional(a.gpu.common_ancestor(&b.gpu))?
            {
                // Both ends count the same links; one of them may have failed to answer.
                let link = GpuLink { ancestor, nvlinks: direct(a, b).max(direct(b, a)) };
                let (first, second) = if a.uuid <= b.uuid { (a, b) } else { (b, a) };
                topology.pairs.push((first.uuid.clone(), second.uuid.clone(), link));
            }
        }
    }
    topology.pairs.sort_by(|(a, b, _), (c, d, _)| (a, b).cmp(&(c, d)));
    Ok(topology)
}

/// `None` for a GPU that cannot be identified.
fn node<'d>(driver: &'d Driver<'d>, index: u32) -> Result<Option<Node<'d>>, Refusal> {
    let identified = driver.gpu(index).and_then(|gpu| gpu.uuid().map(|uuid| (gpu, uuid)));
    let Some((gpu, uuid)) = optional(identified)? else { return Ok(None) };
    let pci = optional(gpu.pci())?.map(|pci| pci.address);
    Ok(Some(Node { gpu, uuid, pci }))
}

/// The other ends of a GPU's active NVLinks.
fn link_ends(driver: &Driver<'_>, gpu: &Gpu<'_>) -> Result<Vec<LinkEnd>, Refusal> {
    let mut ends = Vec::new();
    if !driver.abilities.nvlink {
        return Ok(ends);
    }
    for link in 0..MAX_LINKS {
        match gpu.link_is_active(link) {
            Ok(true) => ends.extend(optional(gpu.link_end(link))?),
            Ok(false) => {}
            Err(failure) if failure.code.needs_fresh_library() => return Err(failure.into()),
            // No such link, no NVLink at all, or no GPU any more.
            Err(Failure { code: Code::InvalidArgument | Code::NotSupported | Code::GpuIsLost, .. }) => break,
            // This one link is in trouble.
            Err(_) => {}
        }
    }
    Ok(ends)
}

/// A value that may be missing; an error only when the whole library is of no use any more.
fn optional<T>(answer: Result<T, Failure>) -> Result<Option<T>, Refusal> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.code.needs_fresh_library() => Err(failure.into()),
        Err(_) => Ok(None),
    }
}
