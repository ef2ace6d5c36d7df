//! The rules against histories that break each of them, and against ones that break none.

use proptest::prelude::*;

use super::*;
use crate::look::Seen;

const DETECTION: Duration = Duration::from_secs(5);
const GPU: &str = "nvidia.com/gpu";

fn ids(ids: &[&str]) -> Ids {
    Ids::from([(GPU.to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())])
}

fn running(id: &str) -> Container {
    Container { id: id.to_owned(), progress: Progress::Running }
}

/// A look at second `at`: the healthy ids, who holds what, and what is broken.
fn look(at: u64, healthy: &[&str], held: &[(&str, &[&str])], broken: &[(&str, u64)]) -> Look {
    let states = |device: &&str| {
        let state = if healthy.contains(device) { "healthy" } else { "unhealthy" };
        ((*device).to_owned(), BTreeSet::from([state.to_owned()]))
    };
    Look {
        at: Duration::from_secs(at),
        seen: Seen {
            allocatable: Some(ids(healthy)),
            held: Some(held.iter().map(|(name, has)| ((*name).to_owned(), ids(has))).collect()),
            status: Some(BTreeMap::from([(GPU.to_owned(), healthy.len())])),
            states: Some(["a", "b", "c"].iter().map(states).collect()),
            containers: Some(held.iter().map(|(name, _)| ((*name).to_owned(), running("1"))).collect()),
        },
        broken: broken.iter().map(|(device, number)| ((*device).to_owned(), *number)).collect(),
        ending: BTreeSet::new(),
    }
}

fn found(looks: &[Look]) -> Vec<String> {
    check(looks, DETECTION).iter().map(ToString::to_string).collect()
}

#[test]
fn node_that_does_as_it_should_has_no_violation() {
    let mut ending = look(9, &["a", "b", "c"], &[], &[]);
    ending.ending.insert("p".to_owned());
    let silent = Look { at: Duration::from_secs(5), ..Look::default() };
    let looks = [
        look(1, &["a", "b", "c"], &[("p/m", &["a"])], &[]),
        look(2, &["a", "b", "c"], &[("p/m", &["a"])], &[("a", 1)]),
        look(3, &["b", "c"], &[("p/m", &["a"])], &[("a", 1)]),
        // No plugin, and no kubelet.
        look(4, &[], &[("p/m", &["a"])], &[("a", 1)]),
        silent,
        look(6, &["b", "c"], &[("p/m", &["a"]), ("q/m", &["b"])], &[("a", 1)]),
        look(7, &["a", "b", "c"], &[("p/m", &["a"]), ("q/m", &["b"])], &[]),
        look(8, &["a", "b", "c"], &[("p/m", &["a"]), ("q/m", &["b"])], &[("a", 2)]),
        look(8, &["a", "b", "c"], &[("p/m", &["a"]), ("q/m", &["b"])], &[]),
    ];
    assert_eq!(found(&looks), Vec::<String>::new());
    let looks = [
        look(8, &["a", "b", "c"], &[("p/m", &["a"])], &[]),
        ending,
        look(10, &["a"], &[("p/m", &["b"])], &[]),
    ];
    assert_eq!(found(&looks), Vec::<String>::new());
}

#[test]
fn device_with_two_holders_is_found_also_as_a_whole_and_a_share() {
    let twice = look(1, &["a"], &[("p/m", &["a"]), ("q/m", &["a"])], &[]);
    assert_eq!(found(&[twice]), [r#"after 1s: a is held by {"p/m", "q/m"}"#]);
    let both = look(1, &["a"], &[("p/m", &["a"]), ("q/m", &["a::1"])], &[]);
    assert_eq!(found(&[both]), [r#"after 1s: a::1 is held by {"p/m", "q/m"}"#]);
    let shares = look(1, &["a"], &[("p/m", &["a::0"]), ("q/m", &["a::1"])], &[]);
    assert_eq!(found(&[shares]), Vec::<String>::new());
}

#[test]
fn container_that_is_started_anew_fails_or_vanishes_is_found() {
    let first = look(1, &["a"], &[("p/m", &["a"])], &[]);
    let then = |container: Option<Container>| {
        let mut second = look(2, &["a"], &[], &[]);
        second.seen.containers = Some(container.map(|it| ("p/m".to_owned(), it)).into_iter().collect());
        found(&[first.clone(), second])
    };
    assert_eq!(then(Some(running("2"))), ["after 2s: p/m was disturbed: 1 became 2"]);
    let ended = |progress| Some(Container { id: "1".to_owned(), progress });
    assert_eq!(then(ended(Progress::Failed)), ["after 2s: p/m was disturbed: it is Failed"]);
    assert_eq!(then(ended(Progress::Waiting)), ["after 2s: p/m was disturbed: it is Waiting"]);
    assert_eq!(then(ended(Progress::Succeeded)), Vec::<String>::new());
    assert_eq!(then(None), ["after 2s: p/m was disturbed: it vanished"]);
}

#[test]
fn container_whose_devices_change_is_found() {
    let looks = [look(1, &["a"], &[("p/m", &["a"])], &[]), look(2, &["a"], &[("p/m", &["b"])], &[])];
    assert_eq!(found(&looks), [r#"after 2s: p/m was disturbed: it held {"a"} and holds {"b"}"#]);
}

#[test]
fn broken_device_that_stays_healthy_is_found_with_each_source() {
    let looks = [look(1, &["a", "b"], &[], &[("a", 1)]), look(7, &["a", "b"], &[], &[("a", 1)])];
    assert_eq!(
        found(&looks),
        [
            "after 7s: Kubelet still calls a healthy, which is broken",
            "after 7s: Metrics still calls a healthy, which is broken",
            "after 7s: Status still calls nvidia.com/gpu healthy, which is broken",
        ]
    );
}

#[test]
fn broken_device_that_becomes_healthy_by_itself_is_found_however_soon() {
    let looks = [look(1, &["b"], &[], &[("a", 1)]), look(1, &["a", "b"], &[], &[("a", 1)])];
    assert_eq!(
        found(&looks),
        [
            "after 1s: Kubelet knew that a is broken and calls it healthy again",
            "after 1s: Metrics knew that a is broken and calls it healthy again",
        ]
    );
}

#[test]
fn device_that_is_given_although_it_is_known_to_be_broken_is_found() {
    let looks = [look(1, &["b"], &[], &[("a", 1)]), look(2, &["b"], &[("p/m", &["a"])], &[("a", 1)])];
    assert_eq!(found(&looks), ["after 2s: p/m was given a, which the kubelet knew to be broken"]);
}

/// A day at a node that does everything right, as a list of what happens from second to second.
#[derive(Clone, Debug)]
enum Step {
    Admit(usize),
    End(usize),
    Break(usize),
    Mend(usize),
    PluginDies,
    PluginComes,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4usize).prop_map(Step::Admit),
        (0..4usize).prop_map(Step::End),
        (0..3usize).prop_map(Step::Break),
        (0..3usize).prop_map(Step::Mend),
        Just(Step::PluginDies),
        Just(Step::PluginComes),
    ];
    prop::collection::vec(step, 1..60)
}

/// The looks at an ideal node: a break is known at once, a pod gets healthy devices that nobody holds.
fn ideal(steps: &[Step]) -> Vec<Look> {
    const DEVICES: [&str; 3] = ["a", "b", "c"];
    const PODS: [&str; 4] = ["p/m", "q/m", "r/m", "s/m"];
    let mut breaks = 0;
    let mut broken: BTreeMap<&str, u64> = BTreeMap::new();
    let mut held: BTreeMap<&str, &str> = BTreeMap::new();
    let mut serves = true;
    let mut looks = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let mut ended = None;
        match *step {
            Step::Admit(pod) => {
                let free = DEVICES.iter().find(|device| {
                    serves && !broken.contains_key(*device) && !held.values().any(|held| held == *device)
                });
                if let (Some(device), None) = (free, held.get(PODS[pod])) {
                    held.insert(PODS[pod], device);
                }
            }
            Step::End(pod) => ended = held.remove(PODS[pod]).map(|_| PODS[pod]),
            Step::Break(device) => {
                breaks += 1;
                broken.insert(DEVICES[device], breaks);
            }
            Step::Mend(device) => drop(broken.remove(DEVICES[device])),
            Step::PluginDies => serves = false,
            Step::PluginComes => serves = true,
        }
        let healthy: Vec<&str> =
            DEVICES.into_iter().filter(|device| serves && !broken.contains_key(device)).collect();
        let holdings: Vec<(&str, [&str; 1])> = held.iter().map(|(pod, device)| (*pod, [*device])).collect();
        let holdings: Vec<(&str, &[&str])> = holdings.iter().map(|(pod, has)| (*pod, &has[..])).collect();
        let broken: Vec<(&str, u64)> = broken.iter().map(|(device, number)| (*device, *number)).collect();
        let mut next = look(at as u64, &healthy, &holdings, &broken);
        if !serves {
            next.seen.states = None;
        }
        next.ending.extend(ended.map(|name| name[..1].to_owned()));
        looks.push(next);
    }
    looks
}

proptest! {
    #[test]
    fn ideal_node_is_never_accused(steps in steps()) {
        prop_assert_eq!(found(&ideal(&steps)), Vec::<String>::new());
    }

    #[test]
    fn one_wrong_look_in_an_ideal_history_is_found(steps in steps(), at in any::<prop::sample::Index>()) {
        let mut looks = ideal(&steps);
        let wrong = at.index(looks.len());
        let seen = &mut looks[wrong].seen;
        let Some((container, has)) = seen.held.as_ref().unwrap().iter().next() else { return Ok(()) };
        let (container, has) = (container.clone(), has.clone());
        seen.held.as_mut().unwrap().insert("thief/m".to_owned(), has);
        let told = found(&looks);
        prop_assert!(told.iter().any(|told| told.contains(&container) && told.contains("thief/m")), "{:?}", told);
    }
}
