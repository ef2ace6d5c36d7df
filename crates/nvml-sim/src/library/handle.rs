//! Handles: tagged numbers that are never dereferenced, so that a wrong one is an error and not a crash.

use crate::code::Code;

const TAG: u64 = 0x6e76_0000_0000_0000;
const TAG_MASK: u64 = 0xffff_0000_0000_0000;

/// What a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A GPU, by the number that its handles carry.
    Gpu = 1,
    /// An event set, by number.
    EventSet = 2,
    /// A MIG device, by the number of its compute instance.
    MigDevice = 3,
    /// A GPU instance, by number.
    GpuInstance = 4,
    /// A compute instance, by number.
    ComputeInstance = 5,
    /// A GPM sample, by number.
    GpmSample = 8,
    /// A set of system events, by number.
    SystemEventSet = 6,
}

/// The handle of a thing.
pub fn encode(kind: Kind, id: u32) -> u64 {
    TAG | (kind as u64) << 32 | u64::from(id)
}

/// The thing of a handle, if it is one of that kind.
pub fn decode(kind: Kind, handle: u64) -> Result<u32, Code> {
    let whole = handle & TAG_MASK == TAG && (handle >> 32) & 0xffff == kind as u64;
    if whole { Ok((handle & 0xffff_ffff) as u32) } else { Err(Code::INVALID_ARGUMENT) }
}
