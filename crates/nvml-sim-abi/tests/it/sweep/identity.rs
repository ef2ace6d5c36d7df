//! What a GPU is and where it sits.

use nvml_sim_abi::structs::*;

use super::*;

/// A function of a GPU that fills a struct.
type Asks<T> = unsafe extern "C" fn(nvmlDevice_t, *mut T) -> nvmlReturn_t;

impl Sweep<'_> {
    pub(super) fn identity(&mut self) {
        texts!(self: nvmlDeviceGetName nvmlDeviceGetUUID nvmlDeviceGetSerial nvmlDeviceGetBoardPartNumber
            nvmlDeviceGetVbiosVersion nvmlDeviceGetInforomImageVersion);
        numbers!(self, u32: nvmlDeviceGetIndex nvmlDeviceGetMinorNumber nvmlDeviceGetModuleId
            nvmlDeviceGetBrand nvmlDeviceGetArchitecture nvmlDeviceGetNumGpuCores nvmlDeviceGetBoardId
            nvmlDeviceGetMultiGpuBoard nvmlDeviceGetBusType nvmlDeviceGetMemoryBusWidth nvmlDeviceGetIrqNum);
        pairs!(self, i32: nvmlDeviceGetCudaComputeCapability);
        pairs!(self, u32: nvmlDeviceGetGspFirmwareMode);
        ask!(self, nvmlDeviceGetGspFirmwareVersion, |f| {
            let mut text = [0; 80];
            (f(self.gpu, text.as_mut_ptr()), text_of(&text))
        });
        ask!(self, nvmlDeviceGetMemoryInfo, |f| {
            let mut memory: nvmlMemory_t = zeroed();
            let code = f(self.gpu, &mut memory);
            (code, json!({ "total": memory.total, "free": memory.free, "used": memory.used }))
        });
        ask!(self, nvmlDeviceGetMemoryInfo_v2, |f| {
            let mut memory: nvmlMemory_v2_t = zeroed();
            memory.version = version_word::<nvmlMemory_v2_t>(2);
            let code = f(self.gpu, &mut memory);
            let nvmlMemory_v2_t { total, reserved, free, used, .. } = memory;
            (code, json!({ "total": total, "reserved": reserved, "free": free, "used": used }))
        });
        ask!(self, nvmlDeviceGetBAR1MemoryInfo, |f| {
            let mut memory: nvmlBAR1Memory_t = zeroed();
            let code = f(self.gpu, &mut memory);
            (code, json!({ "total": memory.bar1Total, "free": memory.bar1Free, "used": memory.bar1Used }))
        });
        ask!(self, nvmlDeviceGetPciInfo, |f| {
            let mut info: nvmlPciInfo_t = zeroed();
            (f(self.gpu, &mut info), pci(&info))
        });
        ask!(self, nvmlDeviceGetPciInfo_v2, |f| {
            let mut info: nvmlPciInfo_t = zeroed();
            (f(self.gpu, &mut info), pci(&info))
        });
        ask!(self, nvmlDeviceGetPciInfo_v3, |f| {
            let mut info: nvmlPciInfo_t = zeroed();
            (f(self.gpu, &mut info), pci(&info))
        });
        ask!(self, nvmlDeviceGetPciInfoExt, |f| {
            let mut info: nvmlPciInfoExt_t = zeroed();
            info.version = version_word::<nvmlPciInfoExt_t>(1);
            let code = f(self.gpu, &mut info);
            let answer = json!({
                "busId": text_of(&info.busId), "domain": info.domain, "bus": info.bus, "device": info.device,
                "pciDeviceId": info.pciDeviceId, "pciSubSystemId": info.pciSubSystemId,
                "baseClass": info.baseClass, "subClass": info.subClass,
            });
            (code, answer)
        });
    }

    pub(super) fn board(&mut self) {
        for object in 0..5 {
            ask!(self, nvmlDeviceGetInforomVersion(object), |f| {
                let mut text = [0; 16];
                (f(self.gpu, object, text.as_mut_ptr(), 16), text_of(&text))
            });
        }
        numbers!(self, u32: nvmlDeviceGetInforomConfigurationChecksum);
        ask!(self, nvmlDeviceValidateInforom, |f| (f(self.gpu), json!(null)));
        ask!(self, nvmlDeviceGetLastBBXFlushTime, |f| {
            let (mut time, mut span) = (0, 0);
            (f(self.gpu, &mut time, &mut span), json!([time, span]))
        });
        ask!(self, nvmlDeviceGetPdi, |f| {
            let mut pdi: nvmlPdi_v1_t = zeroed();
            pdi.version = version_word::<nvmlPdi_v1_t>(1);
            (f(self.gpu, &mut pdi), json!(pdi.value))
        });
        ask!(self, nvmlDeviceGetCapabilities, |f| {
            let mut mask: nvmlDeviceCapabilities_v1_t = zeroed();
            mask.version = version_word::<nvmlDeviceCapabilities_v1_t>(1);
            (f(self.gpu, &mut mask), json!(mask.capMask))
        });
        for version in [1, 2] {
            ask!(self, nvmlDeviceGetPlatformInfo(version), |f| {
                let mut info: nvmlPlatformInfo_v2_t = zeroed();
                info.version = version_word::<nvmlPlatformInfo_v2_t>(version);
                let code = f(self.gpu, &mut info);
                let answer = json!({
                    "ib": info.ibGuid, "chassis": info.chassisSerialNumber, "slot": info.slotNumber,
                    "tray": info.trayIndex, "host": info.hostId, "peer": info.peerType, "module": info.moduleId,
                });
                (code, answer)
            });
        }
        ask_later!(self, nvmlDeviceGetHostname_v1: Asks<nvmlHostname_v1_t>, |f| {
            let mut name = nvmlHostname_v1_t { value: [0; 64] };
            (f(self.gpu, &mut name), text_of(&name.value))
        });
        ask_later!(self, nvmlDeviceGetBBXTimeData_v1: Asks<nvmlBBXTimeData_v1_t>, |f| {
            let mut data = nvmlBBXTimeData_v1_t::default();
            (f(self.gpu, &mut data), json!(data.timeRun))
        });
    }

    pub(super) fn placement(&mut self) {
        numbers!(self, u32: nvmlDeviceGetNumaNodeId);
        ask!(self, nvmlDeviceGetCpuAffinity, |f| {
            let mut mask = [0; 4];
            (f(self.gpu, 4, mask.as_mut_ptr()), json!(mask))
        });
        for scope in 0..3 {
            ask!(self, nvmlDeviceGetCpuAffinityWithinScope(scope), |f| {
                let mut mask = [0; 4];
                (f(self.gpu, 4, mask.as_mut_ptr(), scope), json!(mask))
            });
            ask!(self, nvmlDeviceGetMemoryAffinity(scope), |f| {
                let mut mask = [0; 1];
                (f(self.gpu, 1, mask.as_mut_ptr(), scope), json!(mask))
            });
        }
        for (to, other) in [("own", self.gpu), ("last", self.last)] {
            ask!(self, nvmlDeviceGetTopologyCommonAncestor(to), |f| {
                let mut level = u32::MAX;
                (f(self.gpu, other, &mut level), json!(level))
            });
            ask!(self, nvmlDeviceOnSameBoard(to), |f| {
                let mut same = i32::MAX;
                (f(self.gpu, other, &mut same), json!(same))
            });
        }
        for level in [0, 10, 20, 30, 40, 50] {
            ask!(self, nvmlDeviceGetTopologyNearestGpus(level), |f| {
                let (mut count, mut gpus) = (64, [null_mut(); 64]);
                let code = f(self.gpu, level, &mut count, gpus.as_mut_ptr());
                (code, gpus.iter().take(count as usize).map(|gpu| index_of(*gpu)).collect())
            });
        }
        for index in 0..6 {
            ask!(self, nvmlDeviceGetP2PStatus(index), |f| {
                let mut status = u32::MAX;
                (f(self.gpu, self.last, index, &mut status), json!(status))
            });
        }
    }
}
