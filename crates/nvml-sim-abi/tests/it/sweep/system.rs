//! The system, and finding GPUs.

use super::*;

impl Sweep<'_> {
    pub(super) fn system(&mut self) {
        ask!(self, nvmlSystemGetDriverVersion, |f| {
            let mut text = [0; 96];
            (f(text.as_mut_ptr(), 96), text_of(&text))
        });
        ask!(self, nvmlSystemGetNVMLVersion, |f| {
            let mut text = [0; 96];
            (f(text.as_mut_ptr(), 96), text_of(&text))
        });
        ask!(self, nvmlSystemGetCudaDriverVersion, |f| {
            let mut number = i32::MAX;
            (f(&mut number), json!(number))
        });
        ask!(self, nvmlSystemGetCudaDriverVersion_v2, |f| {
            let mut number = i32::MAX;
            (f(&mut number), json!(number))
        });
        ask!(self, nvmlSystemGetDriverBranch, |f| {
            let mut info: nvmlSystemDriverBranchInfo_t = zeroed();
            info.version = version_word::<nvmlSystemDriverBranchInfo_t>(1);
            (f(&mut info, 80), text_of(&info.branch))
        });
        ask!(self, nvmlSystemGetProcessName, |f| {
            let mut text = [0; 96];
            let code = f(std::process::id(), text.as_mut_ptr(), 96);
            let own = fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
            (code, json!(text_of(&text) == json!(own.trim_end())))
        });
        ask!(self, nvmlSystemGetHicVersion, |f| {
            let mut count = u32::MAX;
            (f(&mut count, null_mut()), json!(count))
        });
        ask!(self, nvmlUnitGetCount, |f| {
            let mut count = u32::MAX;
            (f(&mut count), json!(count))
        });
        ask!(self, nvmlUnitGetHandleByIndex, |f| {
            let mut unit = null_mut();
            (f(0, &mut unit), json!(null))
        });
        ask!(self, nvmlUnitGetUnitInfo, |f| (f(null_mut(), &mut zeroed()), json!(null)));
        ask!(self, nvmlUnitGetLedState, |f| (f(null_mut(), &mut zeroed()), json!(null)));
        ask!(self, nvmlUnitSetLedState, |f| (f(null_mut(), 0), json!(null)));
        ask!(self, nvmlUnitGetPsuInfo, |f| (f(null_mut(), &mut zeroed()), json!(null)));
        ask!(self, nvmlUnitGetTemperature, |f| (f(null_mut(), 0, &mut 0), json!(null)));
        ask!(self, nvmlUnitGetFanSpeedInfo, |f| (f(null_mut(), &mut zeroed()), json!(null)));
        ask!(self, nvmlUnitGetDevices, |f| (f(null_mut(), &mut 0, null_mut()), json!(null)));
        ask!(self, nvmlGetExcludedDeviceCount, |f| {
            let mut count = u32::MAX;
            (f(&mut count), json!(count))
        });
        ask!(self, nvmlGetExcludedDeviceInfoByIndex, |f| (f(0, &mut zeroed()), json!(null)));
        for cpu in [0, 60] {
            ask!(self, nvmlSystemGetTopologyGpuSet(cpu), |f| {
                let (mut count, mut gpus) = (64, [null_mut(); 64]);
                let code = f(cpu, &mut count, gpus.as_mut_ptr());
                (code, gpus.iter().take(count as usize).map(|gpu| index_of(*gpu)).collect())
            });
        }
    }

    pub(super) fn finding(&mut self) {
        ask!(self, nvmlDeviceGetCount, |f| {
            let mut count = u32::MAX;
            (f(&mut count), json!(count))
        });
        ask!(self, nvmlDeviceGetCount_v2, |f| {
            let mut count = u32::MAX;
            (f(&mut count), json!(count))
        });
        for index in [0, 7] {
            ask!(self, nvmlDeviceGetHandleByIndex(index), |f| {
                let mut gpu = null_mut();
                (f(index, &mut gpu), index_of(gpu))
            });
            ask!(self, nvmlDeviceGetHandleByIndex_v2(index), |f| {
                let mut gpu = null_mut();
                (f(index, &mut gpu), index_of(gpu))
            });
        }
        let node = own_folder().node().unwrap();
        let last = node.gpus.last().unwrap();
        let (uuid, serial) =
            (CString::new(last.uuid.clone()).unwrap(), CString::new(last.serial.clone()).unwrap());
        let address = CString::new(last.pci.to_string()).unwrap();
        ask!(self, nvmlDeviceGetHandleByUUID(last.uuid), |f| {
            let mut gpu = null_mut();
            (f(uuid.as_ptr(), &mut gpu), index_of(gpu))
        });
        ask!(self, nvmlDeviceGetHandleBySerial(last.serial), |f| {
            let mut gpu = null_mut();
            (f(serial.as_ptr(), &mut gpu), index_of(gpu))
        });
        ask!(self, nvmlDeviceGetHandleByPciBusId(last.pci), |f| {
            let mut gpu = null_mut();
            (f(address.as_ptr(), &mut gpu), index_of(gpu))
        });
        ask!(self, nvmlDeviceGetHandleByPciBusId_v2(last.pci), |f| {
            let mut gpu = null_mut();
            (f(address.as_ptr(), &mut gpu), index_of(gpu))
        });
        let hex: String = last.uuid.chars().skip(4).filter(|c| *c != '-').collect();
        let mut binary: nvmlUUIDValue_t = zeroed();
        binary.bytes = std::array::from_fn(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap());
        let mut text: nvmlUUIDValue_t = zeroed();
        text.str_ = std::array::from_fn(|at| last.uuid.as_bytes().get(at).copied().unwrap_or(0) as c_char);
        for (kind, value) in [(1, text), (2, binary)] {
            ask!(self, nvmlDeviceGetHandleByUUIDV(kind), |f| {
                let (mut gpu, version) = (null_mut(), version_word::<nvmlUUID_t>(1));
                (f(&nvmlUUID_t { version, type_: kind, value }, &mut gpu), index_of(gpu))
            });
        }
    }
}
