//! The names of what is counted: `ecc.uncorrected.dram`, `rows.correctable`, `nvlink.3.crc-flit`. It knows names and
//! NVML's numbers, no counts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::code::{Code, numbered};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Counter {
    /// `ecc.KIND.PLACE`: memory errors.
    Ecc(ErrorKind, Place),
    /// `rows.CAUSE`: rows that were remapped, those included that wait for a reset.
    Rows(Cause),
    /// `rows.failed`: remappings that failed.
    FailedRows,
    /// `pages.CAUSE`: retired pages, those included that wait for a reset.
    Pages(Cause),
    /// `repairs.PART`: parts that were found broken, and are replaced at the next reset.
    Repairs(Repair),
    /// `pcie.replays`.
    PcieReplays,
    /// `nvlink.LINK.ERROR`.
    NvLink(u32, LinkError),
}

/// An enum whose values have names.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$value_doc:meta])* $value:ident = $number:literal, $name:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $type {
            $($(#[$value_doc])* $value = $number,)*
        }

        impl $type {
            /// All, in the order of their numbers.
            pub const ALL: &'static [$type] = &[$($type::$value,)*];

            /// The one of a number; `INVALID_ARGUMENT` where there is none.
            pub fn from_number(number: u32) -> Result<$type, Code> {
                numbered($type::ALL, number, |value| value as u32)
            }

            fn name(self) -> &'static str {
                match self {
                    $($type::$value => $name,)*
                }
            }

            fn named(name: &str) -> Option<$type> {
                $type::ALL.iter().copied().find(|value| value.name() == name)
            }
        }
    };
}

named! {
    /// Whether an error could be corrected; numbers are `nvmlMemoryErrorType_t`.
    ErrorKind {
        /// It was.
        Corrected = 0, "corrected";
        /// It was not.
        Uncorrected = 1, "uncorrected";
    }
}

named! {
    /// Why a page was retired; numbers are `nvmlPageRetirementCause_t`. A row is remapped for the same two reasons.
    Cause {
        /// Several correctable errors.
        Correctable = 0, "correctable";
        /// An uncorrectable one.
        Uncorrectable = 1, "uncorrectable";
    }
}

named! {
    /// Where memory errors are counted; numbers are `nvmlMemoryLocation_t`.
    MemoryLocation {
        /// L1 cache.
        L1 = 0, "l1";
        /// L2 cache.
        L2 = 1, "l2";
        /// Device memory.
        Dram = 2, "dram";
        /// Register file.
        RegisterFile = 3, "register-file";
        /// Texture memory.
        Texture = 4, "texture";
        /// Shared memory.
        Shared = 5, "shared";
        /// CBU.
        Cbu = 6, "cbu";
        /// All memory of the chip itself, from Turing on.
        Sram = 7, "sram";
    }
}

named! {
    /// How an uncorrectable error of the chip's own memory was found.
    SramErrors {
        /// By SEC-DED.
        SecDed = 0, "sram";
        /// By parity.
        Parity = 1, "sram-parity";
    }
}

named! {
    /// The part of the chip whose memory it is.
    SramPart {
        /// Any other.
        Other = 0, "other";
        /// L2 cache.
        L2 = 1, "l2";
        /// A multiprocessor.
        Sm = 2, "sm";
        /// PCIe.
        Pcie = 3, "pcie";
        /// A micro-controller.
        Mcu = 4, "mcu";
    }
}

named! {
    /// A part of the chip that a reset replaces by a spare one.
    Repair {
        /// A channel to device memory.
        Channel = 0, "channel";
        /// A texture processing cluster.
        Tpc = 1, "tpc";
    }
}

named! {
    /// An error of an NVLink; numbers are `nvmlNvLinkErrorCounter_t`.
    LinkError {
        /// The data link layer sent again.
        Replay = 0, "replay";
        /// The link recovered.
        Recovery = 1, "recovery";
        /// A flow control digit with a wrong checksum.
        CrcFlit = 2, "crc-flit";
        /// Data with a wrong checksum.
        CrcData = 3, "crc-data";
        /// Data with an error that ECC found.
        EccData = 4, "ecc-data";
    }
}

/// Where a memory error is, as finely as NVML tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a location of which nothing more is told.
    At(MemoryLocation),
    /// In the chip's own memory, uncorrectable.
    Sram(SramErrors, SramPart),
}

impl Place {
    /// The location in which it is counted.
    pub fn location(self) -> MemoryLocation {
        match self {
            Place::At(location) => location,
            Place::Sram(..) => MemoryLocation::Sram,
        }
    }
}

impl Counter {
    /// Whether what is counted takes effect at the next reset only.
    pub fn waits_for_a_reset(self) -> bool {
        matches!(self, Counter::Rows(_) | Counter::Pages(_) | Counter::Repairs(_))
    }
}

/// Text that names no counter.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is no counter; write ecc.corrected.PLACE or ecc.uncorrected.PLACE (PLACE is l1, l2, dram, register-file, \
     texture, shared, cbu, sram, or of an uncorrected one sram-parity, both also with .l2, .sm, .pcie or .mcu), \
     rows.correctable, rows.uncorrectable, rows.failed, pages.correctable, pages.uncorrectable, repairs.channel, \
     repairs.tpc, pcie.replays, or nvlink.LINK.ERROR (ERROR is replay, recovery, crc-flit, crc-data or ecc-data)"
)]
pub struct ParseCounterError(String);

impl FromStr for Counter {
    type Err = ParseCounterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text.split('.').collect();
        let found = match *words.as_slice() {
            ["ecc", kind, place] => ErrorKind::named(kind).and_then(|kind| ecc(kind, place, "other")),
            ["ecc", kind, place, part] if part != "other" => {
                ErrorKind::named(kind).and_then(|kind| ecc(kind, place, part))
            }
            ["rows", "failed"] => Some(Counter::FailedRows),
            ["rows", cause] => Cause::named(cause).map(Counter::Rows),
            ["pages", cause] => Cause::named(cause).map(Counter::Pages),
            ["repairs", part] => Repair::named(part).map(Counter::Repairs),
            ["pcie", "replays"] => Some(Counter::PcieReplays),
            ["nvlink", link, error] => {
                let link = link.parse::<u8>().ok().filter(|number| number.to_string() == link);
                link.zip(LinkError::named(error)).map(|(link, error)| Counter::NvLink(link.into(), error))
            }
            _ => None,
        };
        found.ok_or_else(|| ParseCounterError(text.to_owned()))
    }
}

/// Parts and parity are told of uncorrectable errors of the chip's own memory alone.
fn ecc(kind: ErrorKind, place: &str, part: &str) -> Option<Counter> {
    let part = SramPart::named(part)?;
    let place = match (kind, SramErrors::named(place)) {
        (ErrorKind::Uncorrected, Some(errors)) => Place::Sram(errors, part),
        _ if part != SramPart::Other => return None,
        _ => Place::At(MemoryLocation::named(place)?),
    };
    Some(Counter::Ecc(kind, place))
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Counter::Ecc(kind, Place::At(location)) => write!(f, "ecc.{}.{}", kind.name(), location.name()),
            Counter::Ecc(kind, Place::Sram(errors, part)) => {
                write!(f, "ecc.{}.{}", kind.name(), errors.name())?;
                if *part == SramPart::Other { Ok(()) } else { write!(f, ".{}", part.name()) }
            }
            Counter::Rows(cause) => write!(f, "rows.{}", cause.name()),
            Counter::FailedRows => f.write_str("rows.failed"),
            Counter::Pages(cause) => write!(f, "pages.{}", cause.name()),
            Counter::Repairs(part) => write!(f, "repairs.{}", part.name()),
            Counter::PcieReplays => f.write_str("pcie.replays"),
            Counter::NvLink(link, error) => write!(f, "nvlink.{link}.{}", error.name()),
        }
    }
}

impl TryFrom<String> for Counter {
    type Error = ParseCounterError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Counter> for String {
    fn from(counter: Counter) -> String {
        counter.to_string()
    }
}
