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
            nvmlDeviceGetPcieReplayCounter nvmlDeviceGetNumFans nvmlDeviceGetFanSpeed nvmlDeviceGetPowerSource
            nvmlDeviceGetAdaptiveClockInfoStatus nvmlGpmQueryIfStreamingEnabled);
        numbers!(self, u64: nvmlDeviceGetTotalEnergyConsumption nvmlDeviceGetCurrentClocksThrottleReasons
            nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetSupportedClocksThrottleReasons
            nvmlDeviceGetSupportedClocksEventReasons);
        pairs!(self, u32: nvmlDeviceGetPowerManagementLimitConstraints nvmlDeviceGetEncoderUtilization
            nvmlDeviceGetDecoderUtilization nvmlDeviceGetJpgUtilization nvmlDeviceGetOfaUtilization
            nvmlDeviceGetMinMaxFanSpeed);
        choices!(self, u32, 0..5, nvmlDeviceGetClockInfo nvmlDeviceGetMaxClockInfo
            nvmlDeviceGetMaxCustomerBoostClock nvmlDeviceGetApplicationsClock
            nvmlDeviceGetDefaultApplicationsClock);
        choices!(self, u32, 0..2, nvmlDeviceGetFanSpeed_v2 nvmlDeviceGetTargetFanSpeed
            nvmlDeviceGetFanControlPolicy_v2);
        choices!(self, u32, 0..4, nvmlDeviceGetEncoderCapacity);
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
        self.clock_lists();
        self.sessions();
        self.sensors();
    }

    fn clock_lists(&mut self) {
        ask!(self, nvmlDeviceGetSupportedMemoryClocks, |f| {
            let (mut count, mut clocks) = (8, [0; 8]);
            let code = f(self.gpu, &mut count, clocks.as_mut_ptr());
            (code, json!(clocks.get(..count as usize)))
        });
        for memory in [405, 1593, 2619] {
            ask!(self, nvmlDeviceGetSupportedGraphicsClocks(memory), |f| {
                let (mut count, mut clocks) = (400, [0; 400]);
                let code = f(self.gpu, memory, &mut count, clocks.as_mut_ptr());
                let last = (count as usize).checked_sub(1).and_then(|last| clocks.get(last));
                (code, json!([count, clocks[0], last]))
            });
        }
        ask!(self, nvmlDeviceGetSupportedPerformanceStates, |f| {
            let mut states = [0; 4];
            (f(self.gpu, states.as_mut_ptr(), 16), json!(states))
        });
        for (kind, state) in [(0, 0), (2, 8), (3, 5)] {
            ask!(self, nvmlDeviceGetMinMaxClockOfPState(kind, state), |f| {
                let (mut low, mut high) = (u32::MAX, u32::MAX);
                (f(self.gpu, kind, state, &mut low, &mut high), json!([low, high]))
            });
        }
        for policy in [0, 1, 2, 3, 4, 5, 6, 10, 11, 12] {
            ask!(self, nvmlDeviceGetViolationStatus(policy), |f| {
                let mut time = nvmlViolationTime_t { referenceTime: 0, violationTime: 0 };
                (f(self.gpu, policy, &mut time), json!([time.referenceTime, time.violationTime]))
            });
        }
    }

    fn sessions(&mut self) {
        ask!(self, nvmlDeviceGetEncoderStats, |f| {
            let [mut a, mut b, mut c] = [u32::MAX; 3];
            (f(self.gpu, &mut a, &mut b, &mut c), json!([a, b, c]))
        });
        ask!(self, nvmlDeviceGetEncoderSessions, |f| {
            let mut count = u32::MAX;
            (f(self.gpu, &mut count, null_mut()), json!(count))
        });
        ask!(self, nvmlDeviceGetFBCStats, |f| {
            let mut stats: nvmlFBCStats_t = zeroed();
            (f(self.gpu, &mut stats), json!([stats.sessionsCount, stats.averageFPS, stats.averageLatency]))
        });
        ask!(self, nvmlDeviceGetFBCSessions, |f| {
            let mut count = u32::MAX;
            (f(self.gpu, &mut count, null_mut()), json!(count))
        });
    }

    fn sensors(&mut self) {
        ask!(self, nvmlDeviceGetFanSpeedRPM, |f| {
            let mut info: nvmlFanSpeedInfo_t = zeroed();
            info.version = version_word::<nvmlFanSpeedInfo_t>(1);
            (f(self.gpu, &mut info), json!(info.speed))
        });
        ask!(self, nvmlDeviceGetMarginTemperature, |f| {
            let mut margin: nvmlMarginTemperature_t = zeroed();
            margin.version = version_word::<nvmlMarginTemperature_t>(1);
            (f(self.gpu, &mut margin), json!(margin.marginTemperature))
        });
        for sensor in [0, 1] {
            ask!(self, nvmlDeviceGetThermalSettings(sensor), |f| {
                let mut settings: nvmlGpuThermalSettings_t = zeroed();
                let code = f(self.gpu, sensor, &mut settings);
                let first = settings.sensor[0];
                (code, json!([settings.count, first.currentTemp, first.defaultMaxTemp, first.target]))
            });
        }
        ask!(self, nvmlDeviceGetDynamicPstatesInfo, |f| {
            let mut info: nvmlGpuDynamicPstatesInfo_t = zeroed();
            let code = f(self.gpu, &mut info);
            let domains = info.utilization.iter().filter(|domain| domain.bIsPresent == 1);
            (code, domains.map(|domain| domain.percentage).collect())
        });
        for kind in 0..11 {
            ask!(self, nvmlDeviceGetSamples(kind), |f| {
                let (mut of, mut count) = (0, 120);
                let mut samples: [nvmlSample_t; 120] = zeroed();
                let code = f(self.gpu, kind, 0, &mut of, &mut count, samples.as_mut_ptr());
                let last = samples.get(count as usize - 1).unwrap();
                (code, json!([of, count, last.timeStamp, last.sampleValue.ullVal]))
            });
        }
        ask!(self, nvmlGpmQueryDeviceSupport, |f| {
            let mut support = nvmlGpmSupport_t { version: 1, isSupportedDevice: u32::MAX };
            (f(self.gpu, &mut support), json!(support.isSupportedDevice))
        });
    }
}
