//! How far one lease is. Pure: what the observer, the streams and the kubelet say comes in as values, time too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gpu_model::{GpuUuid, ResourceName};
use kubelet_api::podresources::v1::ContainerDevices;
use node_contract::{Holder, Observed};

use super::{HandedLists, Yielded};
use crate::device_id::DeviceId;
use crate::holders::Holdings;
use crate::pod_resources::{AskError, Books};

/// How long a kubelet that does not answer is waited for. One that is away admits no pod, and when it is back it gets
/// the list as it is then, before anything else.
const SILENCE: Duration = Duration::from_secs(5);

/// What a lease waits for, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The observer has to list its GPUs as leased.
    #[default]
    Listing,
    /// The kubelet's streams have to send that.
    Handing,
    /// The kubelet has to count them no more.
    Counting,
    /// The observer has to let go of them.
    LettingGo,
    /// Nothing: it can be acknowledged.
    Done,
}

/// What the kubelet said when it was asked.
#[derive(Debug)]
pub(super) struct Look {
    begun: Instant,
    books: Result<KubeletBooks, String>,
}

/// Ids by resource, as the kubelet has them.
#[derive(Debug, Default)]
struct KubeletBooks {
    allocatable: Vec<(String, String)>,
    held: BTreeSet<(String, String, String)>,
}

/// How far one lease is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    step: Step,
    /// Since when the kubelet's streams have the list.
    handed: Option<Instant>,
    /// The lists that they have.
    lists: BTreeMap<ResourceName, u64>,
    /// An id that the kubelet counts still.
    counted: Option<String>,
    /// Why the kubelet did not confirm.
    unconfirmed: Option<String>,
}

impl Look {
    pub fn new(begun: Instant, answer: Result<Books, AskError>) -> Look {
        let books = answer.map(KubeletBooks::new);
        Look { begun, books: books.map_err(|error| daemon::error_chain(&error).to_string()) }
    }
}

impl KubeletBooks {
    fn new(books: Books) -> KubeletBooks {
        let ids = |devices: ContainerDevices| {
            let resource = devices.resource_name;
            devices.device_ids.into_iter().map(move |id| (resource.clone(), id))
        };
        let allocatable = books.allocatable.into_iter().flat_map(ids).collect();
        let held = books.pods.into_iter().flat_map(|pod| {
            let name = format!("{}/{}", pod.namespace, pod.name);
            let devices = pod.containers.into_iter().flat_map(|container| container.devices);
            devices.flat_map(ids).map(move |(resource, id)| (name.clone(), resource, id))
        });
        KubeletBooks { allocatable, held: held.collect() }
    }
}

impl Progress {
    /// Goes on as far as it can. A step that was done stays done.
    pub fn advance(
        &mut self,
        gpus: &BTreeSet<GpuUuid>,
        yielded: &Yielded,
        handed: &HandedLists,
        look: Option<&Look>,
        now: Instant,
    ) -> Step {
        if self.step == Step::Listing && gpus.is_subset(&yielded.told) {
            self.step = Step::Handing;
            self.lists.clone_from(&yielded.lists);
        }
        // A resource without a stream is one of which the kubelet knows nothing.
        let has_list = |(resource, list): (&ResourceName, &u64)| {
            handed.get(resource).is_none_or(|handed| handed >= list)
        };
        if self.step == Step::Handing && self.lists.iter().all(has_list) {
            self.step = Step::Counting;
            self.handed = Some(now);
        }
        if self.step == Step::Counting {
            self.confirm(gpus, yielded, look, now);
        }
        if self.step == Step::LettingGo && gpus.is_subset(&yielded.released) {
            self.step = Step::Done;
        }
        if self.step == Step::Done
            && let Some(Look { books: Ok(_), .. }) = look
        {
            // It is back, and with what it got from us.
            self.unconfirmed = None;
        }
        self.step
    }

    fn confirm(&mut self, gpus: &BTreeSet<GpuUuid>, yielded: &Yielded, look: Option<&Look>, now: Instant) {
        let Some(handed) = self.handed else { return };
        // What it said before it had the list says nothing.
        let Some(look) = look.filter(|look| look.begun >= handed) else { return };
        match &look.books {
            Ok(books) => {
                let is_leased = |(resource, id): &&(String, String)| {
                    let is_ours = self.lists.keys().any(|list| list.as_str() == resource);
                    is_ours && is_of(gpus, yielded, id)
                };
                self.counted = books.allocatable.iter().find(is_leased).map(|(_, id)| id.clone());
                if self.counted.is_none() {
                    self.step = Step::LettingGo;
                }
            }
            Err(reason) if now.saturating_duration_since(handed) >= SILENCE => {
                self.unconfirmed = Some(reason.clone());
                self.step = Step::LettingGo;
            }
            Err(_) => {}
        }
    }

    /// Whether the kubelet's answer is waited for.
    pub fn awaits_kubelet(&self) -> bool {
        self.step == Step::Counting
    }

    /// What there is to acknowledge.
    pub fn observed(
        &self,
        gpus: &BTreeSet<GpuUuid>,
        yielded: &Yielded,
        look: Option<&Look>,
        holdings: &Holdings,
    ) -> Observed {
        let holders: Vec<Holder> = match look {
            Some(Look { books: Ok(books), .. }) => {
                let held = books.held.iter().filter(|(_, _, id)| is_of(gpus, yielded, id));
                let holder = |(pod, resource, id): &(String, String, String)| {
                    Some(Holder { pod: Some(pod.clone()), resource: resource.parse().ok()?, id: id.clone() })
                };
                held.filter_map(holder).collect()
            }
            _ => {
                let ids =
                    holdings.ids.iter().flat_map(|(resource, ids)| ids.iter().map(move |id| (resource, id)));
                let held = ids.filter(|(_, id)| is_of(gpus, yielded, id));
                held.map(|(resource, id)| Holder { pod: None, resource: resource.clone(), id: id.clone() })
                    .collect()
            }
        };
        let (lists, unconfirmed) = (self.lists.clone(), self.unconfirmed.clone());
        let held = holders.len();
        let holders = holders.into_iter().take(node_contract::MAX_HOLDERS).collect();
        Observed { lists, unconfirmed, held, holders }
    }

    /// What it waits for, in words.
    pub fn in_words(&self) -> String {
        match self.step {
            Step::Listing => "waits for the device lists".to_owned(),
            Step::Handing => "waits for the kubelet to take the device lists".to_owned(),
            Step::Counting => match &self.counted {
                Some(id) => format!("waits for the kubelet, which still counts {id} as allocatable"),
                None => "waits for the kubelet to confirm that it counts none of its devices".to_owned(),
            },
            Step::LettingGo => "waits for the NVML workers to end".to_owned(),
            Step::Done => "about to be acknowledged".to_owned(),
        }
    }
}

/// Whether an id names one of these GPUs, a part of it, or a share.
fn is_of(gpus: &BTreeSet<GpuUuid>, yielded: &Yielded, id: &str) -> bool {
    let Some(DeviceId { unit, .. }) = DeviceId::parse(id) else { return false };
    gpus.iter()
        .any(|gpu| gpu.as_str() == unit || yielded.units.get(gpu).is_some_and(|units| units.contains(unit)))
}

#[cfg(test)]
mod tests {
    use kubelet_api::podresources::v1::{ContainerResources, PodResources};

    use super::*;
    use crate::state::tests::gpu;

    const RESOURCE: &str = "nvidia.com/gpu";

    fn resource() -> ResourceName {
        RESOURCE.parse().unwrap()
    }

    fn devices(ids: &[String]) -> Vec<ContainerDevices> {
        let entry = |id: &String| ContainerDevices {
            resource_name: RESOURCE.to_owned(),
            device_ids: vec![id.clone()],
            topology: None,
        };
        ids.iter().map(entry).collect()
    }

    fn look(begun: Instant, allocatable: &[String], held: &[String]) -> Look {
        let containers = vec![ContainerResources { devices: devices(held), ..ContainerResources::default() }];
        let (name, namespace) = ("trainer".to_owned(), "team".to_owned());
        let pods = vec![PodResources { name, namespace, containers, ..PodResources::default() }];
        Look::new(begun, Ok(Books { allocatable: devices(allocatable), pods }))
    }

    fn silence(begun: Instant) -> Look {
        Look::new(begun, Err(AskError::Timeout))
    }

    /// A lease of GPU 0, which the list of generation 3 tells.
    struct Story {
        gpus: BTreeSet<GpuUuid>,
        yielded: Yielded,
        handed: HandedLists,
        progress: Progress,
    }

    impl Story {
        fn begin() -> Story {
            let gpus = BTreeSet::from([gpu(0)]);
            let yielded = Yielded {
                told: gpus.clone(),
                units: BTreeMap::from([(gpu(0), BTreeSet::from(["MIG-1".to_owned()]))]),
                lists: BTreeMap::from([(resource(), 3)]),
                released: BTreeSet::new(),
            };
            Story {
                gpus,
                yielded,
                handed: HandedLists::from([(resource(), 3)]),
                progress: Progress::default(),
            }
        }

        fn go(&mut self, look: Option<&Look>, now: Instant) -> Step {
            self.progress.advance(&self.gpus, &self.yielded, &self.handed, look, now)
        }
    }

    #[test]
    fn lease_goes_on_in_the_order_of_the_design_and_never_back() {
        let start = Instant::now();
        let mut story = Story::begin();
        let told = std::mem::take(&mut story.yielded.told);
        assert_eq!(story.go(None, start), Step::Listing);
        story.yielded.told = told;
        story.handed.insert(resource(), 2);
        // It was asked before the kubelet had the list: whatever it says, it does not count.
        let early = look(start, &[], &[]);
        assert_eq!(story.go(Some(&early), start), Step::Handing);
        story.handed.insert(resource(), 3);
        let later = start + Duration::from_secs(1);
        assert_eq!(story.go(Some(&early), later), Step::Counting);
        for counted in [gpu(0).to_string(), format!("{}::7", gpu(0)), "MIG-1".to_owned()] {
            assert_eq!(
                story.go(Some(&look(later, std::slice::from_ref(&counted), &[])), later),
                Step::Counting
            );
            assert!(story.progress.in_words().contains(&counted));
        }
        assert_eq!(story.go(Some(&look(later, &[gpu(1).to_string()], &[])), later), Step::LettingGo);
        story.handed.clear();
        assert_eq!(story.go(None, later), Step::LettingGo);
        story.yielded.released.insert(gpu(0));
        assert_eq!(story.go(None, later), Step::Done);
    }

    #[test]
    fn silent_kubelet_is_waited_for_and_then_told_until_it_answers() {
        let start = Instant::now();
        let mut story = Story::begin();
        story.handed.clear();
        story.yielded.released.insert(gpu(0));
        assert_eq!(story.go(Some(&silence(start)), start), Step::Counting);
        assert_eq!(story.go(Some(&silence(start)), start + SILENCE), Step::Done);
        let observed = |story: &Story, look: &Look, holdings: &Holdings| {
            story.progress.observed(&story.gpus, &story.yielded, Some(look), holdings)
        };
        let mut holdings = Holdings::default();
        holdings.ids.entry(resource()).or_default().insert(gpu(0).to_string());
        let seen = observed(&story, &silence(start), &holdings);
        assert!(seen.unconfirmed.is_some_and(|reason| reason.contains("did not answer")));
        assert_eq!((seen.held, &seen.holders[0].pod), (1, &None));
        let back = look(start, &[], &[format!("{}::0", gpu(0)), gpu(1).to_string()]);
        story.go(Some(&back), start + SILENCE);
        let seen = observed(&story, &back, &holdings);
        assert_eq!((seen.unconfirmed, seen.held), (None, 1));
        assert_eq!(seen.holders[0].pod.as_deref(), Some("team/trainer"));
    }

    #[test]
    fn gpu_that_no_list_has_needs_no_stream() {
        let mut story = Story::begin();
        story.yielded.lists.clear();
        story.yielded.released.insert(gpu(0));
        let now = Instant::now();
        assert_eq!(story.go(None, now), Step::Counting);
        assert_eq!(story.go(Some(&look(now, &[gpu(0).to_string()], &[])), now), Step::Done);
    }
}
