//! Power, clocks, temperature and utilisation.

use super::*;

impl Sweep<'_> {
    pub(super) fn telemetry(&mut self) {
        numbers!(self, u32: nvmlDeviceGetPowerUsage nvmlDeviceGetPowerManagementMode
            nvmlDeviceGetPowerManagementLimit nvmlDeviceGetPowerManagementDefaultLimit
            nvmlDeviceGetEnforcedPowerLimit nvmlDeviceGetPowerState nvmlDeviceGetPerformanceState
            nvmlDeviceGetCurrPcieLinkGeneration nvmlDeviceGetMaxPcieLinkGeneration
            nvmlDeviceGetGpuMaxPcieLinkGeneration nvmlDeviceGetCurrPcieLinkWidth
            nvmlDeviceGetMaxPcieLinkWidth nvmlDeviceGetPcieLinkMaxSpeed nvmlDeviceGetPcieSpeed
            nvmlDeviceGetPcieReplayCounter nvmlDeviceGetNumFans);
        numbers!(self, u64: nvmlDeviceGetTotalEnergyConsumption nvmlDeviceGetCurrentClocksThrottleReasons
            nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetSupportedClocksThrottleReasons
            nvmlDeviceGetSupportedClocksEventReasons);
        pairs!(self, u32: nvmlDeviceGetPowerManagementLimitConstraints nvmlDeviceGetEncoderUtilization
            nvmlDeviceGetDecoderUtilization);
        choices!(self, u32, 0..5, nvmlDeviceGetClockInfo nvmlDeviceGetMaxClockInfo
            nvmlDeviceGetMaxCustomerBoostClock nvmlDeviceGetApplicationsClock
            nvmlDeviceGetDefaultApplicationsClock);
        choices!(self, u32, 0..3, nvmlDeviceGetPcieThroughput);
        choices!(self, u32, 0..2, nvmlDeviceGetTemperature);
        choices!(self, u32, 0..9, nvmlDeviceGetTemperatureThreshold);
        for (kind, which) in [(0, 0), (1, 3), (2, 1), (0, 4)] {
            ask!(self, nvmlDeviceGetClock(kind, which), |f| {
                let mut mhz = u32::MAX;
                (f(self.gpu, kind, which, &mut mhz), json!(mhz))
            });
        }
        ask!(self, nvmlDeviceGetTemperatureV, |f| {
            let mut temperature: nvmlTemperature_t = zeroed();
            temperature.version = version_word::<nvmlTemperature_t>(1);
            (f(self.gpu, &mut temperature), json!(temperature.temperature))
        });
        ask!(self, nvmlDeviceGetUtilizationRates, |f| {
            let mut rates = nvmlUtilization_t { gpu: u32::MAX, memory: u32::MAX };
            (f(self.gpu, &mut rates), json!({ "gpu": rates.gpu, "memory": rates.memory }))
        });
    }
}
