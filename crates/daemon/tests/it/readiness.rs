//! Readiness by handles.

use std::sync::atomic::{AtomicI64, Ordering};

use daemon::Readiness;
use jiff::Timestamp;

#[test]
fn readiness_comes_with_the_last_component() {
    let readiness = Readiness::new();
    let (nvml, kubelet) = (readiness.component("nvml"), readiness.component("kubelet"));
    assert!(!readiness.is_ready());
    nvml.ready();
    assert!(!readiness.is_ready());
    kubelet.ready();
    assert!(readiness.is_ready());
    nvml.not_ready("nvml-stuck", "nvmlInit_v2 has not returned for 120 s");
    assert!(!readiness.is_ready());
}

#[test]
fn report_lists_components_that_are_not_ready_by_name() {
    let readiness = Readiness::new();
    let (_kubelet, cdi, nvml) =
        (readiness.component("kubelet"), readiness.component("cdi"), readiness.component("nvml"));
    nvml.ready();
    cdi.not_ready("cdi-unproven", "the runtime did not tell");
    let report = readiness.report();
    let listed: Vec<_> =
        report.not_ready.iter().map(|state| (state.component.as_str(), state.code.as_deref())).collect();
    assert_eq!(listed, [("cdi", Some("cdi-unproven")), ("kubelet", Some("starting"))]);
}

#[test]
fn since_starts_anew_with_the_code_and_not_with_the_detail() {
    static SECONDS: AtomicI64 = AtomicI64::new(0);
    let readiness =
        Readiness::with_clock(|| Timestamp::from_second(SECONDS.fetch_add(1, Ordering::Relaxed)).unwrap());
    let nvml = readiness.component("nvml");
    nvml.not_ready("no-driver", "first look");
    let first = readiness.report().not_ready.remove(0);
    nvml.not_ready("no-driver", "second look");
    let second = readiness.report().not_ready.remove(0);
    assert_eq!((first.since, second.detail.as_deref()), (second.since, Some("second look")));
    nvml.not_ready("nvml-stuck", "");
    assert!(readiness.report().not_ready[0].since > first.since);
}

#[test]
fn component_that_is_dropped_no_longer_counts() {
    let readiness = Readiness::new();
    let gone = readiness.component("resource nvidia.com/gpu");
    assert!(!readiness.is_ready());
    drop(gone);
    assert!(readiness.is_ready());
}
