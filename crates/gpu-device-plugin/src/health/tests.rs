//! Rules of the ledger, by example and by property.

use proptest::prelude::*;

use super::*;

fn gpu(n: u8) -> GpuUuid {
    format!("GPU-00000000-0000-0000-0000-0000000000{n:02x}").parse().unwrap()
}

fn ledger_of(count: u8, now: Instant) -> Ledger {
    let mut ledger = Ledger::default();
    for n in 0..count {
        ledger.take(&Evidence::Listed(gpu(n)), now);
    }
    ledger
}

fn unhealthy(reason: HealthReason) -> Option<Health> {
    Some(Health::Unhealthy { reason })
}

#[test]
fn critical_xid_condemns_exactly_its_gpu() {
    let now = Instant::now();
    let mut ledger = ledger_of(8, now);
    let changes = ledger.take(&Evidence::Xid { gpu: gpu(3), xid: 79 }, now);
    assert_eq!(changes.len(), 1);
    for n in 0..8 {
        let expected = if n == 3 { unhealthy(HealthReason::Xid { xid: 79 }) } else { Some(Health::Healthy) };
        assert_eq!(ledger.health(&gpu(n)), expected);
    }
}

#[test]
fn condemned_gpu_keeps_its_first_reason_and_no_probe_recovers_it() {
    let now = Instant::now();
    let mut ledger = ledger_of(2, now);
    ledger.take(&Evidence::Xid { gpu: gpu(1), xid: 79 }, now);
    for evidence in [
        Evidence::Refused { gpu: gpu(1), call: "nvmlDeviceGetUUID".into(), code: GPU_IS_LOST },
        Evidence::Answered(gpu(1)),
        Evidence::Silent(HealthReason::NvmlStuck),
        Evidence::Listed(gpu(1)),
        Evidence::Vanished(gpu(1)),
    ] {
        ledger.take(&evidence, now);
        assert_eq!(ledger.health(&gpu(1)), unhealthy(HealthReason::Xid { xid: 79 }), "{evidence:?}");
    }
}

#[test]
fn application_and_unknown_xids_change_nothing() {
    let now = Instant::now();
    let mut ledger = ledger_of(1, now);
    for xid in [13, 31, 43, 45, 63, 94, 109, 999] {
        assert_eq!(ledger.take(&Evidence::Xid { gpu: gpu(0), xid }, now), Vec::new(), "{xid}");
    }
}

#[test]
fn silent_driver_makes_gpus_unknown_then_unhealthy_after_the_grace_and_a_probe_brings_them_back() {
    let start = Instant::now();
    let mut ledger = ledger_of(2, start);
    ledger.take(&Evidence::Silent(HealthReason::NvmlStuck), start);
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Unknown { reason: HealthReason::NvmlStuck }));
    assert_eq!(ledger.next_expiry(), Some(start + GRACE));
    assert_eq!(ledger.expire(start + GRACE - Duration::from_millis(1)), Vec::new());
    assert_eq!(ledger.expire(start + GRACE).len(), 2);
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::NvmlStuck));
    assert_eq!(ledger.next_expiry(), None);
    ledger.take(&Evidence::Answered(gpu(0)), start + GRACE);
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy));
}

#[test]
fn repeated_silence_does_not_restart_the_grace() {
    let start = Instant::now();
    let mut ledger = ledger_of(1, start);
    ledger.take(&Evidence::Silent(HealthReason::NvmlStuck), start);
    ledger.take(&Evidence::Silent(HealthReason::NvmlStuck), start + GRACE / 2);
    assert_eq!(ledger.next_expiry(), Some(start + GRACE));
}

#[test]
fn gpu_that_is_no_longer_listed_has_vanished() {
    let now = Instant::now();
    let mut ledger = ledger_of(2, now);
    ledger.take(&Evidence::Vanished(gpu(1)), now);
    assert_eq!(ledger.health(&gpu(1)), unhealthy(HealthReason::Vanished));
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy));
}

#[test]
fn evidence_of_a_gpu_never_listed_adds_nothing() {
    let now = Instant::now();
    let mut ledger = ledger_of(1, now);
    ledger.take(&Evidence::Answered(gpu(9)), now);
    ledger.take(&Evidence::Xid { gpu: gpu(9), xid: 79 }, now);
    ledger.take(&Evidence::Refused { gpu: gpu(9), call: "nvmlDeviceGetUUID".into(), code: GPU_IS_LOST }, now);
    assert_eq!(ledger.health(&gpu(9)), None);
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let one = (0u8..6).prop_map(gpu);
    prop_oneof![
        one.clone().prop_map(Evidence::Listed),
        one.clone().prop_map(Evidence::Vanished),
        one.clone().prop_map(Evidence::Answered),
        one.clone().prop_map(|gpu| Evidence::RecoveryWanted { gpu, action: "reset".into() }),
        (one.clone(), prop_oneof![Just(15u32), Just(16), Just(999)])
            .prop_map(|(gpu, code)| Evidence::Refused { gpu, call: "nvmlDeviceGetUUID".into(), code }),
        (one, 0u64..200).prop_map(|(gpu, xid)| Evidence::Xid { gpu, xid }),
        Just(Evidence::Silent(HealthReason::NvmlStuck)),
    ]
}

proptest! {
    #[test]
    fn any_evidence_keeps_the_invariants(steps in proptest::collection::vec((any_evidence(), 0u64..90), 0..60)) {
        let mut now = Instant::now();
        let mut ledger = Ledger::default();
        let mut condemned = BTreeMap::new();
        for (evidence, seconds) in steps {
            now += Duration::from_secs(seconds);
            let mut changes = ledger.take(&evidence, now);
            changes.extend(ledger.expire(now));
            for change in &changes {
                prop_assert_ne!(change.from.as_ref(), Some(&change.to));
                // Evidence about one GPU changes that GPU alone.
                if let Evidence::Xid { gpu, .. } | Evidence::Answered(gpu) = &evidence {
                    let expired = matches!(change.from, Some(Health::Unknown { .. }));
                    prop_assert!(&change.gpu == gpu || expired);
                }
            }
            // A condemned GPU never changes again.
            for (gpu, health) in &condemned {
                prop_assert_eq!(&ledger.health(gpu), &Some(Health::clone(health)));
            }
            for change in changes {
                if let Health::Unhealthy { reason: HealthReason::Xid { .. } | HealthReason::Lost | HealthReason::Vanished } = &change.to {
                    condemned.insert(change.gpu, change.to);
                }
            }
            // After `expire` no Unknown is older than the grace.
            prop_assert!(ledger.next_expiry().is_none_or(|at| at > now));
        }
    }
}
