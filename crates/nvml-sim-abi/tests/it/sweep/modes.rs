//! Modes of a GPU.

use super::*;

/// Lists of licences.
macro_rules! licences {
    ($sweep:ident: $($name:ident)*) => {$(
        ask!($sweep, $name, |f| {
            let mut features: nvmlGridLicensableFeatures_t = zeroed();
            let code = f($sweep.gpu, &mut features);
            (code, json!([features.isGridLicenseSupported, features.licensableFeaturesCount]))
        });
    )*};
}

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
        ask!(self, nvmlDeviceGetC2cModeInfoV, |f| {
            let mut mode = nvmlC2cModeInfo_v1_t { isC2cEnabled: 9 };
            (f(self.gpu, &mut mode), json!(mode.isC2cEnabled))
        });
        ask!(self, nvmlDeviceQueryDrainState, |f| {
            let (mut pci, mut state): (nvmlPciInfo_t, _) = (zeroed(), 9);
            let known = self.lib.nvmlDeviceGetPciInfo_v3.as_ref().unwrap();
            assert_eq!(known(self.gpu, &mut pci), 0);
            (f(&mut pci, &mut state), json!(state))
        });
        choices!(self, u32, 0..3, nvmlDeviceGetAPIRestriction);
        licences!(self: nvmlDeviceGetGridLicensableFeatures nvmlDeviceGetGridLicensableFeatures_v2
            nvmlDeviceGetGridLicensableFeatures_v3 nvmlDeviceGetGridLicensableFeatures_v4);
    }
}
