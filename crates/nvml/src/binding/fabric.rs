//! How a GPU stands in its NVLink fabric: one answer of the driver, read for its health and for its place.

use gpu_model::FabricState;
use nvml_wrapper_sys::bindings as sys;

use super::gpu::Gpu;
use super::{Failure, raw, version_word};
use crate::Code;
use crate::probe::Fabric;

/// What the driver says, with its numbers.
struct Answer {
    /// The call that gave it.
    call: &'static str,
    state: u32,
    /// Of joining, once the state is completed.
    status: u32,
    cluster: [u8; 16],
    clique: u32,
    /// Zeros, which say nothing, from a driver that has no mask.
    health: u32,
}

/// Whether a GPU has joined.
enum Joining {
    NotStarted,
    InProgress,
    Completed,
}

impl Gpu<'_> {
    /// How it is in its NVLink fabric.
    pub fn fabric(&self) -> Result<Fabric, Failure> {
        let answer = self.fabric_answer()?;
        Ok(match answer.joining()? {
            Joining::NotStarted => Fabric::NotStarted,
            Joining::InProgress => Fabric::InProgress,
            Joining::Completed if answer.status != 0 => Fabric::Failed,
            Joining::Completed => trouble(answer.health),
        })
    }

    /// Where it is in its NVLink fabric.
    pub fn fabric_place(&self) -> Result<FabricState, Failure> {
        let answer = self.fabric_answer()?;
        Ok(match answer.joining()? {
            Joining::NotStarted => FabricState::NotStarted,
            Joining::InProgress => FabricState::InProgress,
            Joining::Completed if answer.status != 0 => FabricState::Failed { status: answer.status },
            Joining::Completed => {
                FabricState::Joined { cluster: uuid(answer.cluster), clique: answer.clique }
            }
        })
    }

    fn fabric_answer(&self) -> Result<Answer, Failure> {
        if !self.driver.abilities.fabric_health {
            return self.fabric_answer_without_health();
        }
        // SAFETY: plain numbers, for which zeros are a value. Version 3, which is longer, has room for version 2.
        let mut info: sys::nvmlGpuFabricInfo_v3_t = unsafe { std::mem::zeroed() };
        info.version = version_word(size_of::<sys::nvmlGpuFabricInfo_v2_t>(), 2);
        raw!(self, Query, nvmlDeviceGetGpuFabricInfoV(self.handle, &raw mut info))?;
        Ok(Answer {
            call: "nvmlDeviceGetGpuFabricInfoV",
            state: u32::from(info.state),
            status: info.status,
            cluster: info.clusterUuid,
            clique: info.cliqueId,
            health: info.healthMask,
        })
    }

    /// Of a driver of the first ones that know fabrics.
    fn fabric_answer_without_health(&self) -> Result<Answer, Failure> {
        // SAFETY: plain numbers, for which zeros are a value.
        let mut info: sys::nvmlGpuFabricInfo_t = unsafe { std::mem::zeroed() };
        raw!(self, Query, nvmlDeviceGetGpuFabricInfo(self.handle, &raw mut info))?;
        Ok(Answer {
            call: "nvmlDeviceGetGpuFabricInfo",
            state: u32::from(info.state),
            status: info.status,
            cluster: info.clusterUuid,
            clique: info.cliqueId,
            health: 0,
        })
    }
}

impl Answer {
    fn joining(&self) -> Result<Joining, Failure> {
        match self.state {
            sys::NVML_GPU_FABRIC_STATE_NOT_SUPPORTED => {
                Err(Failure { call: self.call, code: Code::NotSupported })
            }
            sys::NVML_GPU_FABRIC_STATE_NOT_STARTED => Ok(Joining::NotStarted),
            sys::NVML_GPU_FABRIC_STATE_IN_PROGRESS => Ok(Joining::InProgress),
            sys::NVML_GPU_FABRIC_STATE_COMPLETED => Ok(Joining::Completed),
            _ => Err(Failure::senseless(self.call)),
        }
    }
}

/// A UUID in its usual spelling; zeros are none.
fn uuid(bytes: [u8; 16]) -> Option<String> {
    if bytes == [0; 16] {
        return None;
    }
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([byte >> 4, byte & 0xf].into_iter().filter_map(|half| char::from_digit(half.into(), 16)));
    }
    Some(text)
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
