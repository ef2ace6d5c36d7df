//! NVLinks and the fabric.

use super::*;

impl Sweep<'_> {
    pub(super) fn nvlinks(&mut self) {
        choices!(self, u32, [0, 11, 17], nvmlDeviceGetNvLinkState nvmlDeviceGetNvLinkVersion
            nvmlDeviceGetNvLinkRemoteDeviceType);
        for capability in 0..7 {
            ask!(self, nvmlDeviceGetNvLinkCapability(0, capability), |f| {
                let mut has = u32::MAX;
                (f(self.gpu, 0, capability, &mut has), json!(has))
            });
        }
        ask!(self, nvmlDeviceGetNvLinkErrorCounter(0, 0), |f| {
            let mut count = u64::MAX;
            (f(self.gpu, 0, 0, &mut count), json!(count))
        });
        for link in [0, 11] {
            ask!(self, nvmlDeviceGetNvLinkRemotePciInfo(link), |f| {
                let mut info: nvmlPciInfo_t = zeroed();
                (f(self.gpu, link, &mut info), pci(&info))
            });
            ask!(self, nvmlDeviceGetNvLinkRemotePciInfo_v2(link), |f| {
                let mut info: nvmlPciInfo_t = zeroed();
                (f(self.gpu, link, &mut info), pci(&info))
            });
        }
    }

    pub(super) fn nvlink_modes(&mut self) {
        for version in [1, 2] {
            ask!(self, nvmlDeviceGetNvLinkInfo(version), |f| {
                let mut info: nvmlNvLinkInfo_v2_t = zeroed();
                info.version = match version {
                    1 => version_word::<nvmlNvLinkInfo_v1_t>(1),
                    _ => version_word::<nvmlNvLinkInfo_v2_t>(2),
                };
                (f(self.gpu, &mut info), json!([info.isNvleEnabled, info.firmwareInfo.numValidEntries]))
            });
        }
        ask!(self, nvmlDeviceGetNvlinkSupportedBwModes, |f| {
            let mut modes: nvmlNvlinkSupportedBwModes_v1_t = zeroed();
            modes.version = version_word::<nvmlNvlinkSupportedBwModes_v1_t>(1);
            let code = f(self.gpu, &mut modes);
            (code, json!({ "modes": modes.bwModes, "count": modes.totalBwModes }))
        });
        ask!(self, nvmlDeviceGetNvlinkBwMode, |f| {
            let mut mode: nvmlNvlinkGetBwMode_v1_t = zeroed();
            mode.version = version_word::<nvmlNvlinkGetBwMode_v1_t>(1);
            (f(self.gpu, &mut mode), json!({ "best": mode.bIsBest, "mode": mode.bwMode }))
        });
    }

    pub(super) fn fabric(&mut self) {
        ask!(self, nvmlDeviceGetGpuFabricInfo, |f| {
            let mut info: nvmlGpuFabricInfo_t = zeroed();
            let code = f(self.gpu, &mut info);
            let nvmlGpuFabricInfo_t { clusterUuid, status, cliqueId, state } = info;
            (code, json!({ "cluster": clusterUuid, "status": status, "clique": cliqueId, "state": state }))
        });
        for (version, bytes) in
            [(2, size_of::<nvmlGpuFabricInfo_v2_t>()), (3, size_of::<nvmlGpuFabricInfo_v3_t>())]
        {
            ask!(self, nvmlDeviceGetGpuFabricInfoV(version), |f| {
                let mut info: nvmlGpuFabricInfo_v3_t = zeroed();
                info.version = bytes as u32 | version << 24;
                let code = f(self.gpu, &mut info);
                let answer = json!({
                    "cluster": info.clusterUuid, "status": info.status, "clique": info.cliqueId,
                    "state": info.state, "healthMask": info.healthMask, "healthSummary": info.healthSummary,
                });
                (code, answer)
            });
        }
    }
}
