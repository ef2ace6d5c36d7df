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

/// What begins, ends, changes or waits, or answers root alone: tested elsewhere.
const NOT_GETTERS: &[&str] = &[
    "nvmlComputeInstanceDestroy",
    "nvmlComputeInstanceGetInfo",
    "nvmlComputeInstanceGetInfo_v2",
    "nvmlDeviceClearCpuAffinity",
    "nvmlDeviceClearEccErrorCounts",
    "nvmlDeviceClearAccountingPids",
    "nvmlDeviceClearFieldValues",
    "nvmlDeviceCreateGpuInstance",
    "nvmlDeviceCreateGpuInstanceWithPlacement",
    "nvmlDeviceDiscoverGpus",
    "nvmlDeviceModifyDrainState",
    "nvmlDeviceRemoveGpu",
    "nvmlDeviceRemoveGpu_v2",
    // Root alone may ask these two.
    "nvmlDeviceGetClkMonStatus",
    "nvmlDeviceGetSramEccErrorStatus",
    "nvmlDeviceRegisterEvents",
    "nvmlDeviceResetNvLinkErrorCounters",
    "nvmlDeviceSetAPIRestriction",
    "nvmlDeviceSetCpuAffinity",
    "nvmlDeviceSetEccMode",
    "nvmlDeviceSetAccountingMode",
    "nvmlDeviceSetComputeMode",
    "nvmlDeviceSetHostname_v1",
    "nvmlDeviceSetMigMode",
    "nvmlDeviceSetNvLinkDeviceLowPowerThreshold",
    "nvmlDeviceSetNvlinkBwMode",
    "nvmlDeviceSetPersistenceMode",
    "nvmlDeviceWorkloadPowerProfileClearRequestedProfiles",
    "nvmlDeviceWorkloadPowerProfileSetRequestedProfiles",
    "nvmlDeviceWorkloadPowerProfileUpdateProfiles_v1",
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
    "nvmlSystemEventSetCreate",
    "nvmlSystemEventSetFree",
    "nvmlSystemEventSetWait",
    "nvmlSystemGetNvlinkBwMode",
    "nvmlSystemRegisterEvents",
    "nvmlSystemSetNvlinkBwMode",
];

/// The nodes whose answers goldens hold: those that show something of their own.
const GOLDEN: &[&str] =
    &["dgx-v100", "dgx-a100", "dgx-h100", "gb200-nvl72", "rtx-pro-6000", "rtx-4090", "t4"];

/// The beginnings of functions that change something.
const CHANGING: &[&str] = &["nvmlDeviceSet", "nvmlDeviceReset", "nvmlGpmS", "nvmlGpmM"];

/// Says to a child which preset it sees.
const PRESET: &str = "NVML_SIM_TEST_PRESET";
/// 2026-01-01, by the node's clock.
const NOW_US: u64 = 1_767_225_600_000_000;

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
    sweep.board();
    sweep.placement();
    sweep.modes();
    sweep.desktop();
    sweep.performance();
    sweep.power_profiles();
    sweep.confidential();
    sweep.processes();
    sweep.mig();
    sweep.telemetry();
    sweep.errors();
    sweep.nvlinks();
    sweep.nvlink_modes();
    sweep.fabric();
    sweep.fields();

    let asked: BTreeSet<&str> =
        sweep.answers.keys().map(|key| key.split('(').next().unwrap_or_default()).collect();
    let all: BTreeSet<&str> = IMPLEMENTED.iter().flat_map(|names| names.iter().copied()).collect();
    let missing = all.iter().filter(|name| !asked.contains(**name) && !NOT_GETTERS.contains(name));
    let changes = |name: &str| CHANGING.iter().any(|beginning| name.starts_with(beginning));
    let missing: Vec<_> = missing.filter(|name| !changes(name)).collect();
    assert!(missing.is_empty(), "never asked: {missing:?}");

    sweep.is_lawful(preset);
    if !GOLDEN.contains(&preset) {
        return;
    }
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

/// The same for a function that `NvmlLib` does not know, of a type that is given.
macro_rules! ask_later {
    ($sweep:ident, $name:ident: $type:ty, |$function:ident| $body:expr) => {{
        let symbol = concat!(stringify!($name), "\0");
        // SAFETY: the function has this type, and each pointer is valid for what it reads and writes there.
        let (code, answer) = unsafe {
            let $function = *$sweep.lib.__library.get::<$type>(symbol.as_bytes()).unwrap();
            $body
        };
        $sweep.tell(stringify!($name), &[], code, answer);
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

mod confidential;
mod desktop;
mod errors;
mod fields;
mod identity;
mod mig;
mod modes;
mod nvlinks;
mod processes;
mod system;
mod telemetry;

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
    /// What holds of every GPU that answers. A getter either does, or says that the GPU lacks what is asked for.
    fn is_lawful(&self, preset: &str) {
        for (asked, answer) in &self.answers {
            let code = answer.get("code").and_then(Value::as_str);
            let is_lawful = code.is_none_or(|code| {
                let lawful = ["NOT_SUPPORTED", "INVALID_ARGUMENT", "NOT_FOUND"];
                // The black box of a simulated GPU is never flushed.
                lawful.iter().any(|lawful| code.contains(lawful)) || asked == "nvmlDeviceGetLastBBXFlushTime"
            });
            assert!(is_lawful, "{preset}: {asked} gives {answer}");
        }
        let number = |asked: &str, part: &str| self.answers[asked][part].as_u64().unwrap();
        let memory = |part| number("nvmlDeviceGetMemoryInfo_v2", part);
        assert_eq!(memory("total"), memory("free") + memory("used") + memory("reserved"), "{preset}");
        let of = |asked: &str| self.answers[asked].as_u64();
        let limits = &self.answers["nvmlDeviceGetPowerManagementLimitConstraints"];
        let limit = of("nvmlDeviceGetPowerManagementLimit").unwrap();
        assert!(limits[0].as_u64().unwrap() <= limit && limit <= limits[1].as_u64().unwrap(), "{preset}");
        assert!(of("nvmlDeviceGetClockInfo(0)") <= of("nvmlDeviceGetMaxClockInfo(0)"), "{preset}");
        let has_links = of("nvmlDeviceGetNvLinkState(0)").is_some();
        assert_eq!(has_links, of("nvmlDeviceGetNvLinkVersion(0)").is_some(), "{preset}");
        // Either pages are retired, or rows remapped, or the GPU has no such memory.
        let retires = of("nvmlDeviceGetRetiredPagesPendingStatus").is_some();
        assert!(!(retires && self.answers["nvmlDeviceGetRemappedRows"].is_array()), "{preset}");
    }

    fn tell(&mut self, name: &str, arguments: &[String], code: u32, answer: Value) {
        let key = match arguments {
            [] => name.to_owned(),
            some => format!("{name}({})", some.join(", ")),
        };
        let answer = if code == 0 { answer } else { json!({ "code": Code(code).to_string() }) };
        assert!(self.answers.insert(key, answer).is_none(), "{name} twice");
    }
}
