//! What befalls a GPU: an XID, a loss, errors that are counted. At once, at a moment of the node's clock, or when a call is
//! struck. It knows how it changes a state, not who looks at that or keeps it.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::damage::Counted;
use crate::events::{EventKind, EventRecord};
use crate::faults::Moment;
use crate::loss::Loss;
use crate::node::Node;
use crate::state::State;

/// What befalls a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Befall {
    /// A critical XID is reported.
    Xid {
        /// Its number.
        xid: u64,
        /// The MIG GPU instance that it concerns.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gpu_instance: Option<u32>,
        /// The MIG compute instance that it concerns.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compute_instance: Option<u32>,
    },
    /// It is lost, and reports an XID at the same moment if one is given.
    Lose {
        /// In which way.
        how: Loss,
        /// The XID.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xid: Option<u64>,
    },
    /// Errors are counted.
    Count(Counted),
}

/// What will befall a GPU at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Incident {
    /// UUID of the GPU.
    pub gpu: String,
    /// What.
    pub what: Befall,
    /// When, by the node's clock.
    pub at: Moment,
}

impl State {
    /// Lets something befall a GPU of the node, at a time in microseconds since 1970. On a GPU that the node has no more it
    /// is lost on nobody.
    pub fn befall(&mut self, node: &Node, gpu: &str, what: &Befall, time_us: u64) {
        let Some(gpu) = node.gpus.iter().find(|known| known.uuid == gpu) else { return };
        match *what {
            Befall::Xid { xid, gpu_instance, compute_instance } => {
                self.report(&gpu.uuid, xid, (gpu_instance, compute_instance), time_us);
            }
            Befall::Lose { how, xid } => {
                self.lost.lose(&gpu.uuid, how);
                if let Some(xid) = xid {
                    self.report(&gpu.uuid, xid, (None, None), time_us);
                }
            }
            Befall::Count(counted) => {
                let damage = self.damage.entry(gpu.uuid.clone()).or_default();
                damage.count(counted, time_us, gpu.model.memory.0);
            }
        }
    }

    /// Reports an XID of a GPU, or of one of its instances.
    fn report(&mut self, gpu: &str, xid: u64, of: (Option<u32>, Option<u32>), time_us: u64) {
        let (gpu_instance, compute_instance) = of;
        self.events.push(EventRecord {
            sequence: 0,
            gpu: gpu.to_owned(),
            kind: EventKind::Xid,
            data: xid,
            time_us,
            gpu_instance,
            compute_instance,
        });
    }

    /// The incident that comes first.
    pub fn next_incident(&self) -> Option<&Incident> {
        self.incidents.iter().min_by_key(|incident| incident.at.time_us())
    }

    /// When it comes, as long as the node's clock runs as it does now.
    pub fn wakes_at(&self) -> Option<Instant> {
        let at = self.next_incident()?.at.time_us()?;
        Instant::now().checked_add(self.clock.until(at)?)
    }

    /// Whether an incident's time has come that nobody has carried out.
    pub fn is_behind(&self) -> bool {
        self.next_incident().is_some_and(|incident| incident.at.is_reached(self.clock.now_us()))
    }

    /// Carries out the incidents whose time has come by `now_us`, in the order of their times.
    pub fn catch_up(&mut self, node: &Node, now_us: u64) {
        let all = std::mem::take(&mut self.incidents);
        let (mut due, later): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|incident| incident.at.is_reached(now_us));
        self.incidents = later;
        due.sort_by_key(|incident| incident.at.time_us());
        for incident in due {
            let time_us = incident.at.time_us().unwrap_or(now_us);
            self.befall(node, &incident.gpu, &incident.what, time_us);
        }
    }
}
