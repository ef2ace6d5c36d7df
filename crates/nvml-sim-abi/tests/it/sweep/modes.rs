//! Modes of a GPU.

use super::*;

impl Sweep<'_> {
    pub(super) fn modes(&mut self) {
        numbers!(self, u32: nvmlDeviceGetPersistenceMode nvmlDeviceGetComputeMode nvmlDeviceGetDisplayMode
            nvmlDeviceGetDisplayActive nvmlDeviceGetAccountingMode nvmlDeviceGetVirtualizationMode
            nvmlDeviceGetMaxMigDeviceCount nvmlDeviceIsMigDeviceHandle);
        numbers!(self, u64: nvmlDeviceGetSupportedEventTypes);
        pairs!(self, u32: nvmlDeviceGetMigMode nvmlDeviceGetEccMode);
        ask!(self, nvmlDeviceGetMigDeviceHandleByIndex(0), |f| {
            let mut mig = null_mut();
            (f(self.gpu, 0, &mut mig), index_of(mig))
        });
        ask!(self, nvmlDeviceGetDeviceHandleFromMigDeviceHandle, |f| {
            let mut gpu = null_mut();
            (f(self.gpu, &mut gpu), index_of(gpu))
        });
        ask!(self, nvmlDeviceGetAddressingMode, |f| {
            let mut mode: nvmlDeviceAddressingMode_t = zeroed();
            mode.version = version_word::<nvmlDeviceAddressingMode_t>(1);
            (f(self.gpu, &mut mode), json!(mode.value))
        });
    }
}
