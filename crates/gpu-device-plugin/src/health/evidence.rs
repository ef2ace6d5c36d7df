//! What an inventory or a probe of the driver says about the GPUs that are known. Pure.

use gpu_health::{Condition, Evidence, Recovery};
use gpu_model::{Gpu, GpuUuid, HealthReason, Inventory, Reading};
use nvml::{Code, Fabric, NvmlError, Probe, RecoveryAction, Slowdown};

/// Evidence in an inventory, given the GPUs known before it.
///
/// A known GPU that cannot be identified any more is recognised by its index, which is stable for as long
/// as the driver is loaded.
pub fn of_inventory(known: &[Gpu], inventory: &Inventory) -> Vec<Evidence> {
    let driver = Evidence::Driver { version: inventory.driver.driver.clone() };
    let listed = inventory
        .gpus
        .iter()
        .map(|gpu| Evidence::Listed { gpu: gpu.uuid.clone(), instances: instances(gpu) });
    let missing = known.iter().filter(|gpu| !inventory.gpus.iter().any(|other| other.uuid == gpu.uuid));
    let lost =
        missing.map(|gpu| match inventory.failures.iter().find(|failure| failure.index == gpu.index) {
            Some(failure) => {
                Evidence::Refused { gpu: gpu.uuid.clone(), call: failure.call.clone(), code: failure.code }
            }
            None => Evidence::Vanished(gpu.uuid.clone()),
        });
    std::iter::once(driver).chain(listed).chain(lost).collect()
}

/// Evidence on GPUs that only an earlier process knew, in the first inventory of this one: they have vanished, unless
/// one of those that cannot be named may be theirs.
pub fn of_absence<'a>(
    kept: impl Iterator<Item = &'a GpuUuid>,
    known: &[Gpu],
    inventory: &Inventory,
) -> Vec<Evidence> {
    if !inventory.failures.is_empty() {
        return Vec::new();
    }
    let is_named = |gpu: &&GpuUuid| known.iter().chain(&inventory.gpus).any(|other| other.uuid == **gpu);
    kept.filter(|gpu| !is_named(gpu)).cloned().map(Evidence::Vanished).collect()
}

/// The GPU instances that are there, if all could be read.
fn instances(gpu: &Gpu) -> Option<Vec<u32>> {
    let is_known = gpu.mig_mode.value().is_some() && gpu.mig_failures.is_empty();
    is_known.then(|| gpu.mig_devices.iter().map(|device| device.gpu_instance).collect())
}

/// Evidence in a probe, given the GPUs of the last inventory.
pub fn of_probe(known: &[Gpu], probes: &[Probe]) -> Vec<Evidence> {
    known.iter().map(|gpu| of_one(gpu, probes)).collect()
}

fn of_one(gpu: &Gpu, probes: &[Probe]) -> Evidence {
    let by_uuid = probes.iter().find(|probe| probe.uuid.value() == Some(&gpu.uuid));
    let nameless = || probes.iter().find(|probe| probe.index == gpu.index && probe.uuid.value().is_none());
    let Some(probe) = by_uuid.or_else(nameless) else {
        return Evidence::Vanished(gpu.uuid.clone());
    };
    let gpu = gpu.uuid.clone();
    match (&probe.failure, &probe.uuid) {
        (Some(failure), _) => Evidence::Refused { gpu, call: failure.call.clone(), code: failure.code },
        (None, Reading::Failed { call, code }) => Evidence::Refused { gpu, call: call.clone(), code: *code },
        _ => Evidence::Answered { gpu, condition: condition(probe) },
    }
}

fn condition(probe: &Probe) -> Condition {
    let told = &probe.condition;
    Condition {
        recovery: probe.recovery.value().map(|action| recovery(*action)),
        remap_pending: told.rows.value().map(|rows| rows.pending),
        remap_failed: told.rows.value().map(|rows| rows.failed),
        sram_errors: told.sram_over_threshold.value().copied(),
        links_up: told.links_up.value().copied(),
        fabric: told.fabric.value().map(|fabric| fabric_name(*fabric).to_owned()),
        slowdown: told.slowdown.value().map(|by| slowdown_name(*by).to_owned()),
    }
}

/// GPUs that a probe found and the last inventory does not have: time for a new inventory.
pub fn newcomers<'a>(known: &[Gpu], probes: &'a [Probe]) -> Vec<&'a GpuUuid> {
    let found = probes.iter().filter_map(|probe| probe.uuid.value());
    found.filter(|uuid| !known.iter().any(|gpu| gpu.uuid == **uuid)).collect()
}

/// Why no GPU could be asked.
pub fn silence(error: &NvmlError) -> HealthReason {
    match error {
        NvmlError::NoDriver { .. } => HealthReason::NoDriver,
        NvmlError::Call { call, code } => {
            HealthReason::CallFailed { call: call.clone(), failure: u32::from(*code) }
        }
        NvmlError::VersionMismatch { call } => {
            HealthReason::CallFailed { call: call.clone(), failure: u32::from(Code::LibRmVersionMismatch) }
        }
        NvmlError::NoPermission { call } => {
            HealthReason::CallFailed { call: call.clone(), failure: u32::from(Code::NoPermission) }
        }
        NvmlError::Stuck { .. } | NvmlError::TooManyAbandoned { .. } => HealthReason::NvmlStuck,
        _ => HealthReason::NvmlFailed,
    }
}

/// An action that nobody knows is taken for one that may end without a reset.
fn recovery(action: RecoveryAction) -> Recovery {
    let (name, is_reset) = match action {
        RecoveryAction::None => return Recovery::NONE,
        RecoveryAction::Reset => ("reset", true),
        RecoveryAction::Reboot => ("reboot", true),
        RecoveryAction::DrainP2p => ("drain-p2p", false),
        RecoveryAction::DrainAndReset => ("drain-and-reset", true),
        RecoveryAction::RecoverImexDomain => ("recover-imex-domain", false),
        RecoveryAction::Other(number) => {
            return Recovery { action: Some(number.to_string()), is_reset: false };
        }
    };
    Recovery { action: Some(name.to_owned()), is_reset }
}

fn fabric_name(fabric: Fabric) -> &'static str {
    match fabric {
        Fabric::Well => "",
        Fabric::NotStarted => "not-started",
        Fabric::InProgress => "in-progress",
        Fabric::Failed => "failed",
        Fabric::DegradedBandwidth => "degraded-bandwidth",
        Fabric::RouteRecovery => "route-recovery",
        Fabric::RouteUnhealthy => "route-unhealthy",
        Fabric::AccessTimeout => "access-timeout",
        Fabric::Misconfigured => "misconfigured",
    }
}

fn slowdown_name(slowdown: Slowdown) -> &'static str {
    match slowdown {
        Slowdown::None => "",
        Slowdown::HwThermal => "hw-thermal",
        Slowdown::PowerBrake => "power-brake",
        Slowdown::Hw => "hw",
        Slowdown::SwThermal => "sw-thermal",
    }
}

#[cfg(test)]
mod tests {
    use gpu_model::{DriverVersions, GpuFailure};

    use super::*;
    use crate::state::tests::bare_gpu as gpu;

    fn uuid(n: u32) -> GpuUuid {
        gpu(n).uuid
    }

    fn answer(index: u32) -> Probe {
        Probe {
            index,
            uuid: Reading::Value(uuid(index)),
            failure: None,
            recovery: Reading::Value(RecoveryAction::None),
            condition: nvml::Condition::NOT_ASKED,
            mig: Reading::NotSupported,
        }
    }

    fn lost(index: u32) -> Probe {
        let call = "nvmlDeviceGetHandleByIndex_v2".to_owned();
        let failure = Some(GpuFailure { index, call: call.clone(), code: 15 });
        let uuid = Reading::Failed { call, code: 15 };
        Probe { uuid, failure, recovery: Reading::NotSupported, ..answer(index) }
    }

    fn answered(index: u32) -> Evidence {
        let condition = Condition { recovery: Some(Recovery::NONE), ..Condition::default() };
        Evidence::Answered { gpu: uuid(index), condition }
    }

    #[test]
    fn probe_without_a_uuid_is_the_gpu_of_its_index() {
        let evidence = of_probe(&[gpu(0), gpu(1)], &[answer(0), lost(1)]);
        let call = "nvmlDeviceGetHandleByIndex_v2".to_owned();
        assert_eq!(evidence, [answered(0), Evidence::Refused { gpu: uuid(1), call, code: 15 }]);
    }

    #[test]
    fn gpu_that_moved_to_another_index_is_still_known_and_the_missing_one_has_vanished() {
        let moved = Probe { index: 0, ..answer(1) };
        let evidence = of_probe(&[gpu(0), gpu(1)], &[moved]);
        assert_eq!(evidence, [Evidence::Vanished(uuid(0)), answered(1)]);
    }

    #[test]
    fn everything_that_a_gpu_says_of_itself_is_evidence() {
        let says = Probe {
            recovery: Reading::Value(RecoveryAction::Reset),
            condition: nvml::Condition {
                rows: Reading::Value(nvml::Rows { pending: true, failed: false }),
                sram_over_threshold: Reading::Value(true),
                links_up: Reading::Value(11),
                fabric: Reading::Value(Fabric::Well),
                slowdown: Reading::Value(Slowdown::PowerBrake),
            },
            ..answer(0)
        };
        let condition = Condition {
            recovery: Some(Recovery { action: Some("reset".into()), is_reset: true }),
            remap_pending: Some(true),
            remap_failed: Some(false),
            sram_errors: Some(true),
            links_up: Some(11),
            fabric: Some(String::new()),
            slowdown: Some("power-brake".into()),
        };
        assert_eq!(of_probe(&[gpu(0)], &[says]), [Evidence::Answered { gpu: uuid(0), condition }]);
    }

    #[test]
    fn inventory_tells_lost_from_vanished_by_its_failures() {
        let driver =
            DriverVersions { driver: "580".into(), nvml: "13".into(), cuda: Reading::Value((13, 0)) };
        let failures = vec![GpuFailure { index: 1, call: "nvmlDeviceGetUUID".into(), code: 15 }];
        let inventory = Inventory { driver, gpus: vec![gpu(0)], failures };
        let evidence = of_inventory(&[gpu(0), gpu(1), gpu(2)], &inventory);
        let driver = Evidence::Driver { version: "580".into() };
        let listed = Evidence::Listed { gpu: uuid(0), instances: None };
        let refused = Evidence::Refused { gpu: uuid(1), call: "nvmlDeviceGetUUID".into(), code: 15 };
        assert_eq!(evidence, [driver, listed, refused, Evidence::Vanished(uuid(2))]);
    }

    #[test]
    fn gpu_that_only_an_earlier_process_knew_has_vanished_unless_it_may_be_one_without_a_name() {
        let driver =
            DriverVersions { driver: "580".into(), nvml: "13".into(), cuda: Reading::Value((13, 0)) };
        let mut inventory = Inventory { driver, gpus: vec![gpu(0)], failures: Vec::new() };
        let kept = [uuid(0), uuid(1), uuid(2)];
        let vanished = of_absence(kept.iter(), &[gpu(1)], &inventory);
        assert_eq!(vanished, [Evidence::Vanished(uuid(2))]);
        inventory.failures.push(GpuFailure { index: 2, call: "nvmlDeviceGetUUID".into(), code: 999 });
        assert_eq!(of_absence(kept.iter(), &[gpu(1)], &inventory), []);
    }

    #[test]
    fn crash_is_told_from_a_call_that_hangs() {
        let call = "nvmlDeviceGetUUID".to_owned();
        let stuck = NvmlError::Stuck { call: call.clone(), after: std::time::Duration::from_secs(5) };
        assert_eq!(silence(&stuck), HealthReason::NvmlStuck);
        let crashed = NvmlError::Crashed { call, how: "signal 11".into() };
        assert_eq!(silence(&crashed), HealthReason::NvmlFailed);
        assert_eq!(silence(&NvmlError::Garbage { reason: "no frame".into() }), HealthReason::NvmlFailed);
    }

    #[test]
    fn gpu_that_only_the_probe_knows_is_a_newcomer() {
        let (zero, one) = (answer(0), answer(1));
        assert_eq!(newcomers(&[gpu(0)], &[zero, one]), [&uuid(1)]);
    }
}
