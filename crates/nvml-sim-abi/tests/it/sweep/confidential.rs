//! Confidential computing.

use super::*;

impl Sweep<'_> {
    pub(super) fn confidential(&mut self) {
        ask!(self, nvmlSystemGetConfComputeCapabilities, |f| {
            let mut caps: nvmlConfComputeSystemCaps_t = zeroed();
            (f(&mut caps), json!({ "cpu": caps.cpuCaps, "gpus": caps.gpusCaps }))
        });
        ask!(self, nvmlSystemGetConfComputeState, |f| {
            let mut state: nvmlConfComputeSystemState_t = zeroed();
            (f(&mut state), json!([state.environment, state.ccFeature, state.devToolsMode]))
        });
        ask!(self, nvmlSystemGetConfComputeGpusReadyState, |f| {
            let mut accepting = u32::MAX;
            (f(&mut accepting), json!(accepting))
        });
        ask!(self, nvmlSystemGetConfComputeSettings, |f| {
            let mut settings: nvmlSystemConfComputeSettings_t = zeroed();
            settings.version = version_word::<nvmlSystemConfComputeSettings_t>(1);
            let code = f(&mut settings);
            let answer =
                [settings.environment, settings.ccFeature, settings.devToolsMode, settings.multiGpuMode];
            (code, json!(answer))
        });
        ask!(self, nvmlDeviceGetConfComputeMemSizeInfo, |f| {
            let mut info: nvmlConfComputeMemSizeInfo_t = zeroed();
            (f(self.gpu, &mut info), json!([info.protectedMemSizeKib, info.unprotectedMemSizeKib]))
        });
        ask!(self, nvmlDeviceGetConfComputeProtectedMemoryUsage, |f| {
            let mut memory: nvmlMemory_t = zeroed();
            (f(self.gpu, &mut memory), json!([memory.total, memory.free, memory.used]))
        });
    }
}
