//! Processes on a GPU.

use super::*;

impl Sweep<'_> {
    pub(super) fn processes(&mut self) {
        processes!(self: nvmlDeviceGetComputeRunningProcesses nvmlDeviceGetComputeRunningProcesses_v2
            nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetGraphicsRunningProcesses
            nvmlDeviceGetGraphicsRunningProcesses_v2 nvmlDeviceGetGraphicsRunningProcesses_v3
            nvmlDeviceGetMPSComputeRunningProcesses nvmlDeviceGetMPSComputeRunningProcesses_v2
            nvmlDeviceGetMPSComputeRunningProcesses_v3);
    }
}
