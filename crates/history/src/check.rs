//! What must never be seen: pure rules over looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::look::{Container, Ids, Look, Progress};

/// What stands between a GPU and the number of its share in a device id.
const SHARE: &str = "::";

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// Two containers hold the same device, or one holds the whole of what another one holds a share of.
    DoubleAllocation {
        /// When.
        at: Duration,
        /// The device.
        device: String,
        /// Who holds it.
        holders: BTreeSet<String>,
    },
    /// A running container was started anew, failed, vanished, or holds other devices than before.
    Disturbed {
        /// When.
        at: Duration,
        /// The container.
        container: String,
        /// What became of it.
        what: String,
    },
    /// A broken device was called healthy for longer than finding out may take.
    FoundLate {
        /// When.
        at: Duration,
        /// The device; the resource where it is a number that is too high.
        device: String,
        /// Who says so.
        source: Source,
    },
    /// A broken device that was known to be so was called healthy again.
    Laundered {
        /// When.
        at: Duration,
        /// The device.
        device: String,
        /// Who says so.
        source: Source,
    },
    /// A broken device that the kubelet knew to be so was given to a container.
    GivenBroken {
        /// When.
        at: Duration,
        /// The device.
        device: String,
        /// To whom.
        container: String,
    },
}

/// Who calls a device healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The kubelet, by its id.
    Kubelet,
    /// The node's status, by a number.
    Status,
    /// The plugin's metrics.
    Metrics,
}

/// Everything in a history that must never be. Finding out that a device is broken may take `detection`.
pub fn check(looks: &[Look], detection: Duration) -> Vec<Violation> {
    let mut referee = Referee { detection, ..Referee::default() };
    for look in looks {
        referee.held(look);
        referee.containers(look);
        referee.health(look);
    }
    referee.violations
}

#[derive(Default)]
struct Referee {
    detection: Duration,
    violations: Vec<Violation>,
    /// What each container was seen to hold.
    held: BTreeMap<String, BTreeSet<String>>,
    /// The containers that were seen to run.
    running: BTreeMap<String, String>,
    /// The number of the last break of each device that a source was seen to know of.
    known: BTreeMap<(String, Source), u64>,
    /// Since when a broken device is called healthy, and by which break it is broken.
    since: BTreeMap<(String, Source), (u64, Duration)>,
}

impl Referee {
    fn held(&mut self, look: &Look) {
        let Some(held) = &look.seen.held else { return };
        let mut holders: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
        for (container, ids) in held {
            for id in ids.values().flatten() {
                holders.entry(id).or_default().insert(container.clone());
            }
        }
        for (id, own) in &holders {
            let whole = holders.iter().find(|(other, _)| other != &id && stem(id) == other.as_str());
            if own.len() > 1 || whole.is_some() {
                let device = (*id).clone();
                let holders = own.iter().chain(whole.into_iter().flat_map(|(_, holders)| holders));
                let holders = holders.cloned().collect();
                self.violations.push(Violation::DoubleAllocation { at: look.at, device, holders });
            }
        }
        self.held.retain(|container, _| !is_ending(look, container));
        for (container, ids) in held.iter().filter(|(container, _)| !is_ending(look, container)) {
            let now: BTreeSet<String> = ids.values().flatten().cloned().collect();
            match self.held.insert(container.clone(), now.clone()) {
                Some(before) if before != now => {
                    let what = format!("it held {before:?} and holds {now:?}");
                    self.violations.push(Violation::Disturbed {
                        at: look.at,
                        container: container.clone(),
                        what,
                    });
                }
                Some(_) => {}
                None => self.given(look, container, &now),
            }
        }
    }

    /// A container that holds something for the first time. A look asks what is healthy before it asks what is held: what
    /// the kubelet knew at an earlier one, it knew when it gave this.
    fn given(&mut self, look: &Look, container: &str, ids: &BTreeSet<String>) {
        for id in ids {
            let broken = look.broken.get(stem(id));
            if broken.is_some() && broken == self.known.get(&(stem(id).to_owned(), Source::Kubelet)) {
                let (device, container) = (id.clone(), container.to_owned());
                self.violations.push(Violation::GivenBroken { at: look.at, device, container });
            }
        }
    }

    fn containers(&mut self, look: &Look) {
        let Some(containers) = &look.seen.containers else { return };
        let mut disturbed = Vec::new();
        self.running.retain(|name, id| {
            if is_ending(look, name) {
                return false;
            }
            let what = match containers.get(name) {
                None => "it vanished".to_owned(),
                Some(now) if now.id != *id => format!("{id} became {}", now.id),
                Some(Container { progress: Progress::Running, .. }) => return true,
                Some(Container { progress: Progress::Succeeded, .. }) => return false,
                Some(Container { progress, .. }) => format!("it is {progress:?}"),
            };
            disturbed.push(Violation::Disturbed { at: look.at, container: name.clone(), what });
            false
        });
        self.violations.extend(disturbed);
        for (name, container) in containers.iter().filter(|(name, _)| !is_ending(look, name)) {
            if container.progress == Progress::Running {
                self.running.insert(name.clone(), container.id.clone());
            }
        }
    }

    /// Behind [`Referee::held`]: what this look shows as known was not known when an earlier container got its devices.
    fn health(&mut self, look: &Look) {
        for (device, number) in &look.broken {
            if let Some(allocatable) = &look.seen.allocatable {
                let is_healthy = |id: &String| stem(id) == device;
                match allocatable.values().flatten().any(is_healthy) {
                    true => self.called_healthy(look.at, device, *number, Source::Kubelet),
                    // If nothing is healthy there may be no plugin, and nobody knows what the next one will say.
                    false => self.not_called_healthy(
                        device,
                        *number,
                        Source::Kubelet,
                        allocatable.values().any(|ids| !ids.is_empty()),
                    ),
                }
            }
            if let Some(states) = look.seen.states.as_ref().and_then(|states| states.get(device)) {
                match states.contains("healthy") {
                    true => self.called_healthy(look.at, device, *number, Source::Metrics),
                    false => self.not_called_healthy(
                        device,
                        *number,
                        Source::Metrics,
                        states.contains("unhealthy"),
                    ),
                }
            }
        }
        if let (Some(status), Some(allocatable)) = (&look.seen.status, &look.seen.allocatable) {
            self.status(look, status, allocatable);
        }
    }

    /// The status has numbers alone, and lags behind: too high while something is broken is what it must not stay.
    fn status(&mut self, look: &Look, status: &BTreeMap<String, usize>, allocatable: &Ids) {
        for (resource, amount) in status {
            let usable = allocatable
                .get(resource)
                .map_or(0, |ids| ids.iter().filter(|id| !look.broken.contains_key(stem(id))).count());
            if *amount > usable && !look.broken.is_empty() {
                self.called_healthy(look.at, resource, 0, Source::Status);
            } else {
                self.since.remove(&(resource.clone(), Source::Status));
            }
        }
    }

    fn called_healthy(&mut self, at: Duration, device: &str, number: u64, source: Source) {
        let key = (device.to_owned(), source);
        if self.known.get(&key) == Some(&number) {
            let device = device.to_owned();
            return self.violations.push(Violation::Laundered { at, device, source });
        }
        let since = self.since.entry(key).or_insert((number, at));
        if since.0 != number {
            *since = (number, at);
        }
        if at.saturating_sub(since.1) > self.detection {
            let device = device.to_owned();
            self.violations.push(Violation::FoundLate { at, device, source });
        }
    }

    fn not_called_healthy(&mut self, device: &str, number: u64, source: Source, is_known: bool) {
        let key = (device.to_owned(), source);
        self.since.remove(&key);
        if is_known {
            self.known.insert(key, number);
        }
    }
}

/// The device of an id: a share is one of its GPU.
fn stem(id: &str) -> &str {
    id.split_once(SHARE).map_or(id, |(device, _)| device)
}

/// Whether the container's pod is one that the test ends.
fn is_ending(look: &Look, container: &str) -> bool {
    container.split_once('/').is_some_and(|(pod, _)| look.ending.contains(pod))
}

impl Violation {
    /// When it was seen, since the first look.
    pub fn at(&self) -> Duration {
        match self {
            Violation::DoubleAllocation { at, .. }
            | Violation::Disturbed { at, .. }
            | Violation::FoundLate { at, .. }
            | Violation::Laundered { at, .. }
            | Violation::GivenBroken { at, .. } => *at,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:?}: ", self.at())?;
        match self {
            Violation::DoubleAllocation { device, holders, .. } => {
                write!(f, "{device} is held by {holders:?}")
            }
            Violation::Disturbed { container, what, .. } => write!(f, "{container} was disturbed: {what}"),
            Violation::FoundLate { device, source, .. } => {
                write!(f, "{source:?} still calls {device} healthy, which is broken")
            }
            Violation::Laundered { device, source, .. } => {
                write!(f, "{source:?} knew that {device} is broken and calls it healthy again")
            }
            Violation::GivenBroken { device, container, .. } => {
                write!(f, "{container} was given {device}, which the kubelet knew to be broken")
            }
        }
    }
}

#[cfg(test)]
mod tests;
