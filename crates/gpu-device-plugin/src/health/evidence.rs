//! What an inventory or a probe of the driver says about the GPUs that are known. Pure.

use gpu_model::{Gpu, GpuUuid, HealthReason, Inventory};
use nvml::{Code, NvmlError, Probe, RecoveryAction};

use super::Evidence;

/// Evidence in an inventory, given the GPUs known before it.
///
/// A known GPU that cannot be identified any more is recognised by its index, which is stable for as long
/// as the driver is loaded.
pub fn of_inventory(known: &[Gpu], inventory: &Inventory) -> Vec<Evidence> {
    let listed = inventory.gpus.iter().map(|gpu| Evidence::Listed(gpu.uuid.clone()));
    let missing = known.iter().filter(|gpu| !inventory.gpus.iter().any(|other| other.uuid == gpu.uuid));
    let lost =
        missing.map(|gpu| match inventory.failures.iter().find(|failure| failure.index == gpu.index) {
            Some(failure) => {
                Evidence::Refused { gpu: gpu.uuid.clone(), call: failure.call.clone(), code: failure.code }
            }
            None => Evidence::Vanished(gpu.uuid.clone()),
        });
    listed.chain(lost).collect()
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
    match (&probe.failure, &probe.uuid, probe.recovery.value()) {
        (Some(failure), ..) => Evidence::Refused { gpu, call: failure.call.clone(), code: failure.code },
        (None, gpu_model::Reading::Failed { call, code }, _) => {
            Evidence::Refused { gpu, call: call.clone(), code: *code }
        }
        (None, _, Some(action)) if *action != RecoveryAction::None => {
            Evidence::RecoveryWanted { gpu, action: name_of(*action) }
        }
        _ => Evidence::Answered(gpu),
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

fn name_of(action: RecoveryAction) -> String {
    match action {
        RecoveryAction::None => "none".to_owned(),
        RecoveryAction::Reset => "reset".to_owned(),
        RecoveryAction::Reboot => "reboot".to_owned(),
        RecoveryAction::DrainP2p => "drain-p2p".to_owned(),
        RecoveryAction::DrainAndReset => "drain-and-reset".to_owned(),
        RecoveryAction::RecoverImexDomain => "recover-imex-domain".to_owned(),
        RecoveryAction::Other(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use gpu_model::{DriverVersions, GpuFailure, Reading};

    use super::*;

    fn uuid(n: u32) -> GpuUuid {
        format!("GPU-00000000-0000-0000-0000-0000000000{n:02x}").parse().unwrap()
    }

    fn gpu(index: u32) -> Gpu {
        Gpu {
            index,
            uuid: uuid(index),
            minor: Reading::Value(index),
            product: Reading::NotSupported,
            pci: Reading::NotSupported,
            memory_bytes: Reading::NotSupported,
            compute_capability: Reading::NotSupported,
            numa_node: Reading::NotSupported,
            mig_mode: Reading::NotSupported,
            mig_devices: Vec::new(),
            mig_failures: Vec::new(),
        }
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
        Probe {
            index,
            uuid: Reading::Failed { call, code: 15 },
            failure,
            recovery: Reading::NotSupported,
            condition: nvml::Condition::NOT_ASKED,
            mig: Reading::NotSupported,
        }
    }

    #[test]
    fn probe_without_a_uuid_is_the_gpu_of_its_index() {
        let evidence = of_probe(&[gpu(0), gpu(1)], &[answer(0), lost(1)]);
        let call = "nvmlDeviceGetHandleByIndex_v2".to_owned();
        assert_eq!(
            evidence,
            [Evidence::Answered(uuid(0)), Evidence::Refused { gpu: uuid(1), call, code: 15 }]
        );
    }

    #[test]
    fn gpu_that_moved_to_another_index_is_still_known_and_the_missing_one_has_vanished() {
        let moved = Probe { index: 0, ..answer(1) };
        let evidence = of_probe(&[gpu(0), gpu(1)], &[moved]);
        assert_eq!(evidence, [Evidence::Vanished(uuid(0)), Evidence::Answered(uuid(1))]);
    }

    #[test]
    fn recovery_that_the_driver_asks_for_is_evidence_though_the_gpu_answers() {
        let asks = Probe { recovery: Reading::Value(RecoveryAction::Reset), ..answer(0) };
        let expected = Evidence::RecoveryWanted { gpu: uuid(0), action: "reset".into() };
        assert_eq!(of_probe(&[gpu(0)], &[asks]), [expected]);
    }

    #[test]
    fn inventory_tells_lost_from_vanished_by_its_failures() {
        let driver =
            DriverVersions { driver: "580".into(), nvml: "13".into(), cuda: Reading::Value((13, 0)) };
        let failures = vec![GpuFailure { index: 1, call: "nvmlDeviceGetUUID".into(), code: 15 }];
        let inventory = Inventory { driver, gpus: vec![gpu(0)], failures };
        let evidence = of_inventory(&[gpu(0), gpu(1), gpu(2)], &inventory);
        let refused = Evidence::Refused { gpu: uuid(1), call: "nvmlDeviceGetUUID".into(), code: 15 };
        assert_eq!(evidence, [Evidence::Listed(uuid(0)), refused, Evidence::Vanished(uuid(2))]);
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
