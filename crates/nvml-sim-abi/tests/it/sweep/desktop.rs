//! Clock offsets, PowerMizer, coolers, performance levels, power profiles.

use super::*;

impl Sweep<'_> {
    pub(super) fn desktop(&mut self) {
        numbers!(self, i32: nvmlDeviceGetGpcClkVfOffset nvmlDeviceGetMemClkVfOffset);
        pairs!(self, i32: nvmlDeviceGetGpcClkMinMaxVfOffset nvmlDeviceGetMemClkMinMaxVfOffset);
        for (kind, state) in [(0, 0), (2, 8), (1, 0), (2, 5), (4, 0)] {
            ask!(self, nvmlDeviceGetClockOffsets(kind, state), |f| {
                let mut info: nvmlClockOffset_t = zeroed();
                info.version = version_word::<nvmlClockOffset_t>(1);
                (info.type_, info.pstate) = (kind, state);
                let code = f(self.gpu, &mut info);
                (code, json!([info.clockOffsetMHz, info.minClockOffsetMHz, info.maxClockOffsetMHz]))
            });
        }
        ask!(self, nvmlDeviceGetPowerMizerMode_v1, |f| {
            let mut modes: nvmlDevicePowerMizerModes_v1_t = zeroed();
            let code = f(self.gpu, &mut modes);
            (code, json!([modes.currentMode, modes.supportedPowerMizerModes]))
        });
        for index in [0, 2] {
            ask!(self, nvmlDeviceGetCoolerInfo(index), |f| {
                let mut info: nvmlCoolerInfo_t = zeroed();
                (info.version, info.index) = (version_word::<nvmlCoolerInfo_t>(1), index);
                (f(self.gpu, &mut info), json!([info.signalType, info.target]))
            });
        }
    }

    pub(super) fn performance(&mut self) {
        ask!(self, nvmlDeviceGetPerformanceModes, |f| {
            let mut modes: nvmlDevicePerfModes_t = zeroed();
            modes.version = version_word::<nvmlDevicePerfModes_t>(1);
            (f(self.gpu, &mut modes), text_of(&modes.str_))
        });
        ask!(self, nvmlDeviceGetCurrentClockFreqs, |f| {
            let mut clocks: nvmlDeviceCurrentClockFreqs_t = zeroed();
            clocks.version = version_word::<nvmlDeviceCurrentClockFreqs_t>(1);
            (f(self.gpu, &mut clocks), text_of(&clocks.str_))
        });
    }

    pub(super) fn power_profiles(&mut self) {
        ask!(self, nvmlDeviceWorkloadPowerProfileGetProfilesInfo, |f| {
            let mut info: nvmlWorkloadPowerProfileProfilesInfo_t = zeroed();
            info.version = version_word::<nvmlWorkloadPowerProfileProfilesInfo_t>(1);
            let code = f(self.gpu, &mut info);
            let profiles = info.perfProfile.iter().take(2);
            let profiles: Vec<_> =
                profiles.map(|it| [it.profileId, it.priority, it.conflictingMask.mask[0]]).collect();
            (code, json!([info.perfProfilesMask.mask[0], profiles]))
        });
        ask!(self, nvmlDeviceWorkloadPowerProfileGetCurrentProfiles, |f| {
            let mut current: nvmlWorkloadPowerProfileCurrentProfiles_t = zeroed();
            current.version = version_word::<nvmlWorkloadPowerProfileCurrentProfiles_t>(1);
            let code = f(self.gpu, &mut current);
            let masks = [current.requestedProfilesMask.mask[0], current.enforcedProfilesMask.mask[0]];
            (code, json!(masks))
        });
    }
}
