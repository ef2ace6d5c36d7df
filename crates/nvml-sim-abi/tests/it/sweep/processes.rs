//! Processes on a GPU.

use nvml_sim_abi::structs::*;

use super::*;
use crate::processes::Asks;

impl Sweep<'_> {
    pub(super) fn processes(&mut self) {
        processes!(self: nvmlDeviceGetComputeRunningProcesses nvmlDeviceGetComputeRunningProcesses_v2
            nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetGraphicsRunningProcesses
            nvmlDeviceGetGraphicsRunningProcesses_v2 nvmlDeviceGetGraphicsRunningProcesses_v3
            nvmlDeviceGetMPSComputeRunningProcesses nvmlDeviceGetMPSComputeRunningProcesses_v2
            nvmlDeviceGetMPSComputeRunningProcesses_v3 nvmlDeviceGetAccountingPids);
        numbers!(self, u32: nvmlDeviceGetAccountingBufferSize);
        ask!(self, nvmlDeviceGetAccountingStats, |f| {
            let mut stats: nvmlAccountingStats_t = zeroed();
            (f(self.gpu, 1, &mut stats), json!(stats.isRunning))
        });
        ask_later!(self, nvmlDeviceGetAccountingStats_v2: Asks<nvmlAccountingStats_v2_t>, |f| {
            let mut stats = nvmlAccountingStats_v2_t { pid: 1, ..Default::default() };
            (f(self.gpu, &mut stats), json!(stats.isRunning))
        });
        for mode in 0..4 {
            ask!(self, nvmlDeviceGetRunningProcessDetailList(mode), |f| {
                let mut list: nvmlProcessDetailList_t = zeroed();
                (list.version, list.mode) = (version_word::<nvmlProcessDetailList_t>(1), mode);
                (f(self.gpu, &mut list), json!(list.numProcArrayEntries))
            });
        }
        ask!(self, nvmlDeviceGetProcessUtilization, |f| {
            let mut count = 0;
            (f(self.gpu, null_mut(), &mut count, 0), json!(count))
        });
        ask!(self, nvmlDeviceGetProcessesUtilizationInfo, |f| {
            let mut info: nvmlProcessesUtilizationInfo_t = zeroed();
            info.version = version_word::<nvmlProcessesUtilizationInfo_t>(1);
            (f(self.gpu, &mut info), json!(info.processSamplesCount))
        });
    }
}
