//! What holds of the ledger whatever it is told.

use proptest::prelude::*;

use super::tests::{answered, at, gpu, listed, lost, wants, xid};
use super::*;
use crate::breaker::BREAKER_WINDOW;
use crate::entry::GRACE;
use crate::evidence::Condition;

const GPUS: u8 = 6;

#[derive(Clone, Debug)]
enum Step {
    Evidence(Evidence),
    Fence(u8, Option<u32>),
    Clear(u8, Option<u32>),
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let action = prop_oneof![3 => Just(None), 1 => Just(Some("reset")), 1 => Just(Some("drain-p2p"))];
    let flag = proptest::option::of(any::<bool>());
    (action, any::<bool>(), flag.clone(), flag, proptest::option::of(0u32..3)).prop_map(
        |(action, told, remap_pending, remap_failed, links_up)| {
            let told = if told { wants(action) } else { Condition::default() };
            Condition { remap_pending, remap_failed, links_up, ..told }
        },
    )
}

fn silence() -> impl Strategy<Value = Evidence> {
    let code = prop_oneof![Just(999), Just(failure::NO_RETURN)];
    prop_oneof![
        Just(Evidence::Silent(HealthReason::NvmlStuck)),
        Just(Evidence::Silent(HealthReason::NoDriver)),
        (0..GPUS, code).prop_map(|(n, code)| Evidence::Refused {
            gpu: gpu(n),
            call: "nvmlDeviceGetUUID".into(),
            code
        }),
    ]
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let instance = proptest::option::of(prop_oneof![0u32..3, Just(u32::MAX)]);
    prop_oneof![
        2 => (0..GPUS).prop_map(listed),
        1 => (0..GPUS, proptest::collection::vec(0u32..3, 0..3))
            .prop_map(|(n, ids)| Evidence::Listed { gpu: gpu(n), instances: Some(ids) }),
        1 => (0..GPUS).prop_map(|n| Evidence::Vanished(gpu(n))),
        1 => (0..GPUS).prop_map(lost),
        1 => (0..GPUS).prop_map(|n| Evidence::Refused { gpu: gpu(n), call: "nvmlDeviceGetUUID".into(), code: 16 }),
        6 => (0..GPUS, any_condition()).prop_map(|(n, condition)| answered(n, condition)),
        3 => (0..GPUS, 0u64..200, instance).prop_map(|(n, number, gi)| xid(n, number, gi)),
        1 => (0u8..3).prop_map(|n| Evidence::Driver { version: n.to_string() }),
        2 => silence(),
    ]
}

fn any_step() -> impl Strategy<Value = (Step, u64)> {
    let whose = (0..GPUS, proptest::option::of(0u32..3));
    let step = prop_oneof![
        12 => any_evidence().prop_map(Step::Evidence),
        1 => whose.clone().prop_map(|(n, gi)| Step::Fence(n, gi)),
        1 => whose.prop_map(|(n, gi)| Step::Clear(n, gi)),
    ];
    (step, prop_oneof![0u64..3, 5u64..90])
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    proptest::collection::vec(any_step(), 0..60)
}

fn full_node() -> Ledger {
    let mut ledger = Ledger::new(Settings::default());
    (0..GPUS).for_each(|n| drop(ledger.take(&listed(n), at(0))));
    ledger
}

fn apply(ledger: &mut Ledger, step: &Step, now: Moment) -> Vec<Transition> {
    let word = Word { who: "ada".into(), why: "to see".into(), unix_ms: now.unix_ms };
    let subject = |n: &u8, gi: &Option<u32>| Subject { gpu: gpu(*n), gpu_instance: *gi };
    let mut changes = match step {
        Step::Evidence(evidence) => ledger.take(evidence, now),
        Step::Fence(n, gi) => ledger.fence(&subject(n, gi), word, now).unwrap(),
        Step::Clear(n, gi) => ledger.clear(&subject(n, gi), word, now).unwrap(),
    };
    changes.extend(ledger.pass_time(now));
    changes
}

fn all_health(ledger: &Ledger) -> Vec<Option<Health>> {
    let of_gpu = |n| {
        let instances = (0..3).map(move |gi| ledger.instance_health(&gpu(n), gi));
        std::iter::once(ledger.health(&gpu(n))).chain(instances)
    };
    (0..GPUS).flat_map(of_gpu).collect()
}

proptest! {
    #[test]
    fn transitions_tell_every_change_and_no_other(steps in steps()) {
        let mut ledger = full_node();
        let mut known: BTreeMap<Subject, Health> = BTreeMap::new();
        let mut now = 0;
        for (step, seconds) in steps {
            now += seconds;
            for change in apply(&mut ledger, &step, at(now)) {
                prop_assert_ne!(change.from.as_ref(), Some(&change.to));
                let last = known.insert(change.subject.clone(), change.to);
                prop_assert_eq!(change.from, Some(last.unwrap_or(Health::Healthy)));
            }
            for record in ledger.records() {
                let told = known.get(&record.subject).cloned().unwrap_or(Health::Healthy);
                prop_assert_eq!(record.health, told);
            }
            prop_assert!(ledger.next_change(at(now)).is_none_or(|due| due > at(now).up));
        }
    }

    #[test]
    fn restart_in_the_same_boot_changes_nothing_then_or_later(steps in steps(), cut in 0usize..60) {
        let mut ledger = full_node();
        let mut restarted = None;
        let mut now = 0;
        for (number, (step, seconds)) in steps.into_iter().enumerate() {
            if number == cut {
                let text = serde_json::to_string(ledger.saved()).unwrap();
                let saved: SavedLedger = serde_json::from_str(&text).unwrap();
                restarted = Some(Ledger::restored(Settings::default(), saved, Boot::Same));
            }
            now += seconds;
            apply(&mut ledger, &step, at(now));
            if let Some(other) = &mut restarted {
                apply(other, &step, at(now));
                prop_assert_eq!(all_health(other), all_health(&ledger));
                prop_assert_eq!(other.records(), ledger.records());
            }
        }
    }

    #[test]
    fn fenced_gpu_is_unhealthy_whatever_is_learnt(evidence in proptest::collection::vec((any_evidence(), 0u64..90), 0..40)) {
        let mut ledger = full_node();
        let mut now = 0;
        apply(&mut ledger, &Step::Fence(2, None), at(now));
        for (evidence, seconds) in evidence {
            now += seconds;
            apply(&mut ledger, &Step::Evidence(evidence), at(now));
            let fenced = Health::Unhealthy { reason: HealthReason::Fenced };
            prop_assert_eq!(ledger.health(&gpu(2)), Some(fenced.clone()));
            prop_assert_eq!(ledger.instance_health(&gpu(2), 1), Some(fenced));
        }
    }

    #[test]
    fn silence_takes_no_gpu_before_the_grace(told in proptest::collection::vec((silence(), 0u64..30), 1..30)) {
        let mut ledger = full_node();
        let mut now = 0;
        for (evidence, seconds) in told {
            now += seconds;
            for change in apply(&mut ledger, &Step::Evidence(evidence), at(now)) {
                if !change.to.is_schedulable() {
                    let since = change.from.map(|from| matches!(from, Health::Unknown { .. }));
                    prop_assert_eq!(since, Some(true));
                    prop_assert_eq!(change.cause, Cause::GraceOver);
                    prop_assert!(at(now).up >= GRACE);
                }
            }
        }
    }

    /// One look at each GPU, whatever it finds, leaves half of them.
    #[test]
    fn one_cause_takes_at_most_half_without_a_second_look(
        order in Just((0..GPUS).collect::<Vec<u8>>()).prop_shuffle(),
        times in proptest::collection::vec(0u64..9, GPUS as usize),
        how in 0usize..3,
    ) {
        let mut ledger = full_node();
        // The looks are less than the window apart.
        let mut now = 0;
        for (n, seconds) in order.into_iter().zip(times) {
            now += seconds;
            let evidence = [lost(n), Evidence::Vanished(gpu(n)), answered(n, wants(Some("reset")))][how].clone();
            ledger.take(&evidence, at(now));
            ledger.pass_time(at(now));
        }
        prop_assert!(at(now).up < BREAKER_WINDOW);
        let gone = (0..GPUS).filter(|n| !ledger.health(&gpu(*n)).unwrap().is_schedulable()).count();
        prop_assert_eq!(gone, usize::from(GPUS / 2));
    }

    #[test]
    fn instance_is_never_better_than_its_gpu_nor_the_whole_better_than_an_instance(steps in steps()) {
        let mut ledger = full_node();
        let mut now = 0;
        for (step, seconds) in steps {
            now += seconds;
            apply(&mut ledger, &step, at(now));
            for record in ledger.records() {
                let whole = ledger.health(&record.subject.gpu).unwrap();
                match record.subject.gpu_instance {
                    None => for gi in 0..3 {
                        let instance = ledger.instance_health(&record.subject.gpu, gi).unwrap();
                        prop_assert!(rank(&instance) >= rank(&record.health));
                        prop_assert!(rank(&whole) >= rank(&instance));
                    },
                    Some(_) => prop_assert!(rank(&whole) >= rank(&record.health)),
                }
            }
        }
    }

    #[test]
    fn more_bad_news_never_makes_a_gpu_better(steps in steps(), number in 0u64..200) {
        let mut ledger = full_node();
        let mut now = 0;
        for (step, seconds) in steps {
            now += seconds;
            apply(&mut ledger, &step, at(now));
            for evidence in [xid(0, number, None), lost(0), answered(0, wants(Some("reset")))] {
                let mut worse = ledger.clone();
                let before = rank(&worse.health(&gpu(0)).unwrap());
                worse.take(&evidence, at(now));
                let after = rank(&worse.health(&gpu(0)).unwrap());
                // An answer ends that it could not be asked, whatever else it says.
                let was_silent = matches!(ledger.health(&gpu(0)), Some(Health::Unknown { .. } | Health::Unhealthy { .. }))
                    && matches!(evidence, Evidence::Answered { .. });
                prop_assert!(after >= before || was_silent, "{evidence:?}");
            }
        }
    }

    #[test]
    fn what_is_kept_stays_small(steps in proptest::collection::vec((0..GPUS, any::<u64>(), any::<u32>()), 0..200)) {
        let mut ledger = full_node();
        for (number, (n, xid_number, gi)) in steps.into_iter().enumerate() {
            ledger.take(&xid(n, xid_number, Some(gi % 100)), at(number as u64 * 200));
            let call = format!("nvml{xid_number}");
            ledger.take(&Evidence::Refused { gpu: gpu(n), call, code: 16 }, at(number as u64 * 200));
        }
        // A sixteenth of what a file may take, for six GPUs with 64 instances each.
        prop_assert!(serde_json::to_string(ledger.saved()).unwrap().len() < 200_000);
    }
}
