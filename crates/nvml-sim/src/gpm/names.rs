//! Names and units of GPM metrics, as a C program gets them. The words are ours.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::LazyLock;

/// How a metric is called; all live as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct MetricNames {
    /// In short.
    pub short: &'static CStr,
    /// In words.
    pub long: &'static CStr,
    /// What its value is counted in.
    pub unit: &'static CStr,
}

struct Owned {
    short: CString,
    long: CString,
    unit: CString,
}

/// The names of a metric, if NVML has it.
pub fn names_of(id: u32) -> Option<MetricNames> {
    static ALL: LazyLock<BTreeMap<u32, Owned>> =
        LazyLock::new(|| (0..super::METRICS_END).filter_map(|id| Some((id, owned(id)?))).collect());
    let names = ALL.get(&id)?;
    Some(MetricNames { short: &names.short, long: &names.long, unit: &names.unit })
}

fn owned(id: u32) -> Option<Owned> {
    let (short, long, unit) = words(id)?;
    Some(Owned {
        short: CString::new(short).ok()?,
        long: CString::new(long).ok()?,
        unit: CString::new(unit).ok()?,
    })
}

fn words(id: u32) -> Option<(String, String, &'static str)> {
    let plain = |short: &str, long: &str, unit| Some((short.to_owned(), long.to_owned(), unit));
    let of = |short: &str, number: u32, long: &str, unit| {
        Some((format!("{short}{number}"), format!("{long} {number}"), unit))
    };
    let way = |id: u32, first: u32| if (id - first).is_multiple_of(2) { "RX" } else { "TX" };
    let link = |id: u32, first: u32, from: u32, unit| {
        let (way, link) = (way(id, first), (id - first) / 2 + from);
        Some((format!("NVLINK{link} {way}"), format!("traffic of NVLink {link}, {way}"), unit))
    };
    match id {
        1 => plain("GRAPHICS", "graphics and compute engines active", "%"),
        2 => plain("SM", "multiprocessors active", "%"),
        3 => plain("SM OCCUPANCY", "warps resident", "%"),
        4 => plain("INTEGER", "integer pipes active", "%"),
        5 => plain("TENSOR", "tensor cores active", "%"),
        6 => plain("DFMA TENSOR", "tensor cores active, DFMA", "%"),
        7 => plain("HMMA TENSOR", "tensor cores active, HMMA", "%"),
        8 => plain("DMMA TENSOR", "tensor cores active, DMMA", "%"),
        9 => plain("IMMA TENSOR", "tensor cores active, IMMA", "%"),
        10 => plain("DRAM", "memory bandwidth", "%"),
        11 => plain("FP64", "FP64 pipes active", "%"),
        12 => plain("FP32", "FP32 pipes active", "%"),
        13 => plain("FP16", "FP16 pipes active", "%"),
        20 => plain("PCIE TX", "traffic to the machine", "MiB/s"),
        21 => plain("PCIE RX", "traffic from the machine", "MiB/s"),
        30..=37 => of("NVDEC", id - 30, "decoder", "%"),
        40..=47 => of("NVJPG", id - 40, "JPEG decoder", "%"),
        50..=51 => of("NVOFA", id - 50, "optical flow accelerator", "%"),
        60 => plain("NVLINK RX", "traffic of all NVLinks, RX", "MiB/s"),
        61 => plain("NVLINK TX", "traffic of all NVLinks, TX", "MiB/s"),
        62..=97 => link(id, 62, 0, "MiB/s"),
        100..=159 => of("C2C ", id - 100, "C2C metric", "MiB/s"),
        160..=165 => of("CACHE ", id - 160, "cache metric", "%"),
        166..=169 => of("NVENC", id - 166, "encoder", "%"),
        170..=209 => of("CTXSW ", id - 170, "context switch metric", ""),
        212..=247 => link(id, 212, 18, "MiB/s"),
        248 => plain("SM CYCLES", "cycles of a multiprocessor", "cycles"),
        249 => plain("SM ACTIVE", "cycles with work", "cycles"),
        250 => plain("TENSOR CYCLES", "cycles of tensor cores", "cycles"),
        251 => plain("DMMA CYCLES", "cycles of tensor cores, DMMA", "cycles"),
        252 => plain("HMMA CYCLES", "cycles of tensor cores, HMMA", "cycles"),
        253 => plain("IMMA CYCLES", "cycles of tensor cores, IMMA", "cycles"),
        254 => plain("DFMA CYCLES", "cycles of tensor cores, DFMA", "cycles"),
        255 => plain("PCIE TX BYTES", "bytes to the machine", "bytes"),
        256 => plain("PCIE RX BYTES", "bytes from the machine", "bytes"),
        257 => plain("INTEGER CYCLES", "cycles of integer pipes", "cycles"),
        258 => plain("FP64 CYCLES", "cycles of FP64 pipes", "cycles"),
        259 => plain("FP32 CYCLES", "cycles of FP32 pipes", "cycles"),
        260 => plain("FP16 CYCLES", "cycles of FP16 pipes", "cycles"),
        261..=332 => link(id, 261, 0, "bytes"),
        _ => None,
    }
}
