//! What is believed of which ids pods hold. Pure: answers of the kubelet, grants and time come in as values.
//!
//! ```text
//!   kept by the last process --(until the kubelet answers)--+
//!   the kubelet's last answer ------------------------------+--> held
//!   granted, and not in an answer yet ----------------------+
//! ```
//!
//! An id is believed to be held rather too long than too short: what is taken for free may be offered in another form.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gpu_model::{GpuUuid, MigUuid, ResourceName, names};

use crate::device_id::DeviceId;
use crate::streams::{LONGEST_ID, MAX_DEVICES};

/// Ids by resource.
pub type Ids = BTreeMap<ResourceName, BTreeSet<String>>;

/// How long a granted device counts as held without being in an answer. The kubelet notes it down when the grant has
/// reached it, and a pod that is rejected then never gets it.
pub const GRANT_GRACE: Duration = Duration::from_secs(10);

/// How long after a start of the kubelet nothing counts as released. It answers before it has heard from the API server
/// which pods it has, and then nobody holds anything.
pub const SETTLE: Duration = Duration::from_secs(10);

/// What pods hold of our resources, as far as anybody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Held ids.
    pub ids: Ids,
    /// The GPUs of held MIG devices.
    pub mig_gpus: BTreeMap<MigUuid, GpuUuid>,
}

impl Held {
    /// The GPU of a device or share by its id, if that is known.
    pub fn gpu_of(&self, id: DeviceId<'_>) -> Option<GpuUuid> {
        match id.unit.parse() {
            Ok(gpu) => Some(gpu),
            Err(_) => self.mig_gpus.get(&id.unit.parse::<MigUuid>().ok()?).cloned(),
        }
    }
}

/// One granted allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Of which resource.
    pub resource: ResourceName,
    /// Which ids.
    pub ids: Vec<String>,
}

/// An answer of the kubelet. Containers are named `namespace/pod/container`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Ids that pods hold.
    pub ids: Ids,
    /// The containers that hold them.
    pub holders: BTreeSet<String>,
    /// The containers that hold none.
    pub others: BTreeSet<String>,
}

/// What was held before a start, and is by nobody after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Ids.
    pub ids: Ids,
    /// The containers that held some and are still there, while no container holds any: the kubelet has lost its checkpoint.
    pub bereft: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Grant {
    at: Instant,
    resource: ResourceName,
    id: String,
}

/// Who holds what, put together.
#[derive(Debug, Default)]
pub struct Belief {
    last: Ids,
    /// The containers that held something in the last answer, or in one since a start.
    holders: BTreeSet<String>,
    grants: Vec<Grant>,
    /// Until when answers only add.
    settling: Option<Instant>,
    has_answer: bool,
}

impl Belief {
    /// Begins with what the last process knew.
    pub fn new(kept: Ids, holders: BTreeSet<String>) -> Self {
        Self { last: kept, holders, ..Self::default() }
    }

    /// A container was granted these.
    pub fn granted(&mut self, granted: Granted, now: Instant) {
        let Granted { resource, ids } = granted;
        let grant = |id| Grant { at: now, resource: resource.clone(), id };
        self.grants.extend(ids.into_iter().map(grant));
    }

    /// Takes an answer of the kubelet. `is_new_start`: it has started since the answer before, or may have. Gives what was held before
    /// the start, and is by nobody once the kubelet has had its time.
    pub fn answered(&mut self, answer: Answer, is_new_start: bool, now: Instant) -> Forgotten {
        let Answer { ids: answer, holders, others } = answer;
        if is_new_start && !self.last.is_empty() {
            self.settling = Some(now + SETTLE);
        }
        self.has_answer = true;
        self.grants.retain(|grant| !has(&answer, grant) && is_young(grant, now));
        if self.settling.is_some_and(|until| now < until) {
            for (resource, ids) in answer {
                self.last.entry(resource).or_default().extend(ids);
            }
            self.holders.extend(holders);
            return Forgotten::default();
        }
        let before = std::mem::replace(&mut self.last, answer);
        let mut bereft = std::mem::replace(&mut self.holders, holders);
        if self.settling.take().is_none() {
            return Forgotten::default();
        }
        // The devices of a container that has ended go to the next pod, and then that one holds some.
        bereft.retain(|container| self.holders.is_empty() && others.contains(container));
        Forgotten { ids: without(before, &self.last), bereft }
    }

    /// The containers that hold something, as the kubelet told it last.
    pub fn holders(&self) -> &BTreeSet<String> {
        &self.holders
    }

    /// The kubelet does not answer. Where it never did nobody will say what became of a grant.
    pub fn unanswered(&mut self, now: Instant) {
        if !self.has_answer {
            self.grants.retain(|grant| is_young(grant, now));
        }
    }

    /// Whether another answer is worth having soon.
    pub fn is_open(&self) -> bool {
        !self.grants.is_empty() || self.settling.is_some()
    }

    /// All of it.
    pub fn ids(&self) -> Ids {
        let mut ids = self.last.clone();
        for grant in &self.grants {
            ids.entry(grant.resource.clone()).or_default().insert(grant.id.clone());
        }
        ids
    }
}

/// What of `ids` is not in `answer`.
fn without(mut ids: Ids, answer: &Ids) -> Ids {
    for (resource, ids) in &mut ids {
        ids.retain(|id| !answer.get(resource).is_some_and(|answer| answer.contains(id)));
    }
    ids.retain(|_, ids| !ids.is_empty());
    ids
}

fn has(answer: &Ids, grant: &Grant) -> bool {
    answer.get(&grant.resource).is_some_and(|ids| ids.contains(&grant.id))
}

fn is_young(grant: &Grant, now: Instant) -> bool {
    now.saturating_duration_since(grant.at) < GRANT_GRACE
}

/// Puts an id in, if it can be one of a GPU or MIG device, or of the management of them. Whatever else a kubelet tells of is not ours.
pub fn collect(ids: &mut Ids, resource: &str, id: String) {
    let is_plain = id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    let is_management = resource == names::RESOURCE_GPU_MANAGEMENT;
    let is_ours = is_plain && (id.starts_with("GPU-") || id.starts_with("MIG-") || is_management);
    let Some(resource) = is_ours.then(|| resource.parse::<ResourceName>().ok()).flatten() else { return };
    let of_resource = ids.entry(resource).or_default();
    if of_resource.len() < MAX_DEVICES {
        of_resource.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::gpu;

    fn ids(held: &[(&str, &str)]) -> Ids {
        let mut ids = Ids::new();
        held.iter().for_each(|(resource, id)| collect(&mut ids, resource, (*id).to_owned()));
        ids
    }

    fn answer(held: &[(&str, &str)]) -> Answer {
        Answer { ids: ids(held), ..Answer::default() }
    }

    fn grant(id: &str) -> Granted {
        Granted { resource: "nvidia.com/gpu".parse().unwrap(), ids: vec![id.to_owned()] }
    }

    const ONE: (&str, &str) = ("nvidia.com/gpu", "GPU-1::0");
    const TWO: (&str, &str) = ("nvidia.com/gpu", "GPU-2");

    #[test]
    fn only_what_may_be_a_gpu_is_collected() {
        let long = format!("GPU-{}", "1".repeat(LONGEST_ID));
        let seat = ("gantry.dev/gpu-management", "management::0");
        let found = ids(&[
            ONE,
            seat,
            ("example.com/gpu-management", "management::0"),
            ("amd.com/gpu", "0000:c1"),
            ("no name", "GPU-1"),
            ("nvidia.com/gpu", "GPU-1\n"),
            ("nvidia.com/gpu", &long),
            ("nvidia.com/gpu", ""),
        ]);
        assert_eq!(found, ids(&[ONE, seat]));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn kept_set_counts_until_the_kubelet_has_had_time_to_learn_its_pods() {
        let start = Instant::now();
        let mut belief = Belief::new(ids(&[ONE]), BTreeSet::new());
        assert_eq!(belief.ids(), ids(&[ONE]));
        belief.answered(Answer::default(), true, start);
        belief.answered(answer(&[TWO]), false, start + SETTLE / 2);
        assert_eq!(belief.ids(), ids(&[ONE, TWO]));
        assert!(belief.is_open());
        assert_eq!(belief.answered(answer(&[TWO]), false, start + SETTLE).ids, ids(&[ONE]));
        assert_eq!(belief.ids(), ids(&[TWO]));
        assert!(!belief.is_open());
        // The same after a later start of the kubelet.
        assert_eq!(belief.answered(Answer::default(), true, start + SETTLE * 2), Forgotten::default());
        assert_eq!(belief.ids(), ids(&[TWO]));
        assert_eq!(belief.answered(Answer::default(), false, start + SETTLE * 3).ids, ids(&[TWO]));
        assert_eq!(belief.ids(), Ids::new());
    }

    #[test]
    fn container_is_bereft_if_it_held_something_before_a_start_and_is_there_after_it_while_nobody_holds_any()
    {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        let start = Instant::now();
        for (holders, others, bereft) in [
            (names(&[]), names(&["a", "c"]), names(&["a"])),
            // Its pod has ended.
            (names(&[]), names(&["c"]), names(&[])),
            // It has ended, and its device is another pod's.
            (names(&["d"]), names(&["a", "c"]), names(&[])),
        ] {
            let mut belief = Belief::new(ids(&[ONE]), names(&["a"]));
            let empty = Answer { others: others.clone(), ..Answer::default() };
            assert_eq!(belief.answered(empty, true, start).bereft, names(&[]));
            assert_eq!(belief.holders(), &names(&["a"]));
            let settled = Answer { holders: holders.clone(), others, ..Answer::default() };
            assert_eq!(belief.answered(settled.clone(), false, start + SETTLE).bereft, bereft);
            assert_eq!(belief.holders(), &holders);
            assert_eq!(belief.answered(settled, false, start + SETTLE * 2), Forgotten::default());
        }
    }

    #[test]
    fn grant_counts_at_once_and_until_an_answer_had_time_to_have_it() {
        let start = Instant::now();
        let mut belief = Belief::default();
        belief.answered(Answer::default(), true, start);
        belief.granted(grant("GPU-2"), start);
        belief.answered(Answer::default(), false, start + GRANT_GRACE / 2);
        assert_eq!(belief.ids(), ids(&[TWO]));
        // The kubelet is away for long: nobody says that it was released.
        belief.unanswered(start + GRANT_GRACE * 9);
        assert_eq!(belief.ids(), ids(&[TWO]));
        belief.answered(Answer::default(), false, start + GRANT_GRACE * 9);
        assert_eq!(belief.ids(), Ids::new());
        // From its first answer on the answers alone count.
        belief.granted(grant("GPU-2"), start);
        belief.answered(answer(&[TWO]), false, start);
        belief.answered(Answer::default(), false, start);
        assert_eq!(belief.ids(), Ids::new());
    }

    #[test]
    fn grant_is_forgotten_where_no_kubelet_ever_answers() {
        let start = Instant::now();
        let mut belief = Belief::new(ids(&[ONE]), BTreeSet::new());
        belief.granted(grant("GPU-2"), start);
        belief.unanswered(start);
        assert_eq!(belief.ids(), ids(&[ONE, TWO]));
        belief.unanswered(start + GRANT_GRACE);
        assert_eq!(belief.ids(), ids(&[ONE]));
    }

    #[test]
    fn gpu_of_a_mig_device_is_the_one_that_was_noted() {
        let mig = "MIG-4e3e5c8c-0000-5000-8000-000000000001";
        let mut held = Held::default();
        let of = |held: &Held, id: &str| held.gpu_of(DeviceId::parse(id).unwrap());
        assert_eq!(of(&held, &format!("{}::3", gpu(1))), Some(gpu(1)));
        assert_eq!(of(&held, mig), None);
        held.mig_gpus.insert(mig.parse().unwrap(), gpu(2));
        assert_eq!(of(&held, &format!("{mig}::0")), Some(gpu(2)));
    }
}
