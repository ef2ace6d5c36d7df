//! How the GPUs are wired. A GPU that cannot be identified is left out; what cannot be read of a pair
//! leaves the pair out.

use std::collections::BTreeMap;

use gpu_model::{GpuLink, GpuPlace, GpuUuid, PciAddress, Reading, Topology};

use super::Scope;
use crate::Code;
use crate::binding::{Driver, Failure, Gpu, LinkEnd};
use crate::protocol::Refusal;
use crate::reach::Place;

/// NVLinks that are asked for at most: as many as header 13.3 allows.
const MAX_LINKS: u32 = 36;

struct Node<'d> {
    gpu: Gpu<'d>,
    uuid: GpuUuid,
    pci: Option<PciAddress>,
}

pub(super) fn take(driver: &Driver<'_>, scope: &Scope) -> Result<Topology, Refusal> {
    let mut nodes = Vec::new();
    for place in scope.places(driver)?.into_iter().filter(|place| scope.failure(place.index).is_none()) {
        nodes.extend(node(driver, place)?);
    }
    let mut topology = Topology::default();
    let mut links: BTreeMap<(&GpuUuid, PciAddress), u32> = BTreeMap::new();
    for node in &nodes {
        let (ends, trouble) = link_ends(driver, &node.gpu)?;
        let mut switched = 0;
        for end in ends {
            match end {
                LinkEnd::Switch => switched += 1,
                LinkEnd::At(pci) if nodes.iter().any(|other| other.pci == Some(pci)) => {
                    *links.entry((&node.uuid, pci)).or_default() += 1;
                }
                // A driver that does not tell kinds: what is no GPU of ours is a switch.
                LinkEnd::At(_) if !driver.abilities.nvlink_kind => switched += 1,
                LinkEnd::At(_) | LinkEnd::Other => {}
            }
        }
        let nvswitch_links = trouble.unwrap_or(Reading::Value(switched));
        topology.gpus.insert(node.uuid.clone(), GpuPlace { nvswitch_links });
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
fn node<'d>(driver: &'d Driver<'d>, place: Place) -> Result<Option<Node<'d>>, Refusal> {
    let identified = driver.gpu(place).and_then(|gpu| gpu.uuid().map(|uuid| (gpu, uuid)));
    let Some((gpu, uuid)) = optional(identified)? else { return Ok(None) };
    let pci = optional(gpu.pci())?.map(|pci| pci.address);
    Ok(Some(Node { gpu, uuid, pci }))
}

/// The other ends of a GPU's active NVLinks, and what to say instead of their number: that the GPU has no
/// links, or that none of them could be asked.
fn link_ends(driver: &Driver<'_>, gpu: &Gpu<'_>) -> Result<(Vec<LinkEnd>, Option<Reading<u32>>), Refusal> {
    let mut ends = Vec::new();
    if !driver.abilities.nvlink {
        return Ok((ends, Some(Reading::NotSupported)));
    }
    let (mut has_answered, mut failed) = (false, None);
    for link in 0..MAX_LINKS {
        let end = match gpu.link_is_active(link) {
            Ok(true) => gpu.link_end(link).map(Some),
            Ok(false) => Ok(None),
            Err(failure) => Err(failure),
        };
        match end {
            Ok(end) => {
                has_answered = true;
                ends.extend(end);
            }
            Err(failure) if failure.code.needs_fresh_library() => return Err(failure.into()),
            // No link has this number or a higher one.
            Err(Failure { code: Code::InvalidArgument, .. }) => break,
            // This GPU does not have this one, and may have the next.
            Err(Failure { code: Code::NotSupported, .. }) => {}
            Err(Failure { call, code: Code::GpuIsLost }) => {
                let lost = Reading::Failed { call: call.to_owned(), code: Code::GpuIsLost.into() };
                return Ok((ends, Some(lost)));
            }
            // This one link is in trouble.
            Err(Failure { call, code }) => {
                failed.get_or_insert(Reading::Failed { call: call.to_owned(), code: code.into() });
            }
        }
    }
    let trouble = if has_answered { None } else { Some(failed.unwrap_or(Reading::NotSupported)) };
    Ok((ends, trouble))
}

/// A value that may be missing; an error only when the whole library is of no use any more.
fn optional<T>(answer: Result<T, Failure>) -> Result<Option<T>, Refusal> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.code.needs_fresh_library() => Err(failure.into()),
        Err(_) => Ok(None),
    }
}
