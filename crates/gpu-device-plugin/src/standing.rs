//! What all registrations together say on `/ready` about the kubelet: not ready while one of them is not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gpu_model::ResourceName;

/// Why a registration does not stand.
type Complaint = (&'static str, String);

/// What is said before the first attempt to register.
const WAITING: (&str, &str) = ("waiting", "the devices, the CDI spec and the CDI proof come first");

/// The registrations of all resources.
#[derive(Clone)]
pub struct Standings {
    component: Arc<daemon::Component>,
    /// Each resource that is to be registered, with its complaint.
    each: Arc<Mutex<BTreeMap<ResourceName, Option<Complaint>>>>,
}

/// The registration of one resource.
pub struct Standing {
    resource: ResourceName,
    all: Standings,
}

impl Standings {
    /// Nothing is to be registered yet.
    pub fn new(component: daemon::Component) -> Self {
        component.not_ready(WAITING.0, WAITING.1);
        Self { component: Arc::new(component), each: Arc::default() }
    }

    /// That of one resource, which from now on is to be registered.
    pub fn of(&self, resource: &ResourceName) -> Standing {
        self.note(|each| drop(each.insert(resource.clone(), Some((WAITING.0, WAITING.1.to_owned())))));
        Standing { resource: resource.clone(), all: self.clone() }
    }

    fn note(&self, change: impl FnOnce(&mut BTreeMap<ResourceName, Option<Complaint>>)) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut each);
        let complaints: Vec<(&ResourceName, &Complaint)> =
            each.iter().filter_map(|(resource, complaint)| Some((resource, complaint.as_ref()?))).collect();
        let Some((_, (code, _))) = complaints.first() else {
            self.component.ready();
            return;
        };
        let is_alone = each.len() == 1;
        let told =
            complaints.iter().map(
                |(resource, (_, detail))| {
                    if is_alone { detail.clone() } else { format!("{resource}: {detail}") }
                },
            );
        self.component.not_ready(*code, told.collect::<Vec<_>>().join("; "));
    }
}

impl Standing {
    /// It stands.
    pub fn ready(&self) {
        self.all.note(|each| drop(each.insert(self.resource.clone(), None)));
    }

    /// It does not.
    pub fn not_ready(&self, code: &'static str, detail: impl Into<String>) {
        let complaint = Some((code, detail.into()));
        self.all.note(|each| drop(each.insert(self.resource.clone(), complaint)));
    }
}

impl Drop for Standing {
    /// Nothing is to be registered any more.
    fn drop(&mut self) {
        self.all.note(|each| drop(each.remove(&self.resource)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelet_is_ready_once_each_resource_is_and_a_withdrawn_one_does_not_count() {
        let readiness = daemon::Readiness::new();
        let standings = Standings::new(readiness.component("kubelet"));
        let resource = |name: &str| name.parse::<ResourceName>().unwrap();
        let (one, two) =
            (standings.of(&resource("nvidia.com/gpu")), standings.of(&resource("nvidia.com/mig-1g.5gb")));
        one.ready();
        // The other has not been tried yet.
        assert!(!readiness.is_ready());
        two.ready();
        assert!(readiness.is_ready());
        two.not_ready("bind-failed", "no room");
        let said = || readiness.report().not_ready[0].detail.clone().unwrap_or_default();
        one.not_ready("registering", "no answer");
        assert_eq!(said(), "nvidia.com/gpu: no answer; nvidia.com/mig-1g.5gb: no room");
        drop(one);
        assert_eq!(said(), "no room");
        drop(two);
        assert!(readiness.is_ready());
    }
}
