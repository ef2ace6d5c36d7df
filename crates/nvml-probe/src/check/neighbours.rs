//! GPUs beside each other: what one says of another, the other says of it.

use serde_json::Value;

use super::{Findings, number, text};
use crate::walk::{Answers, Walk};

/// More links than a GPU has.
const LINKS_END: u32 = 36;
/// `nvmlIntNvLinkDeviceType_t`: the other end is a GPU.
const GPU: u64 = 0;
/// Functions of two GPUs with what comes behind the other one, which give the same whoever is asked.
const OF_TWO: &[(&str, &[&str])] = &[
    ("nvmlDeviceGetTopologyCommonAncestor", &[""]),
    ("nvmlDeviceOnSameBoard", &[""]),
    ("nvmlDeviceGetP2PStatus", &[", 0", ", 1", ", 2", ", 3", ", 4"]),
];

/// Each pair of GPUs tells the same from both ends.
pub fn both_ends(walks: &[Walk], findings: &mut Findings) {
    let Some(walk) = walks.first() else { return };
    for one in 0..walk.gpus.len() {
        for other in one + 1..walk.gpus.len() {
            pair(walk, one, other, findings);
        }
    }
}

fn pair(walk: &Walk, one: usize, other: usize, findings: &mut Findings) {
    let (Some(mine), Some(theirs)) = (walk.gpus.get(one), walk.gpus.get(other)) else { return };
    let (mine, theirs) = (&mine.answers, &theirs.answers);
    let of = format!("GPU {one} and GPU {other}");
    for (call, behind) in OF_TWO {
        for behind in *behind {
            let told =
                |answers: &Answers, peer: usize| answers.get(&format!("{call}({peer}{behind})")).cloned();
            findings.same(
                &format!("{of}: {call}{behind}"),
                ("the first", told(mine, other)),
                ("the second", told(theirs, one)),
            );
        }
    }
    let address = |answers| text(answers, "nvmlDeviceGetPciInfo_v3", Some("busId"));
    let (Some(here), Some(there)) = (address(mine), address(theirs)) else { return };
    let (to, from) = (links(mine, there), links(theirs, here));
    if to + from > 0 {
        findings.demand(to == from, || format!("{of}: {to} NVLinks lead there, {from} back"));
    }
}

/// How many NVLinks end at the GPU of an address.
fn links(answers: &Answers, address: &str) -> usize {
    let ends_there = |link: &u32| {
        let kind = number(answers, &format!("nvmlDeviceGetNvLinkRemoteDeviceType({link})"), None);
        let remote = answers.get(&format!("nvmlDeviceGetNvLinkRemotePciInfo_v2({link})"));
        let remote = remote.and_then(|info| info.get("busId")).and_then(Value::as_str);
        kind == Some(GPU) && remote.is_some_and(|remote| remote.eq_ignore_ascii_case(address))
    };
    (0..LINKS_END).filter(ends_there).count()
}
