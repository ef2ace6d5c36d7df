//! Structs that came with NVML 13.3 and that nvml-wrapper-sys does not have yet. Sizes and offsets are those that gcc
//! gives for the header of 13.3.29 on x86-64; what differs does not compile.
#![expect(non_snake_case, reason = "C's names")]

use std::ffi::c_char;
use std::mem::offset_of;

use nvml_wrapper_sys::bindings::nvmlMask255_t;

/// A struct with its size, and where some of its members lie.
macro_rules! layout {
    ($name:ident: $size:literal $(, $member:ident: $offset:literal)*) => {
        const _: () = assert!(size_of::<$name>() == $size $(&& offset_of!($name, $member) == $offset)*);
    };
}

/// What a process has used.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct nvmlAccountingStats_v2_t {
    /// The process that is asked about.
    pub pid: u32,
    /// Whether it still runs.
    pub isRunning: u32,
    /// Percent of its life with kernels.
    pub gpuUtilization: u32,
    /// Percent of its life with memory read or written.
    pub memoryUtilization: u32,
    /// The most memory that it had, in bytes.
    pub maxMemoryUsage: u64,
    /// Samples since it began.
    pub sampleCount: u32,
    /// Sum of its utilisation, in hundredths of a percent.
    pub sumGpuUtil: u64,
    /// Sum of its memory utilisation, in hundredths of a percent.
    pub sumFbUtil: u64,
    /// Milliseconds that it ran; 0 while it runs.
    pub time: u64,
    /// When it began, in microseconds.
    pub startTime: u64,
}
layout!(nvmlAccountingStats_v2_t: 64, maxMemoryUsage: 16, sampleCount: 24, sumGpuUtil: 32, startTime: 56);

/// What the black box counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct nvmlBBXTimeData_v1_t {
    /// Seconds that a driver was loaded.
    pub timeRun: u32,
}
layout!(nvmlBBXTimeData_v1_t: 4);

/// A GPU's host name.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvmlHostname_v1_t {
    /// The name with its end.
    pub value: [c_char; 64],
}
layout!(nvmlHostname_v1_t: 64);

/// Remapped rows, by cause and by whether the remapping is active.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct nvmlRemappedRowsInfo_v2_t {
    /// Active, after correctable errors.
    pub corrActiveRemaps: u32,
    /// Inactive, after correctable errors.
    pub corrInactiveRemaps: u32,
    /// Active, after uncorrectable errors.
    pub uncActiveRemaps: u32,
    /// Inactive, after uncorrectable errors.
    pub uncInactiveRemaps: u32,
    /// Whether one waits for a reset.
    pub bPending: u32,
    /// Whether one failed.
    pub bFailureOccurred: u32,
}
layout!(nvmlRemappedRowsInfo_v2_t: 24, bPending: 16);

/// Whether memory is beyond repair.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct nvmlUnrepairableMemoryStatus_v1_t {
    /// Whether it is.
    pub bUnrepairableMemory: u32,
}
layout!(nvmlUnrepairableMemoryStatus_v1_t: 4);

/// A change of requested workload power profiles. It came with NVML 13.1.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvmlWorkloadPowerProfileUpdateProfiles_v1_t {
    /// What is done, by `nvmlPowerProfileOperation_t`.
    pub operation: u32,
    /// To which profiles.
    pub updateProfilesMask: nvmlMask255_t,
}
layout!(nvmlWorkloadPowerProfileUpdateProfiles_v1_t: 36, updateProfilesMask: 4);
