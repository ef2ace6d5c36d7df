//! MIG, which is off.

use super::*;

impl Sweep<'_> {
    /// MIG is off.
    pub(super) fn mig(&mut self) {
        numbers!(self, u32: nvmlDeviceGetGpuInstanceId nvmlDeviceGetComputeInstanceId);
        for number in 0..19 {
            ask!(self, nvmlDeviceGetGpuInstanceProfileInfo(number), |f| {
                let mut info: nvmlGpuInstanceProfileInfo_t = zeroed();
                let code = f(self.gpu, number, &mut info);
                let answer = json!({
                    "id": info.id, "p2p": info.isP2pSupported, "slices": info.sliceCount,
                    "count": info.instanceCount, "sms": info.multiprocessorCount,
                    "copy": info.copyEngineCount, "decode": info.decoderCount, "encode": info.encoderCount,
                    "jpeg": info.jpegCount, "ofa": info.ofaCount, "mib": info.memorySizeMB,
                });
                (code, answer)
            });
            ask!(self, nvmlDeviceGetGpuInstanceProfileInfoV(number), |f| {
                let mut info: nvmlGpuInstanceProfileInfo_v2_t = zeroed();
                info.version = version_word::<nvmlGpuInstanceProfileInfo_v2_t>(2);
                (f(self.gpu, number, &mut info), json!([info.id, info.memorySizeMB, text_of(&info.name)]))
            });
        }
        for id in [0, 5, 9, 14, 15, 19, 20, 21] {
            ask!(self, nvmlDeviceGetGpuInstanceProfileInfoByIdV(id), |f| {
                let mut info: nvmlGpuInstanceProfileInfo_v3_t = zeroed();
                info.version = version_word::<nvmlGpuInstanceProfileInfo_v3_t>(3);
                let code = f(self.gpu, id, (&raw mut info).cast());
                (code, json!([info.id, info.memorySizeMB, text_of(&info.name), info.capabilities]))
            });
            placements!(self, id: nvmlDeviceGetGpuInstancePossiblePlacements
                nvmlDeviceGetGpuInstancePossiblePlacements_v2);
        }
        ask!(self, nvmlDeviceGetGpuInstanceRemainingCapacity(19), |f| {
            let mut count = u32::MAX;
            (f(self.gpu, 19, &mut count), json!(count))
        });
        ask!(self, nvmlDeviceGetGpuInstances(19), |f| {
            let (mut list, mut count) = ([null_mut(); 7], u32::MAX);
            (f(self.gpu, 19, list.as_mut_ptr(), &mut count), json!(count))
        });
        ask!(self, nvmlDeviceGetGpuInstanceById(0), |f| {
            let mut instance = null_mut();
            (f(self.gpu, 0, &mut instance), json!(instance.is_null()))
        });
        ask!(self, nvmlDeviceGetAttributes, |f| {
            let mut attributes: nvmlDeviceAttributes_t = zeroed();
            (f(self.gpu, &mut attributes), json!(attributes.memorySizeMB))
        });
        ask!(self, nvmlDeviceGetAttributes_v2, |f| {
            let mut attributes: nvmlDeviceAttributes_t = zeroed();
            (f(self.gpu, &mut attributes), json!(attributes.memorySizeMB))
        });
    }
}
