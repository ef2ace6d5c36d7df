//! What a GPU says of its own condition, in few calls: fields in one, and two more; that of its fabric is elsewhere.

use nvml_wrapper_sys::bindings as sys;

use super::gpu::Gpu;
use super::{Failure, raw, version_word};
use crate::Code;
use crate::probe::{RecoveryAction, Rows, Slowdown};

/// `NVML_FI_DEV_GET_GPU_RECOVERY_ACTION`: on no renumbering list.
const FIELD_RECOVERY_ACTION: u32 = 230;

/// `NVML_FI_DEV_REMAPPED_PENDING` and `NVML_FI_DEV_REMAPPED_FAILURE`.
const FIELDS_ROWS: [u32; 2] = [144, 145];

/// `NVML_FI_DEV_NVLINK_GET_STATE`, by link.
const FIELD_LINK_STATE: u32 = 165;

/// Links that are asked for: as many as header 13.3 allows (`NVML_NVLINK_MAX_LINKS`).
const LINKS: u32 = 36;

/// `NVML_NVLINK_STATE_ACTIVE_TRAFFIC_DISABLED` of header 13.3, which the bindings lack.
const LINK_WITHOUT_TRAFFIC: u32 = 3;

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
        let mut fields = vec![field(FIELD_RECOVERY_ACTION, 0)];
        fields.extend(FIELDS_ROWS.map(|number| field(number, 0)));
        fields.extend(link_fields());
        self.ask_fields(&mut fields)?;
        let (recovery, rest) = (&fields[0], &fields[1..]);
        let (rows, links) = rest.split_at(FIELDS_ROWS.len());
        Ok(Fields {
            recovery: number(recovery).map(RecoveryAction::from),
            rows: number(&rows[0])
                .and_then(|pending| Ok(Rows { pending: pending != 0, failed: number(&rows[1])? != 0 })),
            links_up: links_up(links),
        })
    }

    /// NVLinks that are up: one call.
    pub fn nvlinks_up(&self) -> Result<u32, Failure> {
        let mut fields: Vec<_> = link_fields().collect();
        self.ask_fields(&mut fields)?;
        links_up(&fields)
    }

    fn ask_fields(&self, fields: &mut [sys::nvmlFieldValue_t]) -> Result<(), Failure> {
        if !self.driver.abilities.fields {
            return Err(Failure { call: FIELDS_CALL, code: Code::NotSupported });
        }
        let count = fields.len() as i32;
        raw!(self, Query, nvmlDeviceGetFieldValues(self.handle, count, fields.as_mut_ptr()))
    }

    /// Whether uncorrectable errors of SRAM are above the threshold for a replacement. Only root is told.
    pub fn sram_over_threshold(&self) -> Result<bool, Failure> {
        // SAFETY: plain numbers, for which zeros are a value.
        let mut status: sys::nvmlEccSramErrorStatus_v1_t = unsafe { std::mem::zeroed() };
        status.version = version_word(size_of_val(&status), 1);
        raw!(self, Query, nvmlDeviceGetSramEccErrorStatus(self.handle, &raw mut status))?;
        Ok(status.bThresholdExceeded != 0)
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

fn link_fields() -> impl Iterator<Item = sys::nvmlFieldValue_t> {
    (0..LINKS).map(|link| field(FIELD_LINK_STATE, link))
}

/// How many of the links are up, of as many as answer before one does not.
fn links_up(links: &[sys::nvmlFieldValue_t]) -> Result<u32, Failure> {
    let mut up = None;
    for link in links {
        let state = match (number(link), up) {
            (Ok(state), _) => state,
            (Err(_), Some(up)) => return Ok(up),
            (Err(failure), None) => return Err(failure),
        };
        let is_up = match u32::try_from(state) {
            Ok(sys::NVML_NVLINK_STATE_ACTIVE | sys::NVML_NVLINK_STATE_SLEEP) => 1,
            Ok(sys::NVML_NVLINK_STATE_INACTIVE | LINK_WITHOUT_TRAFFIC) => 0,
            _ => return Err(Failure::senseless(FIELDS_CALL)),
        };
        up = Some(up.unwrap_or(0) + is_up);
    }
    Ok(up.unwrap_or(0))
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
