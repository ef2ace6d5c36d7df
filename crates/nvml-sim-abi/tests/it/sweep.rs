//! Every getter once on each node preset, compared with a golden: a document of what a client reads there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::{env, fs};

use nvml_sim::{Clock, Code, presets};
use nvml_sim_abi::IMPLEMENTED;
use nvml_wrapper_sys::bindings::*;
use serde_json::{Value, json};

use crate::sim::{child, is_child, node, nvml, own_folder, passed};

/// What begins, ends, changes or waits: tested elsewhere.
const NOT_GETTERS: &[&str] = &[
    "nvmlComputeInstanceDestroy",
    "nvmlComputeInstanceGetInfo",
    "nvmlComputeInstanceGetInfo_v2",
    "nvmlDeviceCreateGpuInstance",
    "nvmlDeviceCreateGpuInstanceWithPlacement",
    "nvmlDeviceRegisterEvents",
    "nvmlDeviceSetMigMode",
    "nvmlDeviceSetPersistenceMode",
    "nvmlErrorString",
    "nvmlEventSetCreate",
    "nvmlEventSetFree",
    "nvmlEventSetWait",
    "nvmlEventSetWait_v2",
    "nvmlGpuInstanceCreateComputeInstance",
    "nvmlGpuInstanceCreateComputeInstanceWithPlacement",
    "nvmlGpuInstanceDestroy",
    "nvmlGpuInstanceGetComputeInstanceById",
    "nvmlGpuInstanceGetComputeInstancePossiblePlacements",
    "nvmlGpuInstanceGetComputeInstanceProfileInfo",
    "nvmlGpuInstanceGetComputeInstanceProfileInfoV",
    "nvmlGpuInstanceGetComputeInstanceRemainingCapacity",
    "nvmlGpuInstanceGetComputeInstances",
    "nvmlGpuInstanceGetInfo",
    "nvmlInit",
    "nvmlInitWithFlags",
    "nvmlInit_v2",
    "nvmlShutdown",
];

/// Says to a child which preset it sees.
const PRESET: &str = "NVML_SIM_TEST_PRESET";
/// 2026-01-01, by the node's clock.
const NOW_US: u64 = 1_767_225_600_000_000;
/// One more than the highest field number of NVML 13.
const FIELDS_END: u32 = 280;

#[test]
fn every_getter_answers_on_each_preset_as_its_golden_says() {
    const NAME: &str = "sweep::every_getter_answers_on_each_preset_as_its_golden_says";
    if is_child() {
        return compare(&env::var(PRESET).unwrap());
    }
    for preset in presets::NODES {
        let (_dir, folder) = node(preset.name);
        passed(&child(NAME, folder.dir()).env(PRESET, preset.name).output().unwrap());
    }
}

fn compare(preset: &str) {
    own_folder().update(|state| state.clock = Clock::Frozen(NOW_US)).unwrap();
    let nvml = nvml();
    let gpu = |index| {
        // SAFETY: the handle lives as long as the library.
        unsafe { nvml.device_by_index(index).unwrap().handle() }
    };
    let last = nvml.device_count().unwrap() - 1;
    let mut sweep = Sweep { lib: nvml.lib(), gpu: gpu(0), last: gpu(last), answers: BTreeMap::new() };
    sweep.system();
    sweep.finding();
    sweep.identity();
    sweep.placement();
    sweep.modes();
    sweep.mig();
    sweep.power_and_clocks();
    sweep.errors();
    sweep.nvlinks();
    sweep.fields();

    let asked: BTreeSet<&str> =
        sweep.answers.keys().map(|key| key.split('(').next().unwrap_or_default()).collect();
    let all: BTreeSet<&str> = IMPLEMENTED.iter().flat_map(|names| names.iter().copied()).collect();
    let missing: Vec<_> =
        all.iter().filter(|name| !asked.contains(**name) && !NOT_GETTERS.contains(name)).collect();
    assert!(missing.is_empty(), "never asked: {missing:?}");

    let text = serde_json::to_string_pretty(&sweep.answers).unwrap() + "\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{preset}.json"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let wrong = text.lines().zip(expected.lines()).find(|(answer, golden)| answer != golden);
    assert_eq!(wrong, None, "UPDATE_GOLDEN=1 rewrites {}", path.display());
    assert_eq!(text, expected);
}

struct Sweep<'a> {
    lib: &'a NvmlLib,
    /// GPU 0.
    gpu: nvmlDevice_t,
    /// The last one.
    last: nvmlDevice_t,
    /// Function and arguments -> what it answered.
    answers: BTreeMap<String, Value>,
}

/// Asks one function: `body` calls it and gives its code and answer.
macro_rules! ask {
    ($sweep:ident, $name:ident $(($($argument:expr),+))?, |$function:ident| $body:expr) => {{
        let $function = *$sweep.lib.$name.as_ref().unwrap();
        // SAFETY: each pointer is valid for what the function reads and writes there.
        let (code, answer) = unsafe { $body };
        let arguments: &[String] = &[$($($argument.to_string()),+)?];
        $sweep.tell(stringify!($name), arguments, code, answer);
    }};
}

/// Functions of a GPU that give one number.
macro_rules! numbers {
    ($sweep:ident, $type:ty: $($name:ident)*) => {$(
        ask!($sweep, $name, |f| {
            let mut number = <$type>::MAX;
            (f($sweep.gpu, &mut number), json!(number))
        });
    )*};
}

/// Functions that give the placements of a MIG profile.
macro_rules! placements {
    ($sweep:ident, $id:ident: $($name:ident)*) => {$(
        ask!($sweep, $name($id), |f| {
            let (mut list, mut count): ([nvmlGpuInstancePlacement_t; 8], u32) = (zeroed(), 0);
            let code = f($sweep.gpu, $id, list.as_mut_ptr(), &mut count);
            let list: Vec<_> = list.iter().take(count as usize).map(|at| [at.start, at.size]).collect();
            (code, json!(list))
        });
    )*};
}

/// Functions of a GPU that give two numbers.
macro_rules! pairs {
    ($sweep:ident, $type:ty: $($name:ident)*) => {$(
        ask!($sweep, $name, |f| {
            let (mut one, mut two) = (<$type>::MAX, <$type>::MAX);
            (f($sweep.gpu, &mut one, &mut two), json!([one, two]))
        });
    )*};
}

/// Functions of a GPU and a choice that give one number.
macro_rules! choices {
    ($sweep:ident, $type:ty, $choices:expr, $($name:ident)*) => {$(
        for choice in $choices {
            ask!($sweep, $name(choice), |f| {
                let mut number = <$type>::MAX;
                (f($sweep.gpu, choice, &mut number), json!(number))
            });
        }
    )*};
}

/// Functions of a GPU that give text.
macro_rules! texts {
    ($sweep:ident: $($name:ident)*) => {$(
        ask!($sweep, $name, |f| {
            let mut text = [0; 96];
            (f($sweep.gpu, text.as_mut_ptr(), 96), text_of(&text))
        });
    )*};
}

/// Lists of processes.
macro_rules! processes {
    ($sweep:ident: $($name:ident)*) => {$(
        ask!($sweep, $name, |f| {
            let mut count = 0;
            (f($sweep.gpu, &mut count, null_mut()), json!(count))
        });
    )*};
}

fn text_of(text: &[c_char]) -> Value {
    // SAFETY: an array with an end, since it was all zeros.
    json!(unsafe { CStr::from_ptr(text.as_ptr()) }.to_str().unwrap())
}

/// A GPU by index: its handle's lower half.
fn index_of(gpu: nvmlDevice_t) -> Value {
    json!(gpu.addr() & 0xFFFF_FFFF)
}

/// Ids of structs that this sweep hands over empty.
fn zeroed<T>() -> T {
    // SAFETY: C structs of numbers, arrays and unions of them.
    unsafe { std::mem::zeroed() }
}

fn version_word<T>(version: u32) -> u32 {
    size_of::<T>() as u32 | version << 24
}

fn pci(info: &nvmlPciInfo_t) -> Value {
    json!({
        "busIdLegacy": text_of(&info.busIdLegacy), "domain": info.domain, "bus": info.bus,
        "device": info.device, "pciDeviceId": info.pciDeviceId, "pciSubSystemId": info.pciSubSystemId,
        "busId": text_of(&info.busId),
    })
}

impl Sweep<'_> {
    fn tell(&mut self, name: &str, arguments: &[String], code: u32, answer: Value) {
        let key = match arguments {
            [] => name.to_owned(),
            some => format!("{name}({})", some.join(", ")),
        };
        let answer = if code == 0 { answer } else { json!({ "code": Code(code).to_string() }) };
        assert!(self.answers.insert(key, answer).is_none(), "{name} twice");
    }

    fn system(&mut self) {
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
        for cpu in [0, 60] {
            ask!(self, nvmlSystemGetTopologyGpuSet(cpu), |f| {
                let (mut count, mut gpus) = (64, [null_mut(); 64]);
                let code = f(cpu, &mut count, gpus.as_mut_ptr());
                (code, gpus.iter().take(count as usize).map(|gpu| index_of(*gpu)).collect())
            });
        }
    }

    fn finding(&mut self) {
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

    fn identity(&mut self) {
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

    fn placement(&mut self) {
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

    fn modes(&mut self) {
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
        processes!(self: nvmlDeviceGetComputeRunningProcesses nvmlDeviceGetComputeRunningProcesses_v2
            nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetGraphicsRunningProcesses
            nvmlDeviceGetGraphicsRunningProcesses_v2 nvmlDeviceGetGraphicsRunningProcesses_v3
            nvmlDeviceGetMPSComputeRunningProcesses nvmlDeviceGetMPSComputeRunningProcesses_v2
            nvmlDeviceGetMPSComputeRunningProcesses_v3);
    }

    /// MIG is off.
    fn mig(&mut self) {
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

    fn power_and_clocks(&mut self) {
        numbers!(self, u32: nvmlDeviceGetPowerUsage nvmlDeviceGetPowerManagementMode
            nvmlDeviceGetPowerManagementLimit nvmlDeviceGetPowerManagementDefaultLimit
            nvmlDeviceGetEnforcedPowerLimit nvmlDeviceGetPowerState nvmlDeviceGetPerformanceState
            nvmlDeviceGetCurrPcieLinkGeneration nvmlDeviceGetMaxPcieLinkGeneration
            nvmlDeviceGetGpuMaxPcieLinkGeneration nvmlDeviceGetCurrPcieLinkWidth
            nvmlDeviceGetMaxPcieLinkWidth nvmlDeviceGetPcieLinkMaxSpeed nvmlDeviceGetPcieSpeed
            nvmlDeviceGetPcieReplayCounter nvmlDeviceGetNumFans);
        numbers!(self, u64: nvmlDeviceGetTotalEnergyConsumption nvmlDeviceGetCurrentClocksThrottleReasons
            nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetSupportedClocksThrottleReasons
            nvmlDeviceGetSupportedClocksEventReasons);
        pairs!(self, u32: nvmlDeviceGetPowerManagementLimitConstraints nvmlDeviceGetEncoderUtilization
            nvmlDeviceGetDecoderUtilization);
        choices!(self, u32, 0..5, nvmlDeviceGetClockInfo nvmlDeviceGetMaxClockInfo
            nvmlDeviceGetMaxCustomerBoostClock nvmlDeviceGetApplicationsClock
            nvmlDeviceGetDefaultApplicationsClock);
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
    }

    fn errors(&mut self) {
        numbers!(self, u32: nvmlDeviceGetDefaultEccMode nvmlDeviceGetRetiredPagesPendingStatus);
        ask!(self, nvmlDeviceGetTotalEccErrors(0, 1), |f| {
            let mut count = u64::MAX;
            (f(self.gpu, 0, 1, &mut count), json!(count))
        });
        ask!(self, nvmlDeviceGetMemoryErrorCounter(1, 1, 7), |f| {
            let mut count = u64::MAX;
            (f(self.gpu, 1, 1, 7, &mut count), json!(count))
        });
        ask!(self, nvmlDeviceGetRetiredPages(0), |f| {
            let mut count = u32::MAX;
            (f(self.gpu, 0, &mut count, null_mut()), json!(count))
        });
        ask!(self, nvmlDeviceGetRetiredPages_v2(0), |f| {
            let mut count = u32::MAX;
            (f(self.gpu, 0, &mut count, null_mut(), null_mut()), json!(count))
        });
        ask!(self, nvmlDeviceGetRemappedRows, |f| {
            let [mut a, mut b, mut c, mut d] = [u32::MAX; 4];
            (f(self.gpu, &mut a, &mut b, &mut c, &mut d), json!([a, b, c, d]))
        });
    }

    fn nvlinks(&mut self) {
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

    /// Every field that has a value.
    fn fields(&mut self) {
        let mut values: Vec<nvmlFieldValue_t> = (1..FIELDS_END)
            .map(|field| {
                let mut value: nvmlFieldValue_t = zeroed();
                value.fieldId = field;
                value
            })
            .collect();
        ask!(self, nvmlDeviceGetFieldValues, |f| {
            let code = f(self.gpu, values.len() as i32, values.as_mut_ptr());
            let known = values.iter().filter(|value| value.nvmlReturn == 0);
            let answer = known.map(|value| {
                assert_eq!(value.timestamp, NOW_US as i64);
                (format!("{:03}", value.fieldId), json!([value.valueType, value.value.ullVal]))
            });
            (code, answer.collect())
        });
    }
}
