//! Rules of the ledger by example: a story a test.

use super::*;
use crate::entry::{DEGRADED_FOR, GRACE, SLOW_FOR};
use crate::evidence::{Condition, Recovery};

const SPACING: Duration = crate::LONGEST_PROOF_SPACING;

pub(super) fn gpu(n: u8) -> GpuUuid {
    format!("GPU-00000000-0000-0000-0000-0000000000{n:02x}").parse().unwrap()
}

pub(super) fn at(seconds: u64) -> Moment {
    Moment { up: Duration::from_secs(seconds), unix_ms: 1_700_000_000_000 + seconds * 1000 }
}

pub(super) fn listed(n: u8) -> Evidence {
    Evidence::Listed { gpu: gpu(n), instances: None }
}

pub(super) fn xid(n: u8, xid: u64, gpu_instance: Option<u32>) -> Evidence {
    Evidence::Xid { gpu: gpu(n), xid, gpu_instance }
}

pub(super) fn wants(action: Option<&str>) -> Condition {
    let action = action.map(str::to_owned);
    let is_reset = action.is_some();
    Condition { recovery: Some(Recovery { action, is_reset }), ..Condition::default() }
}

pub(super) fn answered(n: u8, condition: Condition) -> Evidence {
    Evidence::Answered { gpu: gpu(n), condition }
}

pub(super) fn lost(n: u8) -> Evidence {
    Evidence::Refused { gpu: gpu(n), call: "nvmlDeviceGetUUID".into(), code: GPU_IS_LOST }
}

/// A node of `count` GPUs at second 0, all of which have told that no recovery is wanted.
fn node(count: u8) -> Ledger {
    let mut ledger = Ledger::new(Settings::default());
    for n in 0..count {
        ledger.take(&listed(n), at(0));
        ledger.take(&answered(n, wants(None)), at(0));
    }
    ledger
}

fn unhealthy(reason: HealthReason) -> Option<Health> {
    Some(Health::Unhealthy { reason })
}

fn degraded(reason: HealthReason) -> Option<Health> {
    Some(Health::Degraded { reasons: vec![reason] })
}

fn healthy_count(ledger: &Ledger, count: u8) -> usize {
    (0..count).filter(|n| ledger.health(&gpu(*n)).unwrap().is_schedulable()).count()
}

fn word(who: &str) -> Word {
    Word { who: who.to_owned(), why: "a look at its fan".to_owned(), unix_ms: 1 }
}

const XID_79: HealthReason = HealthReason::Xid { xid: 79 };

#[test]
fn critical_xid_condemns_exactly_its_gpu_and_says_what_to_do() {
    let mut ledger = node(8);
    let changes = ledger.take(&xid(3, 79, None), at(1));
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].cause, &changes[0].subject), (Cause::Xid, &Subject::gpu(gpu(3))));
    for n in 0..8 {
        let expected = if n == 3 { unhealthy(XID_79) } else { Some(Health::Healthy) };
        assert_eq!(ledger.health(&gpu(n)), expected);
    }
    assert_eq!(crate::what_to_do(&XID_79), "drain and reboot the node");
}

#[test]
fn xid_of_an_instance_takes_that_instance_and_one_of_the_gpu_takes_all() {
    let mut ledger = node(2);
    ledger.take(&xid(0, 48, Some(2)), at(1));
    assert_eq!(ledger.instance_health(&gpu(0), 2), unhealthy(HealthReason::Xid { xid: 48 }));
    assert_eq!(ledger.instance_health(&gpu(0), 1), Some(Health::Healthy));
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::Xid { xid: 48 }), "handed out whole");
    ledger.take(&xid(1, 95, Some(2)), at(1));
    for instance in 0..3 {
        assert_eq!(ledger.instance_health(&gpu(1), instance), unhealthy(HealthReason::Xid { xid: 95 }));
    }
    // An instance that was destroyed takes its fault along.
    ledger.take(&Evidence::Listed { gpu: gpu(0), instances: Some(vec![1, 5]) }, at(2));
    assert_eq!(ledger.instance_health(&gpu(0), 2), Some(Health::Healthy));
}

#[test]
fn application_xids_change_nothing_and_unknown_ones_degrade_and_thrice_condemn() {
    let mut ledger = node(1);
    for number in [13, 31, 43, 45, 94, 154] {
        assert_eq!(ledger.take(&xid(0, number, None), at(1)), Vec::new(), "{number}");
    }
    ledger.take(&xid(0, 999, None), at(2));
    assert_eq!(ledger.health(&gpu(0)), degraded(HealthReason::Xid { xid: 999 }));
    ledger.take(&xid(0, 998, None), at(3));
    assert!(ledger.health(&gpu(0)).unwrap().is_schedulable());
    ledger.take(&xid(0, 999, None), at(4));
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::Xid { xid: 999 }));
}

#[test]
fn degraded_by_an_xid_ends_with_its_time() {
    let mut ledger = node(1);
    ledger.take(&xid(0, 109, None), at(5));
    assert_eq!(ledger.health(&gpu(0)), degraded(HealthReason::Xid { xid: 109 }));
    let end = at(5 + DEGRADED_FOR.as_secs());
    assert_eq!(ledger.next_change(at(5)), Some(end.up));
    assert_eq!(ledger.pass_time(end)[0].cause, Cause::TimeOver);
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy));
    assert_eq!(ledger.next_change(end), None);
}

#[test]
fn driver_decides_on_xids_that_it_is_asked_about_and_the_table_where_it_does_not_tell() {
    let mut told = node(1);
    told.take(&xid(0, 150, None), at(1));
    assert_eq!(told.health(&gpu(0)), degraded(HealthReason::Xid { xid: 150 }));
    told.take(&answered(0, wants(Some("reset"))), at(2));
    assert_eq!(told.health(&gpu(0)), unhealthy(HealthReason::RecoveryWanted { action: "reset".into() }));
    let mut old = Ledger::new(Settings::default());
    old.take(&listed(0), at(0));
    old.take(&xid(0, 150, None), at(1));
    assert_eq!(old.health(&gpu(0)), unhealthy(HealthReason::Xid { xid: 150 }));
}

#[test]
fn recovery_takes_a_proof_of_reset_and_three_probes_apart() {
    let mut ledger = node(2);
    ledger.take(&xid(0, 95, None), at(0));
    // A content driver alone proves no reset.
    for second in [10, 20, 30, 40] {
        ledger.take(&answered(0, wants(None)), at(second));
    }
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::Xid { xid: 95 }));
    assert_eq!(ledger.next_probe(), None);
    ledger.take(&answered(0, wants(Some("reset"))), at(50));
    ledger.take(&answered(0, wants(None)), at(60));
    assert_eq!(ledger.next_probe(), Some(at(60).up + SPACING));
    // Probes at one time are one.
    ledger.take(&answered(0, wants(None)), at(61));
    ledger.take(&answered(0, wants(None)), at(70));
    // A bad one makes it begin anew.
    ledger.take(&lost(0), at(75));
    ledger.take(&answered(0, wants(None)), at(80));
    ledger.take(&answered(0, wants(None)), at(90));
    assert!(!ledger.health(&gpu(0)).unwrap().is_schedulable());
    let changes = ledger.take(&answered(0, wants(None)), at(100));
    assert_eq!((changes[0].cause, &changes[0].to), (Cause::Probe, &Health::Healthy));
}

#[test]
fn gpu_that_was_away_or_whose_driver_was_is_back_after_its_probes() {
    for away in [
        lost(0),
        Evidence::Vanished(gpu(0)),
        Evidence::Silent(HealthReason::NoDriver),
        Evidence::Driver { version: "590".into() },
    ] {
        let mut ledger = node(2);
        ledger.take(&Evidence::Driver { version: "580".into() }, at(0));
        ledger.take(&xid(0, 79, None), at(1));
        ledger.take(&away, at(2));
        assert_eq!(ledger.health(&gpu(0)), unhealthy(XID_79), "the first reason stays: {away:?}");
        ledger.take(&listed(0), at(3));
        for second in [10, 20, 30] {
            assert!(!ledger.health(&gpu(0)).unwrap().is_schedulable(), "{away:?}");
            // As of a driver that does not tell recovery actions.
            ledger.take(&answered(0, Condition::default()), at(second));
        }
        assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy), "{away:?}");
    }
}

#[test]
fn proof_from_before_an_xid_is_none() {
    let mut ledger = node(2);
    ledger.take(&Evidence::Silent(HealthReason::NoDriver), at(1));
    ledger.take(&listed(0), at(2));
    ledger.take(&xid(0, 95, None), at(3));
    for second in [10, 20, 30, 40] {
        ledger.take(&answered(0, wants(None)), at(second));
    }
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::Xid { xid: 95 }));
}

#[test]
fn failed_remap_stays_until_another_boot() {
    let mut ledger = node(2);
    ledger.take(&answered(0, Condition { remap_failed: Some(true), ..wants(None) }), at(1));
    for second in [10, 20, 30, 40, 50] {
        ledger.take(&answered(0, Condition { remap_failed: Some(false), ..wants(None) }), at(second));
    }
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::RemapFailed));
    let fresh = Ledger::restored(Settings::default(), ledger.saved().clone(), Boot::Other);
    assert_eq!(fresh.health(&gpu(0)), None);
}

#[test]
fn readings_degrade_for_as_long_as_they_are_read() {
    let mut ledger = node(1);
    ledger.take(&answered(0, Condition { links_up: Some(12), ..wants(None) }), at(0));
    let bad = Condition {
        remap_pending: Some(true),
        sram_errors: Some(true),
        links_up: Some(10),
        fabric: Some("in-progress".into()),
        slowdown: Some("hw-thermal".into()),
        ..wants(None)
    };
    ledger.take(&answered(0, bad.clone()), at(1));
    let health = ledger.health(&gpu(0)).unwrap();
    assert_eq!(health.to_string(), "Degraded(remap-pending, sram-errors, nvlink-down, fabric-in-progress)");
    assert!(health.is_schedulable());
    ledger.take(&answered(0, bad), at(1 + SLOW_FOR.as_secs()));
    assert_eq!(ledger.health(&gpu(0)).unwrap().reasons().len(), 5);
    // What is not told does not end it; what is told well does.
    ledger.take(&answered(0, wants(None)), at(400));
    assert_eq!(ledger.health(&gpu(0)).unwrap().reasons().len(), 5);
    let good = Condition {
        remap_pending: Some(false),
        sram_errors: Some(false),
        links_up: Some(12),
        fabric: Some(String::new()),
        slowdown: Some(String::new()),
        ..wants(None)
    };
    ledger.take(&answered(0, good), at(401));
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy));
}

#[test]
fn silent_driver_makes_gpus_unknown_then_unhealthy_after_the_grace_and_an_answer_brings_them_back() {
    let mut ledger = node(2);
    let silent = Evidence::Silent(HealthReason::NvmlStuck);
    ledger.take(&silent, at(0));
    ledger.take(&silent, at(30));
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Unknown { reason: HealthReason::NvmlStuck }));
    assert_eq!(ledger.next_change(at(30)), Some(GRACE));
    assert_eq!(ledger.pass_time(at(59)), Vec::new());
    let changes = ledger.pass_time(at(60));
    assert_eq!((changes.len(), changes[0].cause), (2, Cause::GraceOver));
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::NvmlStuck));
    assert_eq!(ledger.records()[0].awaits.as_deref(), Some("an answer"));
    assert_eq!(ledger.next_change(at(60)), None);
    ledger.take(&answered(0, wants(None)), at(61));
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy));
}

#[test]
fn breaker_keeps_half_of_the_gpus_until_a_later_probe_says_the_same() {
    let mut ledger = node(8);
    for n in 0..8 {
        ledger.take(&answered(n, wants(Some("reset"))), at(1));
    }
    assert_eq!(healthy_count(&ledger, 8), 4);
    assert_eq!(ledger.next_probe(), Some(at(1).up + SPACING));
    // The same at once is no second look; one of them takes its word back.
    ledger.take(&answered(6, wants(Some("reset"))), at(2));
    ledger.take(&answered(7, wants(None)), at(2));
    assert_eq!(healthy_count(&ledger, 8), 4);
    for n in 4..7 {
        ledger.take(&answered(n, wants(Some("reset"))), at(11));
    }
    assert_eq!(healthy_count(&ledger, 8), 1);
    assert_eq!(ledger.health(&gpu(7)), Some(Health::Healthy));
}

#[test]
fn breaker_does_not_hold_back_xids() {
    let mut ledger = node(8);
    for n in 0..8 {
        ledger.take(&xid(n, 79, None), at(1));
    }
    assert_eq!(healthy_count(&ledger, 8), 0);
}

#[test]
fn fence_stands_above_all_evidence_and_over_a_boot() {
    let mut ledger = node(2);
    let subject = Subject::gpu(gpu(0));
    let changes = ledger.fence(&subject, word("ada"), at(1)).unwrap();
    assert_eq!(
        (changes[0].cause, &changes[0].to),
        (Cause::Person, &unhealthy(HealthReason::Fenced).unwrap())
    );
    ledger.take(&xid(0, 79, None), at(2));
    ledger.take(&answered(0, wants(None)), at(3));
    let mut next = Ledger::restored(Settings::default(), ledger.saved().clone(), Boot::Other);
    next.take(&listed(0), at(0));
    assert_eq!(next.health(&gpu(0)), unhealthy(HealthReason::Fenced));
    assert_eq!(next.records()[0].fence.as_ref().unwrap().who, "ada");
    next.clear(&subject, word("grace"), at(1)).unwrap();
    assert_eq!(next.health(&gpu(0)), Some(Health::Healthy));
    let error = ledger.fence(&Subject::gpu(gpu(9)), word("ada"), at(1)).unwrap_err().to_string();
    assert!(error.contains(gpu(9).as_str()), "{error}");
}

#[test]
fn clear_accepts_what_is_known_and_new_evidence_counts_again() {
    let mut ledger = node(2);
    let subject = Subject::gpu(gpu(0));
    ledger.take(&xid(0, 95, None), at(1));
    ledger.take(&xid(0, 48, Some(1)), at(1));
    ledger.take(&answered(0, wants(Some("reset"))), at(2));
    ledger.clear(&subject, word("grace"), at(3)).unwrap();
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy));
    assert_eq!(ledger.records()[0].cleared.as_ref().unwrap().who, "grace");
    // The same reading is accepted, another one is not.
    ledger.take(&answered(0, wants(Some("reset"))), at(4));
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy));
    ledger.take(&answered(0, wants(Some("reboot"))), at(5));
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::RecoveryWanted { action: "reboot".into() }));
    ledger.clear(&subject, word("grace"), at(6)).unwrap();
    ledger.take(&xid(0, 95, None), at(7));
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::Xid { xid: 95 }));
}

#[test]
fn fence_of_an_instance_is_that_instances() {
    let mut ledger = node(1);
    let subject = Subject { gpu: gpu(0), gpu_instance: Some(3) };
    ledger.fence(&subject, word("ada"), at(1)).unwrap();
    assert_eq!(ledger.instance_health(&gpu(0), 3), unhealthy(HealthReason::Fenced));
    assert_eq!(ledger.instance_health(&gpu(0), 4), Some(Health::Healthy));
    ledger.clear(&subject, word("ada"), at(2)).unwrap();
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy));
}

#[test]
fn checks_switched_off_leave_only_fences() {
    let (checks, _) = HealthChecks::from_variables("all", "");
    let mut ledger = Ledger::new(Settings { checks, ..Settings::default() });
    ledger.take(&listed(0), at(0));
    ledger.take(&xid(0, 79, None), at(1));
    assert_eq!(ledger.health(&gpu(0)), Some(Health::Healthy));
    ledger.take(&lost(0), at(2));
    assert_eq!(ledger.health(&gpu(0)), degraded(HealthReason::Lost));
    let looked_at = Ledger::as_kept(ledger.saved().clone());
    assert_eq!(looked_at.health(&gpu(0)), degraded(HealthReason::Lost));
    ledger.fence(&Subject::gpu(gpu(0)), word("ada"), at(3)).unwrap();
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::Fenced));
}

#[test]
fn evidence_of_a_gpu_never_listed_adds_nothing() {
    let mut ledger = node(1);
    for evidence in [answered(9, wants(Some("reset"))), xid(9, 79, None), lost(9), Evidence::Vanished(gpu(9))]
    {
        assert_eq!(ledger.take(&evidence, at(1)), Vec::new());
    }
    assert_eq!(ledger.health(&gpu(9)), None);
}

#[test]
fn words_said_to_the_process_before_are_taken_over_whatever_their_time() {
    let (mut ours, mut theirs) = (node(2), node(2));
    let (zero, one) = (Subject::gpu(gpu(0)), Subject { gpu: gpu(1), gpu_instance: Some(2) });
    let word = |unix_ms| Word { unix_ms, ..word("ada") };
    theirs.fence(&zero, word(5), at(1)).unwrap();
    theirs.fence(&one, word(5), at(1)).unwrap();
    assert_eq!(ours.adopt_words(theirs.saved(), at(2)).len(), 2);
    assert_eq!(ours.health(&gpu(0)), unhealthy(HealthReason::Fenced));
    assert_eq!(ours.instance_health(&gpu(1), 2), unhealthy(HealthReason::Fenced));
    // Each is said once.
    assert_eq!(ours.adopt_words(theirs.saved(), at(3)), Vec::new());
    assert_eq!(ours.adopt_words(node(2).saved(), at(3)), Vec::new());
    // The clock was set back.
    theirs.clear(&zero, word(2), at(3)).unwrap();
    assert_eq!(ours.adopt_words(theirs.saved(), at(4)).len(), 1);
    assert_eq!(ours.health(&gpu(0)), Some(Health::Healthy));
    theirs.fence(&zero, word(1), at(4)).unwrap();
    assert_eq!(ours.adopt_words(theirs.saved(), at(4)).len(), 1);
    assert_eq!(ours.health(&gpu(0)), unhealthy(HealthReason::Fenced));
    theirs.clear(&one, word(7), at(5)).unwrap();
    ours.take(&xid(1, 48, Some(2)), at(5));
    ours.adopt_words(theirs.saved(), at(6));
    assert_eq!(ours.health(&gpu(1)), Some(Health::Healthy));
}

#[test]
fn leased_gpu_is_unhealthy_whatever_is_learnt_and_afterwards_as_it_was_learnt() {
    let mut ledger = node(3);
    let leased = BTreeSet::from([gpu(0), gpu(1)]);
    let changes = ledger.lease(&leased, at(1));
    assert_eq!(changes.iter().map(|change| change.cause).collect::<Vec<_>>(), [Cause::Lease; 2]);
    assert_eq!(ledger.lease(&leased, at(1)), []);
    assert_eq!(ledger.instance_health(&gpu(1), 3), unhealthy(HealthReason::Reconfiguring));
    ledger.take(&answered(0, wants(None)), at(2));
    assert_eq!(ledger.take(&xid(1, 79, None), at(2)), []);
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::Reconfiguring));
    assert_eq!(ledger.beneath_lease(&gpu(0)), Some(Health::Healthy));
    assert_eq!(ledger.health(&gpu(2)), Some(Health::Healthy));
    // A restart forgets no lease, and a fence stands above it.
    let mut ledger = Ledger::restored(Settings::default(), ledger.saved().clone(), Boot::Same);
    assert_eq!(ledger.leased(), leased);
    ledger.fence(&Subject::gpu(gpu(0)), word("ada"), at(3)).unwrap();
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::Fenced));
    ledger.lease(&BTreeSet::new(), at(4));
    assert_eq!(ledger.health(&gpu(0)), unhealthy(HealthReason::Fenced));
    assert_eq!(ledger.health(&gpu(1)), unhealthy(XID_79));
}
