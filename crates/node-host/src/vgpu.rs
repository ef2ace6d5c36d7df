//! What a vGPU tells of the host that it is a part of: the vendor's capability in its PCI configuration space. Pure
//! rules over bytes, of which none is trusted.
//!
//! The list of capabilities is that of the PCI Local Bus Specification 3.0, section 6.7. What NVIDIA's capability holds
//! is known from NVIDIA's gpu-feature-discovery: after the capability's length the letters `VF`, then records of an id, a
//! length and their bytes; record 0 holds the host driver's version and branch, ten bytes each.

use thiserror::Error;

use crate::pci::CONFIG_SPACE_BYTES;

/// Status register, and its bit that says that there are capabilities.
const STATUS: usize = 0x06;
const HAS_CAPABILITIES: u8 = 0x10;

/// Where the offset of the first capability stands.
const FIRST: usize = 0x34;

/// Capabilities begin behind the header and on a multiple of four, whose low bits are reserved.
const HEADER_BYTES: usize = 0x40;
const OFFSET_BITS: u8 = 0xfc;

/// More capabilities than this do not fit: each has four bytes at least.
const MAX_CAPABILITIES: usize = (CONFIG_SPACE_BYTES - HEADER_BYTES) / 4;

/// Id of a capability that the vendor defines; byte 2 is its length.
const VENDOR_SPECIFIC: u8 = 0x09;

/// What a capability has whose function does not answer.
const NO_ANSWER: u8 = 0xff;

/// `VF`, behind id, next and length.
const SIGNATURE: [u8; 2] = *b"VF";
const SIGNATURE_AT: usize = 3;

/// Where the records begin, counted from the capability.
const RECORDS_AT: usize = 5;

/// Id and length of a record; the length counts them.
const RECORD_HEAD: usize = 2;

/// The record of the host's driver, and the bytes of each of its two texts.
const HOST_DRIVER: u8 = 0;
const TEXT_BYTES: usize = 10;

/// The driver of a vGPU's host, as the host writes it. Either may be empty, and may hold anything printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VgpuHostDriver {
    /// Its version, such as `460.16`.
    pub version: String,
    /// Its branch, such as `r460_00`.
    pub branch: String,
}

/// Why it is not known whether a function is a vGPU, or which driver its host has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VgpuError {
    /// No byte of the configuration space could be read.
    #[error("the PCI configuration space cannot be read: {reason}")]
    Unreadable {
        /// Why not.
        reason: String,
    },
    /// What was read ends before it tells. The kernel gives the first 64 bytes to a process without `CAP_SYS_ADMIN`.
    #[error("only {bytes} bytes of the PCI configuration space can be read: the rest needs CAP_SYS_ADMIN")]
    Short {
        /// Bytes that there are.
        bytes: usize,
    },
    /// The list of capabilities leads nowhere.
    #[error("the PCI capability at {at:#04x} makes no sense: {problem}")]
    Capability {
        /// Where it stands in the configuration space.
        at: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It is a vGPU, and its capability does not say the host's driver.
    #[error("the vGPU capability at {at:#04x} does not tell the host's driver: {problem}")]
    NoHostDriver {
        /// Where it stands in the configuration space.
        at: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl VgpuError {
    /// Whether the function is a vGPU all the same.
    pub fn is_vgpu(&self) -> bool {
        matches!(self, VgpuError::NoHostDriver { .. })
    }
}

/// The driver of the host that a function with this configuration space is a vGPU of; nothing if it is none. No more
/// bytes are needed than say so.
///
/// # Errors
/// When the bytes do not tell, or make no sense.
pub fn host_driver(config: &[u8]) -> Result<Option<VgpuHostDriver>, VgpuError> {
    let config = config.get(..CONFIG_SPACE_BYTES).unwrap_or(config);
    let Some(at) = capability(config)? else { return Ok(None) };
    // Its head was read with its signature.
    let length = usize::from(byte(config, at + 2)?);
    let end = at + length;
    let bytes = match config.get(at..end) {
        Some(bytes) => bytes,
        None if config.len() < CONFIG_SPACE_BYTES && end <= CONFIG_SPACE_BYTES => return Err(short(config)),
        None => {
            return Err(VgpuError::NoHostDriver { at, problem: "it is longer than the configuration space" });
        }
    };
    record(bytes).map(Some).map_err(|problem| VgpuError::NoHostDriver { at, problem })
}

/// Where the vGPU capability stands, if there is one.
fn capability(config: &[u8]) -> Result<Option<usize>, VgpuError> {
    if byte(config, STATUS)? & HAS_CAPABILITIES == 0 {
        return Ok(None);
    }
    let (mut came_from, mut next) = (FIRST, byte(config, FIRST)?);
    for _ in 0..MAX_CAPABILITIES {
        let at = usize::from(next & OFFSET_BITS);
        if at == 0 {
            return Ok(None);
        }
        let failed = |problem| Err(VgpuError::Capability { at: came_from, problem });
        if at < HEADER_BYTES {
            return failed("the next one would be in the header");
        }
        match byte(config, at)? {
            NO_ANSWER => return failed("the next one has no id: the function does not answer"),
            VENDOR_SPECIFIC if is_vgpu(config, at)? => return Ok(Some(at)),
            _ => {}
        }
        (came_from, next) = (at, byte(config, at + 1)?);
    }
    // More than there is room for.
    Err(VgpuError::Capability { at: came_from, problem: "the list comes back to itself" })
}

fn is_vgpu(config: &[u8], at: usize) -> Result<bool, VgpuError> {
    // A capability at the very end has no room for a signature.
    if at + RECORDS_AT > CONFIG_SPACE_BYTES {
        return Ok(false);
    }
    let has_room = usize::from(byte(config, at + 2)?) >= RECORDS_AT;
    let signature = [byte(config, at + SIGNATURE_AT)?, byte(config, at + SIGNATURE_AT + 1)?];
    Ok(has_room && signature == SIGNATURE)
}

/// The record of the host's driver in a capability, or what is wrong with it.
fn record(capability: &[u8]) -> Result<VgpuHostDriver, &'static str> {
    let mut rest = capability.get(RECORDS_AT..).unwrap_or_default();
    while let [id, length, ..] = *rest {
        let length = usize::from(length);
        if length < RECORD_HEAD {
            return Err("a record is shorter than its head");
        }
        let (record, behind) =
            rest.split_at_checked(length).ok_or("a record is longer than the capability")?;
        if id == HOST_DRIVER {
            let texts = record.get(RECORD_HEAD..).unwrap_or_default();
            let (version, texts) = texts.split_at_checked(TEXT_BYTES).ok_or("its record is too short")?;
            let branch = texts.get(..TEXT_BYTES).ok_or("its record is too short")?;
            return Ok(VgpuHostDriver { version: text(version), branch: text(branch) });
        }
        rest = behind;
    }
    Err("it has no such record")
}

/// A text that ends at a NUL or with its bytes. What cannot be printed is replaced.
fn text(bytes: &[u8]) -> String {
    let printed = bytes.iter().take_while(|byte| **byte != 0);
    let printed = printed.map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => char::REPLACEMENT_CHARACTER,
    });
    printed.collect()
}

fn byte(config: &[u8], at: usize) -> Result<u8, VgpuError> {
    match config.get(at) {
        Some(byte) => Ok(*byte),
        None if at < CONFIG_SPACE_BYTES => Err(short(config)),
        None => Err(VgpuError::Capability { at, problem: "it is behind the end of the configuration space" }),
    }
}

fn short(config: &[u8]) -> VgpuError {
    VgpuError::Short { bytes: config.len() }
}
