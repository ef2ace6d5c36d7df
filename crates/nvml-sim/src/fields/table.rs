//! Every field of NVML 13.4 by its number in that header, what it is, and how it is read; or why no simulated GPU has it.
//! The documentation of each is the comment beside its number in NVIDIA's header.

use std::ops::RangeInclusive;

use super::FieldValue;
use super::ask::Ask;
use crate::code::Code;
use crate::damage::{Cause, Counter, CounterSpan, Damage, ErrorKind, LinkError};
use crate::model::Architecture::{Blackwell, Hopper};
use crate::switches::NVLINK_SLEEP;
use crate::telemetry::Direction;
use crate::throttle::Reason;

/// One field, or some with consecutive numbers that are read alike.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    first: u32,
    last: u32,
    what: &'static str,
    read: Read,
}

/// How a field is read, by the type of its value.
#[derive(Clone, Copy, Debug)]
enum Read {
    Int(fn(Ask<'_>) -> Result<u32, Code>),
    Long(fn(Ask<'_>) -> Result<u64, Code>),
    Signed(fn(Ask<'_>) -> Result<i32, Code>),
    /// No simulated GPU has it: `NOT_SUPPORTED`.
    Never,
}

impl Field {
    /// Its numbers in today's header.
    pub fn numbers(&self) -> RangeInclusive<u32> {
        self.first..=self.last
    }

    /// What it is, or why no simulated GPU has it.
    pub fn what(&self) -> &'static str {
        self.what
    }

    pub(super) fn read(&self, ask: Ask<'_>) -> Result<FieldValue, Code> {
        match self.read {
            Read::Int(read) => read(ask).map(FieldValue::UnsignedInt),
            Read::Long(read) => read(ask).map(FieldValue::UnsignedLongLong),
            Read::Signed(read) => read(ask).map(FieldValue::SignedInt),
            Read::Never => Err(Code::NOT_SUPPORTED),
        }
    }
}

const fn int(first: u32, last: u32, what: &'static str, read: fn(Ask<'_>) -> Result<u32, Code>) -> Field {
    Field { first, last, what, read: Read::Int(read) }
}

const fn long(first: u32, last: u32, what: &'static str, read: fn(Ask<'_>) -> Result<u64, Code>) -> Field {
    Field { first, last, what, read: Read::Long(read) }
}

const fn signed(first: u32, last: u32, what: &'static str, read: fn(Ask<'_>) -> Result<i32, Code>) -> Field {
    Field { first, last, what, read: Read::Signed(read) }
}

const fn never(first: u32, last: u32, why: &'static str) -> Field {
    Field { first, last, what: why, read: Read::Never }
}

/// Atomic operations that a GPU takes over PCIe, as `nvidia-smi -q` shows them of an H100: fetch-and-add, swap and
/// compare-and-swap of 32 and 64 bits.
const ATOMICS_IN: u32 = 0x3F;
/// Links of NVLink-C2C, and MB/s of one, as `nvidia-smi c2c -s` shows them of a GH200.
const C2C_LINKS: u32 = 10;
const C2C_MBPS: u32 = 44_712;
/// Bytes in a packet of NVLink 5 (assumed).
const PACKET: u64 = 256;
/// `NVML_NVLINK_LOW_POWER_THRESHOLD_UNIT_100US`.
const UNIT_100US: u32 = 0;

/// The table.
pub const FIELDS: &[Field] = &[
    int(1, 1, "whether ECC is on", |ask| ask.view.ecc_mode().map(|mode| mode.current.into())),
    int(2, 2, "whether ECC will be on", |ask| ask.view.ecc_mode().map(|mode| mode.pending.into())),
    long(3, 3, "corrected errors", |ask| {
        ask.view.ecc_errors(ErrorKind::Corrected, CounterSpan::Volatile, None)
    }),
    long(4, 4, "uncorrected errors", |ask| {
        ask.view.ecc_errors(ErrorKind::Uncorrected, CounterSpan::Volatile, None)
    }),
    long(5, 5, "corrected errors ever", |ask| {
        ask.view.ecc_errors(ErrorKind::Corrected, CounterSpan::Aggregate, None)
    }),
    long(6, 6, "uncorrected errors ever", |ask| {
        ask.view.ecc_errors(ErrorKind::Uncorrected, CounterSpan::Aggregate, None)
    }),
    long(7, 17, "errors by location: L1, L2, device memory, registers, texture, CBU", |ask| {
        ecc(ask, CounterSpan::Volatile)
    }),
    long(18, 28, "errors ever by the same locations", |ask| ecc(ask, CounterSpan::Aggregate)),
    long(29, 29, "pages retired after corrected errors", |ask| pages(ask, Cause::Correctable)),
    long(30, 30, "pages retired after uncorrected errors", |ask| pages(ask, Cause::Uncorrectable)),
    long(31, 31, "whether pages wait to be retired", |ask| ask.view.has_pages_pending().map(u64::from)),
    long(32, 37, "CRC errors of flits on NVLinks 0 to 5", |ask| ask.numbered_errors(0, LinkError::CrcFlit)),
    long(38, 38, "CRC errors of flits on all NVLinks", |ask| ask.all_errors(LinkError::CrcFlit)),
    long(39, 44, "CRC errors of data on NVLinks 0 to 5", |ask| ask.numbered_errors(0, LinkError::CrcData)),
    long(45, 45, "CRC errors of data on all NVLinks", |ask| ask.all_errors(LinkError::CrcData)),
    long(46, 51, "replays on NVLinks 0 to 5", |ask| ask.numbered_errors(0, LinkError::Replay)),
    long(52, 52, "replays on all NVLinks", |ask| ask.all_errors(LinkError::Replay)),
    long(53, 58, "recoveries of NVLinks 0 to 5", |ask| ask.numbered_errors(0, LinkError::Recovery)),
    long(59, 59, "recoveries of all NVLinks", |ask| ask.all_errors(LinkError::Recovery)),
    never(60, 73, "counter sets of NVLinks 0 to 5: deprecated, fields 138 to 141 instead"),
    long(74, 79, "time below the clocks by policy, in ns", |ask| {
        ask.view.violation(ask.at).map(|(ns, _)| ns)
    }),
    long(80, 81, "time below application and base clocks, in ns", |ask| {
        ask.view.violation(10 + ask.at).map(|(ns, _)| ns)
    }),
    int(82, 82, "degrees Celsius of memory", |ask| ask.view.memory_temperature()),
    long(83, 83, "energy in mJ", |ask| Ok(ask.view.energy_millijoules())),
    int(84, 89, "MB/s of NVLinks 0 to 5", |ask| ask.speed(ask.numbered(0)?)),
    int(90, 90, "MB/s of active NVLinks", |ask| Ok(ask.nvlinks()?.model().nvlink_mbps)),
    int(91, 91, "NVLinks", |ask| {
        u32::try_from(ask.nvlinks()?.view.gpu.links.len()).map_err(|_| Code::NOT_SUPPORTED)
    }),
    int(92, 92, "whether pages wait after corrected errors", |ask| pages_pending(ask, Cause::Correctable)),
    int(93, 93, "whether pages wait after uncorrected errors", |ask| {
        pages_pending(ask, Cause::Uncorrectable)
    }),
    int(94, 94, "PCIe replays", |ask| Ok(ask.view.pcie_replays())),
    int(95, 95, "PCIe replay roll-overs, of which a simulated link has none", |_| Ok(0)),
    long(96, 101, "CRC errors of flits on NVLinks 6 to 11", |ask| ask.numbered_errors(6, LinkError::CrcFlit)),
    long(102, 107, "CRC errors of data on NVLinks 6 to 11", |ask| ask.numbered_errors(6, LinkError::CrcData)),
    long(108, 113, "replays on NVLinks 6 to 11", |ask| ask.numbered_errors(6, LinkError::Replay)),
    long(114, 119, "recoveries of NVLinks 6 to 11", |ask| ask.numbered_errors(6, LinkError::Recovery)),
    never(120, 131, "counter sets of NVLinks 6 to 11: deprecated, fields 138 to 141 instead"),
    int(132, 137, "MB/s of NVLinks 6 to 11", |ask| ask.speed(ask.numbered(6)?)),
    long(138, 138, "KiB of data out of an NVLink or all", |ask| ask.kibibytes(Direction::Tx)),
    long(139, 139, "KiB of data into an NVLink or all", |ask| ask.kibibytes(Direction::Rx)),
    long(140, 140, "KiB out with what the protocol adds", |ask| ask.raw_kibibytes(Direction::Tx)),
    long(141, 141, "KiB in with what the protocol adds", |ask| ask.raw_kibibytes(Direction::Rx)),
    int(142, 142, "rows remapped after correctable errors", |ask| Ok(ask.view.remapped_rows()?.correctable)),
    int(143, 143, "rows remapped after uncorrectable errors", |ask| {
        Ok(ask.view.remapped_rows()?.uncorrectable)
    }),
    int(144, 144, "whether rows wait to be remapped", |ask| {
        Ok(ask.view.remapped_rows()?.is_pending().into())
    }),
    int(145, 145, "whether remapping failed", |ask| Ok(ask.view.remapped_rows()?.failed.into())),
    int(146, 146, "the number of an NVLink at its other end", |ask| ask.nvlinks()?.remote_link()),
    int(147, 147, "NVLinks that end at NVSwitches", |ask| Ok(ask.nvlinks()?.view.switch_links())),
    long(148, 159, "ECC errors of data on NVLinks 0 to 11", |ask| ask.numbered_errors(0, LinkError::EccData)),
    long(160, 160, "ECC errors of data on all NVLinks", |ask| ask.all_errors(LinkError::EccData)),
    long(161, 161, "replays on an NVLink, before Blackwell", |ask| ask.link_errors(LinkError::Replay)),
    long(162, 162, "recoveries of an NVLink, before Blackwell", |ask| ask.link_errors(LinkError::Recovery)),
    long(163, 163, "CRC errors of an NVLink, before Blackwell", |ask| ask.link_errors(LinkError::CrcFlit)),
    int(164, 164, "MB/s of an NVLink", |ask| ask.speed(ask.nvlinks()?.scope)),
    int(165, 165, "whether an NVLink is active", |ask| Ok(ask.nvlinks()?.is_active()?.into())),
    int(166, 166, "version of an NVLink", |ask| ask.link().map(|_| ask.model().nvlink_version)),
    int(167, 167, "whether NVLinks are slow to save power: while nothing runs (assumed)", |ask| {
        ask.view.nvlink_sleep()?;
        Ok(ask.view.is_idle().into())
    }),
    int(168, 168, "idle time after which NVLinks sleep", |ask| ask.view.nvlink_sleep()),
    never(169, 169, "recoveries of the PCIe link: not counted"),
    int(170, 170, "links to the CPU", |ask| ask.c2c().map(|_| C2C_LINKS)),
    int(171, 171, "whether a link to the CPU is active", |ask| ask.c2c().map(|_| 1)),
    int(172, 172, "MB/s of a link to the CPU", |ask| ask.c2c().map(|_| C2C_MBPS)),
    long(173, 183, "errors of the PCIe link, of which a simulated one has none", |ask| {
        ask.since(Hopper).map(|_| 0)
    }),
    int(184, 184, "whether MIG is switched without a reset", |ask| {
        Ok((ask.since(Hopper).is_ok() && ask.model().is_mig_capable()).into())
    }),
    int(185, 185, "milliwatts on average of a second", |ask| {
        Ok(ask.of_the_gpu()?.averages_power()?.view.power_average_milliwatts())
    }),
    int(186, 186, "milliwatts now", |ask| Ok(ask.of_the_gpu()?.view.power_milliwatts())),
    int(187, 187, "lowest power limit in mW", |ask| {
        Ok(ask.of_the_gpu()?.model().power_limit_min_watts * 1000)
    }),
    int(188, 188, "highest power limit in mW", |ask| {
        Ok(ask.of_the_gpu()?.model().power_limit_max_watts * 1000)
    }),
    int(189, 189, "default power limit in mW", |ask| Ok(ask.of_the_gpu()?.model().power_limit_watts * 1000)),
    int(190, 190, "enforced power limit in mW", |ask| Ok(ask.of_the_gpu()?.view.power_limit_milliwatts())),
    long(191, 191, "energy in mJ", |ask| Ok(ask.of_the_gpu()?.view.energy_millijoules())),
    int(192, 192, "power limit that was asked for in mW", |ask| {
        Ok(ask.of_the_gpu()?.view.power_limit_milliwatts())
    }),
    signed(193, 193, "T.Limit of shutdown", |ask| ask.t_limit(ask.model().temperature_shutdown_celsius)),
    signed(194, 194, "T.Limit of slowdown", |ask| ask.t_limit(ask.model().temperature_slowdown_celsius)),
    signed(195, 195, "T.Limit of slowdown by memory: 0, as listings show where memory has a sensor", |ask| {
        ask.view.memory_temperature()?;
        ask.t_limit(ask.model().temperature_max_celsius)
    }),
    signed(196, 196, "T.Limit of normal operation", |ask| ask.t_limit(ask.model().temperature_max_celsius)),
    long(197, 197, "bytes out over PCIe", |ask| Ok(ask.since(Hopper)?.view.pcie_bytes(Direction::Tx))),
    long(198, 198, "bytes in over PCIe", |ask| Ok(ask.since(Hopper)?.view.pcie_bytes(Direction::Rx))),
    int(199, 199, "whether MIG can be asked about in either mode", |ask| {
        Ok(ask.model().is_mig_capable().into())
    }),
    int(200, 200, "longest idle time after which NVLinks sleep", |ask| {
        ask.view.nvlink_sleep().map(|_| *NVLINK_SLEEP.end())
    }),
    long(201, 201, "packets out of an NVLink 5", |ask| packets(ask, Direction::Tx)),
    long(202, 202, "bytes out of an NVLink 5", |ask| ask.view.nvlink_bytes(ask.link_of_5()?, Direction::Tx)),
    long(203, 203, "packets into an NVLink 5", |ask| packets(ask, Direction::Rx)),
    long(204, 204, "bytes into an NVLink 5", |ask| ask.view.nvlink_bytes(ask.link_of_5()?, Direction::Rx)),
    never(205, 205, "deprecated"),
    long(206, 212, "packets lost on an NVLink 5, of which a simulated one has none", |ask| ask.never_on_5()),
    long(213, 213, "recoveries of an NVLink 5 that succeeded", |ask| {
        ask.link_errors_of_5(LinkError::Recovery)
    }),
    long(214, 214, "recoveries of an NVLink 5 that failed: none, a link that fails is gone", |ask| {
        ask.never_on_5()
    }),
    long(215, 215, "recoveries of an NVLink 5", |ask| ask.link_errors_of_5(LinkError::Recovery)),
    never(216, 218, "deprecated"),
    long(219, 219, "errors in packets of an NVLink 5, of which a simulated one has none", |ask| {
        ask.never_on_5()
    }),
    long(220, 220, "rate of those errors", |ask| ask.no_bit_errors()),
    long(221, 221, "errors in symbols of an NVLink 5, of which a simulated one has none", |ask| {
        ask.never_on_5()
    }),
    long(222, 222, "rate of those errors", |ask| ask.no_bit_errors()),
    int(223, 223, "shortest idle time after which NVLinks sleep", |ask| {
        ask.view.nvlink_sleep().map(|_| *NVLINK_SLEEP.start())
    }),
    int(224, 224, "unit of those times", |ask| ask.view.nvlink_sleep().map(|_| UNIT_100US)),
    int(225, 225, "whether NVLinks sleep", |ask| Ok(ask.nvlinks()?.view.nvlink_sleep().is_ok().into())),
    never(226, 227, "deprecated, field 230 instead"),
    never(228, 228, "atomic operations that the CPU takes over PCIe: not told, as of an H100"),
    int(229, 229, "atomic operations that the GPU takes over PCIe", |ask| {
        ask.since(Hopper).map(|_| ATOMICS_IN)
    }),
    int(230, 230, "what must be done with the GPU", |ask| Ok(ask.view.recovery_action() as u32)),
    long(231, 233, "errors of a link to the CPU, of which a simulated one has none", |ask| {
        ask.c2c().map(|_| 0)
    }),
    int(234, 234, "power state of the links to the CPU: full", |ask| ask.c2c().map(|_| 0)),
    long(235, 250, "symbols mended on an NVLink 5, of which a simulated one has none", |ask| {
        ask.never_on_5()
    }),
    never(251, 268, "power smoothing: no simulated GPU does it"),
    long(269, 269, "time slowed down by the driver for heat, in ns", |ask| {
        Ok(ask.view.throttle_ns(Reason::SwThermal))
    }),
    long(270, 270, "time slowed down by the hardware for heat, in ns", |ask| {
        Ok(ask.view.throttle_ns(Reason::HwThermal))
    }),
    long(271, 271, "time slowed down by a power brake, in ns", |ask| {
        Ok(ask.view.throttle_ns(Reason::PowerBrake))
    }),
    never(272, 273, "power balance between GPUs and CPU: no simulated machine does it"),
    never(274, 274, "multiplier of peak power: no simulated board has one"),
    never(275, 288, "power smoothing: no simulated GPU does it"),
    long(289, 290, "raw errors on lanes of an NVLink 5, of which a simulated one has none", |ask| {
        ask.never_on_5()
    }),
    long(291, 293, "rates of those errors", |ask| ask.no_bit_errors()),
    never(294, 295, "blocks sent and sent again on an NVLink 5: not counted"),
    int(296, 296, "MB/s of an NVLink 5 for data", |ask| ask.speed(ask.link_of_5()?)),
    never(297, 297, "stalls of tensor cores: not simulated"),
    int(298, 298, "how memory clocks switch: they do not", |ask| ask.since(Blackwell).map(|_| 0)),
    never(299, 299, "how often memory clocks may switch: they do not"),
    never(300, 300, "power smoothing: no simulated GPU does it"),
    int(301, 301, "rows that wait after correctable errors", |ask| {
        Ok(ask.view.remapped_rows()?.correctable_pending)
    }),
    int(302, 302, "rows that wait after uncorrectable errors", |ask| {
        Ok(ask.view.remapped_rows()?.uncorrectable_pending)
    }),
    never(303, 307, "banks are remapped from Rubin on, and every preset is older"),
];

fn ecc(ask: Ask<'_>, span: CounterSpan) -> Result<u64, Code> {
    let (kind, location) = ask.ecc_field().ok_or(Code::NOT_SUPPORTED)?;
    ask.view.ecc_errors(kind, span, Some(location))
}

fn pages(ask: Ask<'_>, cause: Cause) -> Result<u64, Code> {
    Ok(ask.view.retired_pages(cause)?.len() as u64)
}

fn pages_pending(ask: Ask<'_>, cause: Cause) -> Result<u32, Code> {
    ask.view.retired_pages(cause)?;
    let waits = |damage: &Damage| damage.pending.contains_key(&Counter::Pages(cause));
    Ok(ask.view.damage().is_some_and(waits).into())
}

fn packets(ask: Ask<'_>, direction: Direction) -> Result<u64, Code> {
    Ok(ask.view.nvlink_bytes(ask.link_of_5()?, direction)? / PACKET)
}
