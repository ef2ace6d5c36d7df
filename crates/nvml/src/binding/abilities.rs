//! What this driver's library can do, by the symbols that it has. Asked once; code asks this and not a
//! version number.

use nvml_wrapper_sys::bindings::NvmlLib;

/// Groups of functions that one operation needs together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    /// MIG mode (from R450).
    pub mig: bool,
    /// Field values, among which is the recovery action.
    pub fields: bool,
    /// Event sets with instance ids (wait of version 2, from R450).
    pub events: bool,
    /// Common ancestors on PCIe.
    pub ancestors: bool,
    /// State of NVLinks and what is at their other ends.
    pub nvlink: bool,
    /// What kind of device is at an NVLink's other end (from R465).
    pub nvlink_kind: bool,
    /// NVLink fabrics with their health; an older driver tells the place in them alone.
    pub fabric_health: bool,
}

impl Abilities {
    pub(super) fn probe(library: &NvmlLib) -> Abilities {
        Abilities {
            mig: library.nvmlDeviceGetMigMode.is_ok(),
            fields: library.nvmlDeviceGetFieldValues.is_ok(),
            events: library.nvmlEventSetCreate.is_ok()
                && library.nvmlDeviceRegisterEvents.is_ok()
                && library.nvmlEventSetWait_v2.is_ok()
                && library.nvmlEventSetFree.is_ok(),
            ancestors: library.nvmlDeviceGetTopologyCommonAncestor.is_ok(),
            nvlink: library.nvmlDeviceGetNvLinkState.is_ok()
                && library.nvmlDeviceGetNvLinkRemotePciInfo_v2.is_ok(),
            nvlink_kind: library.nvmlDeviceGetNvLinkRemoteDeviceType.is_ok(),
            fabric_health: library.nvmlDeviceGetGpuFabricInfoV.is_ok(),
        }
    }
}
