//! The GPUs as this process counts them. NVML gives a process the GPUs that did not drain when it began, and takes away those
//! that are removed: those behind them move up, and their handles are of no use any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::drain::Drains;
use crate::node::{Gpu, Node};

/// What a process counts.
#[derive(Debug)]
pub struct Enumeration {
    /// Every GPU of the node.
    declared: Arc<Node>,
    /// Those that drained when the process began.
    drained: BTreeSet<String>,
    /// Those that it sees.
    seen: Arc<Node>,
    /// Those that it does not see.
    hidden: BTreeSet<String>,
    /// Handles given so far; those of GPUs that never moved have their place in the node file.
    handles: u32,
}

impl Enumeration {
    /// What a process counts that begins now.
    pub fn new(node: &Arc<Node>, drains: &Drains) -> Enumeration {
        let mut enumeration = Enumeration {
            declared: Arc::clone(node),
            drained: drains.draining.clone(),
            seen: Arc::clone(node),
            hidden: BTreeSet::new(),
            handles: u32::try_from(node.gpus.len()).unwrap_or(u32::MAX),
        };
        enumeration.look(drains);
        enumeration
    }

    /// Every GPU of the node.
    pub fn declared(&self) -> &Arc<Node> {
        &self.declared
    }

    /// The node with the GPUs that it sees now.
    pub fn look(&mut self, drains: &Drains) -> Arc<Node> {
        let is_hidden = |gpu: &&Gpu| {
            drains.is_removed(&gpu.uuid)
                // One that takes programs again is seen by all (assumed).
                || self.drained.contains(&gpu.uuid) && drains.draining.contains(&gpu.uuid)
        };
        // What is usual costs no walk.
        if drains != &Drains::default() || !self.hidden.is_empty() {
            let hidden: BTreeSet<String> =
                self.declared.gpus.iter().filter(is_hidden).map(|gpu| gpu.uuid.clone()).collect();
            if hidden != self.hidden {
                self.hidden = hidden;
                self.count();
            }
        }
        Arc::clone(&self.seen)
    }

    /// Counts the GPUs anew. One that has the same index as before keeps its handle.
    fn count(&mut self) {
        let mut node = Node::clone(&self.declared);
        let (mut seen, away): (Vec<Gpu>, Vec<Gpu>) =
            node.gpus.into_iter().partition(|gpu| !self.hidden.contains(&gpu.uuid));
        for (index, gpu) in seen.iter_mut().enumerate() {
            let before = self.seen.gpus.get(index).filter(|before| before.uuid == gpu.uuid);
            gpu.index = index;
            gpu.handle = before.map_or(self.handles, |before| before.handle);
            self.handles += u32::from(before.is_none());
        }
        (node.gpus, node.away) = (seen, away);
        self.seen = Arc::new(node);
    }
}
