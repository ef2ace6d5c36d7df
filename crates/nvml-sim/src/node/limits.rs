//! Which figures of a GPU model can be: so that no override overflows a unit or NVML's own buffers. It knows keys and
//! ranges, not presets.

use std::ops::RangeInclusive;

use crate::bytes::Bytes;
use crate::mig::Engines;
use crate::model::Model;

/// A key whose value cannot be, and what would be right.
pub struct Impossible {
    /// The key, as it is written.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

type Number = (&'static str, fn(&Model) -> u32, RangeInclusive<u32>);
type Amount = (&'static str, fn(&Model) -> Bytes);
type Text = (&'static str, fn(&Model) -> &str, usize);

const WATTS: RangeInclusive<u32> = 1..=10_000;
const MHZ: RangeInclusive<u32> = 1..=20_000;
const CELSIUS: RangeInclusive<u32> = 0..=200;
const ENGINES: RangeInclusive<u32> = 0..=64;

const NUMBERS: &[Number] = &[
    ("cores", |model| model.cores, 1..=1_000_000),
    ("memory-bus-width", |model| model.memory_bus_width, 1..=65_536),
    ("pci-class", |model| model.pci_class, 0..=0xFF_FF_FF),
    ("pcie-generation", |model| model.pcie_generation, 1..=6),
    ("pcie-width", |model| model.pcie_width, 1..=32),
    ("mig-devices-max", |model| model.mig_devices_max, 0..=16),
    // NVML_NVLINK_MAX_LINKS.
    ("nvlinks", |model| model.nvlinks, 0..=18),
    ("nvlink-version", |model| model.nvlink_version, 0..=7),
    ("power-limit-watts", |model| model.power_limit_watts, WATTS),
    ("power-limit-min-watts", |model| model.power_limit_min_watts, WATTS),
    ("power-idle-watts", |model| model.power_idle_watts, WATTS),
    ("power-limit-max-watts", |model| model.power_limit_max_watts, WATTS),
    ("clock-application-mhz", |model| model.clock_application_mhz, MHZ),
    ("row-remapper-banks", |model| model.row_remapper_banks, 0..=1_000_000),
    ("nvlink-mbps", |model| model.nvlink_mbps, 0..=1_000_000),
    ("fans", |model| model.fans, 0..=16),
    ("encoders", |model| model.encoders, ENGINES),
    ("decoders", |model| model.decoders, ENGINES),
    ("jpeg-decoders", |model| model.jpeg_decoders, ENGINES),
    ("optical-flow-accelerators", |model| model.optical_flow_accelerators, ENGINES),
    ("temperature-memory-max-celsius", |model| model.temperature_memory_max_celsius, CELSIUS),
    ("clock-graphics-mhz", |model| model.clock_graphics_mhz, MHZ),
    ("clock-memory-mhz", |model| model.clock_memory_mhz, MHZ),
    ("clock-video-mhz", |model| model.clock_video_mhz, MHZ),
    ("clock-idle-mhz", |model| model.clock_idle_mhz, MHZ),
    ("temperature-idle-celsius", |model| model.temperature_idle_celsius, CELSIUS),
    ("temperature-slowdown-celsius", |model| model.temperature_slowdown_celsius, CELSIUS),
    ("temperature-shutdown-celsius", |model| model.temperature_shutdown_celsius, CELSIUS),
    ("temperature-max-celsius", |model| model.temperature_max_celsius, CELSIUS),
];

const AMOUNTS: &[Amount] =
    &[("memory", |model| model.memory), ("bar1", |model| if model.bar1.0 == 0 { LEAST } else { model.bar1 })];
const LEAST: Bytes = Bytes(1 << 20);
const MOST: Bytes = Bytes(1 << 44);

/// The most bytes are one less than NVML's buffers have, for the end of the text.
const TEXTS: &[Text] = &[
    ("name", |model| &model.name, 95),
    ("part-number", |model| &model.part_number, 79),
    ("vbios", |model| &model.vbios, 31),
    ("inforom", |model| &model.inforom, 15),
];

/// The first key of a model whose value cannot be.
pub fn check(model: &Model) -> Result<(), Impossible> {
    for (key, value, range) in NUMBERS {
        let value = value(model);
        if !range.contains(&value) {
            let problem =
                format!("`{value}` cannot be; write a number from {} to {}", range.start(), range.end());
            return Err(Impossible { key, problem });
        }
    }
    for (key, value) in AMOUNTS {
        let value = value(model);
        if !(LEAST..=MOST).contains(&value) {
            let problem = format!("`{value}` cannot be; write an amount from {LEAST} to {MOST}");
            return Err(Impossible { key, problem });
        }
    }
    for (key, value, most) in TEXTS {
        text(value(model), *most).map_err(|problem| Impossible { key, problem })?;
    }
    let (lowest, limit) = (model.power_limit_min_watts, model.power_limit_watts);
    if lowest > limit {
        let problem = format!("`{lowest}` is above the limit itself; write at most {limit}");
        return Err(Impossible { key: "power-limit-min-watts", problem });
    }
    let highest = model.power_limit_max_watts;
    if highest < limit {
        let problem = format!("`{highest}` is below the limit itself; write at least {limit}");
        return Err(Impossible { key: "power-limit-max-watts", problem });
    }
    let clocks = &model.clocks_memory_mhz;
    let falls = clocks.iter().zip(clocks.iter().skip(1)).all(|(higher, lower)| higher > lower);
    let within = clocks.iter().all(|clock| MHZ.contains(clock));
    if !falls || !within || clocks.first() != Some(&model.clock_memory_mhz) {
        let highest = model.clock_memory_mhz;
        let problem = format!("`{clocks:?}` cannot be; write falling numbers that begin with {highest}");
        return Err(Impossible { key: "clocks-memory-mhz", problem });
    }
    if model.ecc_default && !model.ecc.is_supported() {
        let problem = "`true`, but `ecc` is unsupported; write false".to_owned();
        return Err(Impossible { key: "ecc-default", problem });
    }
    if model.row_remapping && model.row_remapper_banks == 0 {
        let problem = "`0`, but rows are remapped; write at least 1, or `row-remapping: false`".to_owned();
        return Err(Impossible { key: "row-remapper-banks", problem });
    }
    let all = Engines {
        copy: model.mig.engines.copy,
        decode: model.decoders,
        encode: model.encoders,
        jpeg: model.jpeg_decoders,
        ofa: model.optical_flow_accelerators,
    };
    if model.is_mig_capable() && all.times(Engines::default(), model.mig.engines) == 0 {
        let problem = "`engines`: more than the GPU's own numbers of engines".to_owned();
        return Err(Impossible { key: "mig", problem });
    }
    if model.is_mig_capable() && model.mig.is_empty() {
        let devices = model.mig_devices_max;
        let problem = format!("`{devices}` MIG devices, but `mig` has no profiles; give them, or write 0");
        return Err(Impossible { key: "mig-devices-max", problem });
    }
    if let Some(problem) = model.mig.wrong(model.memory).filter(|_| model.is_mig_capable()) {
        return Err(Impossible { key: "mig", problem });
    }
    let (reserved, memory) = (model.memory_reserved, model.memory);
    if reserved > memory {
        let problem = format!("`{reserved}` is more than the GPU has; write at most {memory}");
        return Err(Impossible { key: "memory-reserved", problem });
    }
    Ok(())
}

/// One line of text that NVML's buffers hold.
pub fn text(text: &str, most: usize) -> Result<(), String> {
    if !text.is_empty() && text.len() <= most && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(format!("`{}` cannot be; write one line of 1 to {most} bytes", text.escape_debug()))
}
