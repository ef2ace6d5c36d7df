//! One question for a field: of which GPU, which field of its row, with which scope. It knows the refusals that fields have
//! in common.

use super::table::Field;
use crate::code::Code;
use crate::damage::{ErrorKind, LinkError, MemoryLocation};
use crate::model::{Architecture, Model};
use crate::snapshot::GpuView;
use crate::telemetry::Direction;
use crate::topology::Link;

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The GPU.
    pub view: GpuView<'a>,
    /// Which of the fields of a row, from 0.
    pub at: u32,
    /// The link or the power scope.
    pub scope: u32,
}

/// The scope that means all links.
const ALL_LINKS: u32 = u32::MAX;
/// `NVML_POWER_SCOPE_*`: the GPU, and one more than the highest.
const POWER_SCOPE_GPU: u32 = 0;
const POWER_SCOPE_COUNT: u32 = 4;
/// Version 5.0 of NVLink as `nvmlNvlinkVersion_t` numbers it.
const NVLINK_5: u32 = 7;
/// Memory of the chip, without device memory.
type Where = (ErrorKind, MemoryLocation);

impl<'a> Ask<'a> {
    pub fn model(self) -> &'a Model {
        &self.view.gpu.model
    }

    /// Refuses GPUs before an architecture.
    pub fn since(self, architecture: Architecture) -> Result<Self, Code> {
        if self.model().architecture >= architecture { Ok(self) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// Refuses GPUs without NVLinks.
    pub fn nvlinks(self) -> Result<Self, Code> {
        if self.model().nvlinks > 0 { Ok(self) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// Refuses GPUs without NVLinks, and those whose links count what came with NVLink 5.
    pub fn nvlinks_to_4(self) -> Result<Self, Code> {
        if self.model().nvlink_version >= NVLINK_5 { Err(Code::NOT_SUPPORTED) } else { self.nvlinks() }
    }

    /// The link of the scope, of a GPU whose links count what came with NVLink 5.
    pub fn link_of_5(self) -> Result<u32, Code> {
        if self.model().nvlink_version < NVLINK_5 { Err(Code::NOT_SUPPORTED) } else { self.link() }
    }

    /// The link of the scope.
    pub fn link(self) -> Result<u32, Code> {
        self.view.link(self.scope).map(|_| self.scope)
    }

    /// Whether the link of the scope ends at something.
    pub fn is_active(self) -> Result<bool, Code> {
        Ok(self.view.link(self.scope)?.is_some())
    }

    /// A link by its number in the field's name; one that the GPU lacks has no field.
    pub fn numbered(self, first: u32) -> Result<u32, Code> {
        let link = first + self.at;
        if link < self.model().nvlinks { Ok(link) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// The speed of a link in MB/s, 0 of one that ends nowhere.
    pub fn speed(self, link: u32) -> Result<u32, Code> {
        Ok(self.view.link(link)?.map_or(0, |_| self.model().nvlink_mbps))
    }

    /// KiB over the link of the scope, or over all links.
    pub fn kibibytes(self, direction: Direction) -> Result<u64, Code> {
        let asked = self.nvlinks()?;
        let links =
            if asked.scope == ALL_LINKS { 0..asked.model().nvlinks } else { asked.link()?..asked.scope + 1 };
        links.map(|link| asked.view.nvlink_bytes(link, direction).map(|bytes| bytes >> 10)).sum()
    }

    /// The same with what the protocol adds: a header of 16 bytes for 128 of data (assumed).
    pub fn raw_kibibytes(self, direction: Direction) -> Result<u64, Code> {
        self.kibibytes(direction).map(|data| data + data / 8)
    }

    /// Errors of a numbered link, before NVLink 5.
    pub fn numbered_errors(self, first: u32, error: LinkError) -> Result<u64, Code> {
        let asked = self.nvlinks_to_4()?;
        asked.view.nvlink_errors(asked.numbered(first)?, error)
    }

    /// Errors of all links, before NVLink 5.
    pub fn all_errors(self, error: LinkError) -> Result<u64, Code> {
        Ok(self.nvlinks_to_4()?.view.nvlink_errors_of_all(error))
    }

    /// Errors of the link of the scope, before NVLink 5.
    pub fn link_errors(self, error: LinkError) -> Result<u64, Code> {
        let asked = self.nvlinks_to_4()?;
        asked.view.nvlink_errors(asked.link()?, error)
    }

    /// Errors of the link of the scope since NVLink 5.
    pub fn link_errors_of_5(self, error: LinkError) -> Result<u64, Code> {
        self.view.nvlink_errors(self.link_of_5()?, error)
    }

    /// A count of the link of the scope since NVLink 5 that nothing raises in a simulation.
    pub fn never_on_5(self) -> Result<u64, Code> {
        self.link_of_5().map(|_| 0)
    }

    /// The bit error rate of a link without errors, as `nvidia-smi nvlink -e` shows it: 15e-255.
    pub fn no_bit_errors(self) -> Result<u64, Code> {
        self.link_of_5().map(|_| 15 << 8 | 255)
    }

    /// The number of this link at the other GPU, or the port of the switch.
    pub fn remote_link(self) -> Result<u32, Code> {
        let own = self.view.gpu;
        let end = self.view.link(self.scope)?.ok_or(Code::NOT_SUPPORTED)?;
        // The n-th link to a peer is the peer's n-th link back.
        let before = own.links.iter().take(self.scope as usize).filter(|link| **link == end).count();
        match end {
            Link::Gpu(place) => {
                let peer = self.view.snapshot.node.at_place(place).ok_or(Code::NOT_SUPPORTED)?;
                let back = |(_, link): &(usize, &Link)| **link == Link::Gpu(own.place);
                let number = peer.links.iter().enumerate().filter(back).nth(before).map(|(number, _)| number);
                number.and_then(|number| u32::try_from(number).ok()).ok_or(Code::NOT_SUPPORTED)
            }
            // Ports are given to GPUs in the order of their places (assumed).
            _ => {
                let node = &self.view.snapshot.node;
                let earlier = node.all().filter(|gpu| gpu.place < own.place);
                let used = earlier.flat_map(|gpu| &gpu.links).filter(|link| **link == end).count();
                u32::try_from(used + before).map_err(|_| Code::NOT_SUPPORTED)
            }
        }
    }

    /// Refuses a GPU whose CPU is no neighbour over C2C.
    pub fn c2c(self) -> Result<Self, Code> {
        if self.model().c2c { Ok(self) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// Refuses scopes of power other than the GPU's: no simulated board measures them.
    pub fn of_the_gpu(self) -> Result<Self, Code> {
        match self.scope {
            POWER_SCOPE_GPU => Ok(self),
            1..POWER_SCOPE_COUNT => Err(Code::NOT_SUPPORTED),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    /// Refuses GPUs that do not average their power: those before Ampere, and its first chip.
    pub fn averages_power(self) -> Result<Self, Code> {
        let is_first =
            self.model().compute_capability.major == 8 && self.model().compute_capability.minor == 0;
        if is_first { Err(Code::NOT_SUPPORTED) } else { self.since(Architecture::Ampere) }
    }

    /// Degrees from a limit to the highest temperature of normal operation; from Ada on, as listings of `nvidia-smi -q` show.
    pub fn t_limit(self, celsius: u32) -> Result<i32, Code> {
        let model = self.since(Architecture::Ada)?.model();
        let distance = i64::from(model.temperature_max_celsius) - i64::from(celsius);
        i32::try_from(distance).map_err(|_| Code::NOT_SUPPORTED)
    }

    /// The NVLink error that a field counts: of the link that its number or its scope names, or of all.
    pub fn link_error(self, field: &Field) -> Option<(Option<u32>, LinkError)> {
        use LinkError::{CrcData, CrcFlit, EccData, Recovery, Replay};
        let error = match field.numbers().start() {
            32 | 38 | 96 => CrcFlit,
            39 | 45 | 102 => CrcData,
            46 | 52 | 108 | 161 => Replay,
            53 | 59 | 114 | 162 | 213 | 215 => Recovery,
            148 | 160 => EccData,
            163 => CrcFlit,
            _ => return None,
        };
        let link = match field.numbers().start() {
            32 | 39 | 46 | 53 | 148 => Some(self.at),
            96 | 102 | 108 | 114 => Some(6 + self.at),
            38 | 45 | 52 | 59 | 160 => None,
            _ => Some(self.scope),
        };
        Some((link, error))
    }

    /// Kind and location of the n-th of the eleven fields of one span of ECC.
    pub fn ecc_field(self) -> Option<Where> {
        use MemoryLocation::{Cbu, Dram, L1, L2, RegisterFile, Texture};
        let at = self.at as usize;
        let location = [L1, L2, Dram, RegisterFile, Texture].get(at / 2).copied();
        match location {
            // The last one has no field of corrected errors.
            None => Some((ErrorKind::Uncorrected, Cbu)),
            Some(location) if at.is_multiple_of(2) => Some((ErrorKind::Corrected, location)),
            Some(location) => Some((ErrorKind::Uncorrected, location)),
        }
    }
}
