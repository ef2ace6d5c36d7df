//! The figures of a GPU's model as its answers tell them, by the keys of a GPU preset. It knows which getter tells
//! which key; what no getter tells stays as the preset has it.

use std::collections::BTreeMap;

use nvml_sim::Bytes;
use serde_json::{Value, json};

use super::{number, text, value};
use crate::call::code_of;
use crate::walk::{Answers, GpuWalk};

/// Key -> value, in the form in which a model is written.
pub type Facts = BTreeMap<&'static str, Value>;

/// Keys that are one number of one getter.
const NUMBERS: &[(&str, &str)] = &[
    ("cores", "nvmlDeviceGetNumGpuCores"),
    ("memory-bus-width", "nvmlDeviceGetMemoryBusWidth"),
    ("pcie-generation", "nvmlDeviceGetGpuMaxPcieLinkGeneration"),
    ("pcie-width", "nvmlDeviceGetMaxPcieLinkWidth"),
    ("nvlink-version", "nvmlDeviceGetNvLinkVersion(0)"),
    ("clock-graphics-mhz", "nvmlDeviceGetMaxClockInfo(0)"),
    ("clock-memory-mhz", "nvmlDeviceGetMaxClockInfo(2)"),
    ("clock-video-mhz", "nvmlDeviceGetMaxClockInfo(3)"),
    ("clock-application-mhz", "nvmlDeviceGetDefaultApplicationsClock(0)"),
    ("temperature-shutdown-celsius", "nvmlDeviceGetTemperatureThreshold(0)"),
    ("temperature-slowdown-celsius", "nvmlDeviceGetTemperatureThreshold(1)"),
    ("temperature-max-celsius", "nvmlDeviceGetTemperatureThreshold(3)"),
    ("fans", "nvmlDeviceGetNumFans"),
];

/// Keys that are one text.
const TEXTS: &[(&str, &str)] = &[
    ("name", "nvmlDeviceGetName"),
    ("part-number", "nvmlDeviceGetBoardPartNumber"),
    ("vbios", "nvmlDeviceGetVbiosVersion"),
    ("inforom", "nvmlDeviceGetInforomImageVersion"),
];

/// Keys that are amounts of memory.
const AMOUNTS: &[(&str, &str, &str)] = &[
    ("memory", "nvmlDeviceGetMemoryInfo_v2", "total"),
    ("memory-reserved", "nvmlDeviceGetMemoryInfo_v2", "reserved"),
    ("bar1", "nvmlDeviceGetBAR1MemoryInfo", "bar1Total"),
];

/// Keys that are limits in watts.
const WATTS: &[(&str, &str, Option<&str>)] = &[
    ("power-limit-watts", "nvmlDeviceGetPowerManagementDefaultLimit", None),
    ("power-limit-min-watts", "nvmlDeviceGetPowerManagementLimitConstraints", Some("minLimit")),
    ("power-limit-max-watts", "nvmlDeviceGetPowerManagementLimitConstraints", Some("maxLimit")),
];

/// Keys that say whether a GPU has something: a getter that answers, or a number of it that is not 0.
const ABILITIES: &[(&str, &str, Option<&str>)] = &[
    ("gsp", "nvmlDeviceGetGspFirmwareMode", Some("isEnabled")),
    ("gpm", "nvmlGpmQueryDeviceSupport", Some("isSupportedDevice")),
    ("board-numbers", "nvmlDeviceGetSerial", None),
    ("row-remapping", "nvmlDeviceGetRemappedRows", None),
    ("page-retirement", "nvmlDeviceGetRetiredPagesPendingStatus", None),
];

/// Abilities of which the GPU says nothing while MIG is on.
const HIDDEN_BY_MIG: &[&str] = &["row-remapping"];

/// `nvmlBrandType_t` and `NVML_DEVICE_ARCH_*`, as far as presets have names for them.
const BRANDS: &[(u64, &str)] =
    &[(1, "quadro"), (2, "tesla"), (5, "geforce"), (13, "nvidia-rtx"), (14, "nvidia"), (15, "geforce-rtx")];
const ARCHITECTURES: &[(u64, &str)] = &[
    (2, "kepler"),
    (3, "maxwell"),
    (4, "pascal"),
    (5, "volta"),
    (6, "turing"),
    (7, "ampere"),
    (8, "ada"),
    (9, "hopper"),
    (10, "blackwell"),
    (13, "rubin"),
];

/// The PCI address of a GPU, as a node file writes it.
pub fn pci(answers: &Answers) -> Option<String> {
    address(answers.get("nvmlDeviceGetPciInfo_v3")?)
}

/// The PCI address in an `nvmlPciInfo_t`, without a function, which NVML does not tell as a number.
pub fn address(info: &Value) -> Option<String> {
    let part = |name: &str| info.get(name).and_then(Value::as_u64);
    let function = info.get("busId")?.as_str()?.rsplit_once('.').map_or("0", |(_, function)| function);
    let (domain, bus, device) = (part("domain")?, part("bus")?, part("device")?);
    // All bits are set where the driver does not tell.
    if bus > 0xFF || device > 31 {
        return None;
    }
    Some(format!("{domain:04x}:{bus:02x}:{device:02x}.{}", function.to_lowercase()))
}

/// All figures that a GPU tells.
pub fn of(gpu: &GpuWalk) -> Facts {
    let answers = &gpu.answers;
    let mut facts = Facts::new();
    let mut add = |key: &'static str, value: Option<Value>| facts.extend(value.map(|value| (key, value)));
    for (key, call) in NUMBERS {
        add(key, number(answers, call).map(Value::from));
    }
    for (key, call) in TEXTS {
        add(key, text(answers, call).map(Value::from));
    }
    for (key, call, name) in AMOUNTS {
        add(key, value(answers, call, name).map(amount));
    }
    for (key, call, name) in WATTS {
        let milliwatts = match name {
            Some(name) => value(answers, call, name),
            None => number(answers, call),
        };
        add(key, milliwatts.map(|milliwatts| json!(milliwatts / 1000)));
    }
    let has_mig_on = value(answers, "nvmlDeviceGetMigMode", "currentMode") == Some(1);
    for (key, call, name) in ABILITIES.iter().filter(|(key, ..)| !has_mig_on || !HIDDEN_BY_MIG.contains(key))
    {
        add(key, ability(answers, call, *name).map(Value::from));
    }
    let named = |names: &[(u64, &str)], call: &str| {
        let number = number(answers, call)?;
        names.iter().find(|(known, _)| *known == number).map(|(_, name)| json!(name))
    };
    add("brand", named(BRANDS, "nvmlDeviceGetBrand"));
    add("architecture", named(ARCHITECTURES, "nvmlDeviceGetArchitecture"));
    add("compute-capability", capability(answers));
    // Only where the CPU reaches a GPU's memory is it a NUMA node.
    add("c2c", number(answers, "nvmlDeviceGetNumaNodeId").map(|_| json!(true)));
    add("ecc", ecc(answers));
    add("ecc-default", number(answers, "nvmlDeviceGetDefaultEccMode").map(|on| json!(on == 1)));
    let ids = |name: &str| value(answers, "nvmlDeviceGetPciInfo_v3", name).map(|id| json!(id >> 16));
    add("pci-device", ids("pciDeviceId"));
    add("pci-subsystem", ids("pciSubSystemId"));
    add("nvlinks", nvlinks(answers).map(Value::from));
    add(
        "clocks-memory-mhz",
        answers.get("nvmlDeviceGetSupportedMemoryClocks").filter(|list| list.is_array()).cloned(),
    );
    add("row-remapper-banks", banks(answers).map(Value::from));
    facts
}

/// An amount of memory as a model has it.
pub fn amount(bytes: u64) -> Value {
    json!(Bytes(bytes).to_string())
}

/// Whether the GPU says that it has something. A call that was not asked, or fails for another reason, says nothing.
fn ability(answers: &Answers, call: &str, name: Option<&str>) -> Option<bool> {
    let answer = answers.get(call)?;
    match (code_of(answer), name) {
        (Some("NOT_SUPPORTED"), _) => Some(false),
        (Some(_), _) => None,
        (None, None) => Some(true),
        (None, Some(name)) => answer.get(name).and_then(Value::as_u64).map(|number| number != 0),
    }
}

fn capability(answers: &Answers) -> Option<Value> {
    let part = |name| value(answers, "nvmlDeviceGetCudaComputeCapability", name);
    Some(json!(format!("{}.{}", part("major")?, part("minor")?)))
}

fn ecc(answers: &Answers) -> Option<Value> {
    let answer = answers.get("nvmlDeviceGetEccMode")?;
    match code_of(answer) {
        Some("NOT_SUPPORTED") => Some(json!("unsupported")),
        Some(_) => None,
        None => answer.get("current").and_then(Value::as_u64).map(|on| json!(on == 1)),
    }
}

/// The links that answer: those that a GPU does not have are refused.
fn nvlinks(answers: &Answers) -> Option<u64> {
    let call = "nvmlDeviceGetNvLinkState";
    match answers.get(call).and_then(code_of) {
        Some("NOT_SUPPORTED") => Some(0),
        Some(_) => None,
        None => {
            let states = answers.iter().filter(|(key, answer)| key.starts_with(call) && answer.is_u64());
            Some(states.count() as u64).filter(|count| *count > 0)
        }
    }
}

/// All banks of the row remapper's histogram.
fn banks(answers: &Answers) -> Option<u64> {
    let histogram = answers.get("nvmlDeviceGetRowRemapperHistogram")?.as_object()?;
    histogram.values().map(Value::as_u64).sum::<Option<u64>>()
}
