//! What a GPU says of its own condition, in few calls: fields in one, and three more.

use nvml_wrapper_sys::bindings as sys;

use super::gpu::Gpu;
use super::{Failure, raw};
use crate::Code;
use crate::probe::{Fabric, RecoveryAction, Rows, Slowdown};

/// `NVML_FI_DEV_GET_GPU_RECOVERY_ACTION`: on no renumbering list.
const FIELD_RECOVERY_ACTION: u32 = 230;

/// `NVML_FI_DEV_REMAPPED_PENDING` and `NVML_FI_DEV_REMAPPED_FAILURE`.
const FIELDS_ROWS: [u32; 2] = [144, 145];

/// `NVML_FI_DEV_NVLINK_GET_STATE`, by link.
const FIELD_LINK_STATE: u32 = 165;

/// Links that are asked for: as many as a GPU of today has (`NVML_NVLINK_MAX_LINKS`).
const LINKS: u32 = 18;

/// `NVML_STRUCT_VERSION`: the version stands above the size.
const fn version_word(size: usize, version: u32) -> u32 {
    size as u32 | version << 24
}

/// What the fields tell; each may be missing by itself.
pub(crate) struct Fields {
    pub recovery: Result<RecoveryAction, Failure>,
    pub rows: Result<Rows, Failure>,
    pub links_up: Result<u32, Failure>,
}

const FIELDS_CALL: &str = "nvmlDeviceGetFieldValues";

impl Gpu<'_> {
    /// Recovery action, remapped rows and NVLinks: one call.
    pub fn condition_fields(&self) -> Result<Fields, Failure> {
        if !self.driver.abilities.fields {
            return Err(Failure { call: FIELDS_CALL, code: Code::NotSupported });
        }
        let mut fields = vec![field(FIELD_RECOVERY_ACTION, 0)];
        fields.extend(FIELDS_ROWS.map(|number| field(number, 0)));
        fields.extend((0..LINKS).map(|link| field(FIELD_LINK_STATE, link)));
        let count = fields.len() as i32;
        raw!(self, Query, nvmlDeviceGetFieldValues(self.handle, count, fields.as_mut_ptr()))?;
        let (recovery, rest) = (&fields[0], &fields[1..]);
        let (rows, links) = rest.split_at(FIELDS_ROWS.len());
        let states: Vec<u64> = links.iter().map_while(|link| number(link).ok()).collect();
        let links_up = states.iter().filter(|state| **state != 0).count() as u32;
        Ok(Fields {
            recovery: number(recovery).map(RecoveryAction::from),
            rows: number(&rows[0])
                .and_then(|pending| Ok(Rows { pending: pending != 0, failed: number(&rows[1])? != 0 })),
            links_up: match (states.is_empty(), number(&links[0])) {
                (true, Err(failure)) => Err(failure),
                _ => Ok(links_up),
            },
        })
    }

    /// Whether uncorrectable errors of SRAM are above the threshold for a replacement. Only root is told.
    pub fn sram_over_threshold(&self) -> Result<bool, Failure> {
        // SAFETY: plain numbers, for which zeros are a value.
        let mut status: sys::nvmlEccSramErrorStatus_v1_t = unsafe { std::mem::zeroed() };
        status.version = version_word(size_of_val(&status), 1);
        raw!(self, Query, nvmlDeviceGetSramEccErrorStatus(self.handle, &raw mut status))?;
        Ok(status.bThresholdExceeded != 0)
    }

    /// How it is in its NVLink fabric.
    pub fn fabric(&self) -> Result<Fabric, Failure> {
        const CALL: &str = "nvmlDeviceGetGpuFabricInfoV";
        // SAFETY: plain numbers, for which zeros are a value. Version 3, which is longer, has room for version 2.
        let mut info: sys::nvmlGpuFabricInfo_v3_t = unsafe { std::mem::zeroed() };
        info.version = version_word(size_of::<sys::nvmlGpuFabricInfo_v2_t>(), 2);
        raw!(self, Query, nvmlDeviceGetGpuFabricInfoV(self.handle, &raw mut info))?;
        match u32::from(info.state) {
            sys::NVML_GPU_FABRIC_STATE_NOT_SUPPORTED => Err(Failure { call: CALL, code: Code::NotSupported }),
            sys::NVML_GPU_FABRIC_STATE_NOT_STARTED => Ok(Fabric::NotStarted),
            sys::NVML_GPU_FABRIC_STATE_IN_PROGRESS => Ok(Fabric::InProgress),
            sys::NVML_GPU_FABRIC_STATE_COMPLETED if info.status != 0 => Ok(Fabric::Failed),
            sys::NVML_GPU_FABRIC_STATE_COMPLETED => Ok(trouble(info.healthMask)),
            _ => Err(Failure::senseless(CALL)),
        }
    }

    /// What slows its clocks down beyond what it was told: heat, or a power brake.
    pub fn slowdown(&self) -> Result<Slowdown, Failure> {
        let mut reasons = 0;
        // The name that older drivers know too.
        raw!(self, Query, nvmlDeviceGetCurrentClocksThrottleReasons(self.handle, &raw mut reasons))?;
        let by = |reason: u32| reasons & u64::from(reason) != 0;
        Ok(match () {
            () if by(sys::nvmlClocksThrottleReasonHwThermalSlowdown) => Slowdown::HwThermal,
            () if by(sys::nvmlClocksThrottleReasonHwPowerBrakeSlowdown) => Slowdown::PowerBrake,
            () if by(sys::nvmlClocksThrottleReasonHwSlowdown) => Slowdown::Hw,
            () if by(sys::nvmlClocksEventReasonSwThermalSlowdown) => Slowdown::SwThermal,
            () => Slowdown::None,
        })
    }
}

impl From<u64> for RecoveryAction {
    fn from(number: u64) -> RecoveryAction {
        match number {
            0 => RecoveryAction::None,
            1 => RecoveryAction::Reset,
            2 => RecoveryAction::Reboot,
            3 => RecoveryAction::DrainP2p,
            4 => RecoveryAction::DrainAndReset,
            5 => RecoveryAction::RecoverImexDomain,
            other => RecoveryAction::Other(other),
        }
    }
}

fn field(number: u32, scope: u32) -> sys::nvmlFieldValue_t {
    sys::nvmlFieldValue_t {
        fieldId: number,
        scopeId: scope,
        timestamp: 0,
        latencyUsec: 0,
        valueType: 0,
        nvmlReturn: u32::from(Code::NotSupported),
        value: sys::nvmlValue_t { ullVal: 0 },
    }
}

fn number(field: &sys::nvmlFieldValue_t) -> Result<u64, Failure> {
    match Code::from(field.nvmlReturn) {
        // A driver that does not know the field calls its number invalid.
        Code::InvalidArgument => return Err(Failure { call: FIELDS_CALL, code: Code::NotSupported }),
        _ if field.nvmlReturn == 0 => {}
        code => return Err(Failure { call: FIELDS_CALL, code }),
    }
    // SAFETY: every member is plain numbers of at most eight bytes, all of which were initialised in `field`, and little
    // endian puts a shorter one in front.
    let number = unsafe { field.value.ullVal };
    Ok(match field.valueType {
        sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT
        | sys::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT => number & u64::from(u32::MAX),
        _ => number,
    })
}

/// The first trouble in the mask, whose parts are two bits each and a number of four; 0 in each is "not supported".
fn trouble(mask: u32) -> Fabric {
    let is_true = |shift: u32| (mask >> shift) & 0x3 == sys::NVML_GPU_FABRIC_HEALTH_MASK_DEGRADED_BW_TRUE;
    let configuration = (mask >> sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_INCORRECT_CONFIGURATION) & 0xf;
    let is_right = configuration <= sys::NVML_GPU_FABRIC_HEALTH_MASK_INCORRECT_CONFIGURATION_NONE;
    match () {
        () if is_true(sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_UNHEALTHY) => Fabric::RouteUnhealthy,
        () if is_true(sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_RECOVERY) => Fabric::RouteRecovery,
        () if is_true(sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ACCESS_TIMEOUT_RECOVERY) => {
            Fabric::AccessTimeout
        }
        () if is_true(sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_DEGRADED_BW) => Fabric::DegradedBandwidth,
        () if !is_right => Fabric::Misconfigured,
        () => Fabric::Well,
    }
}
