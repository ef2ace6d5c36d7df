//! The loaded library. Every foreign call of this crate goes through [`Driver::enter`], which tells the
//! parent which function comes next and on which GPU, and gives a failure its name and C code. The one
//! exception is [`Driver::open`]: there the wrapper loads, initialises and asks for the version in one go,
//! and the parent is told all three.
//!
//! Only workers come here. nvml-wrapper does initialisation, handles and the getters of plain numbers;
//! the raw functions of nvml-wrapper-sys stand in where the wrapper is not fit, each with its reason:
//!
//! | C functions | reason |
//! |---|---|
//! | `nvmlSystemGetDriverVersion`, `nvmlSystemGetNVMLVersion`, `nvmlDeviceGetUUID`, `nvmlDeviceGetName` | the wrapper reads up to a NUL that a broken library need not write, and refuses what is not UTF-8 |
//! | `nvmlDeviceGetPciInfo_v3`, `nvmlDeviceGetNvLinkRemotePciInfo_v2` | the same, for strings that nobody needs: the numbers beside them do |
//! | `nvmlDeviceGetMemoryInfo` | the wrapper has version 2 only, which drivers before 510 lack |
//! | `nvmlDeviceGetTopologyCommonAncestor` | the wrapper takes the other device by value |
//! | `nvmlDeviceGetNvLinkState`, `nvmlDeviceGetNvLinkRemoteDeviceType` | the wrapper knows 18 links; there are machines with more |
//! | `nvmlDeviceGetSramEccErrorStatus`, `nvmlDeviceGetGpuFabricInfoV`, `nvmlDeviceGetGpuFabricInfo` | the wrapper lacks them |
//! | `nvmlDeviceGetEccMode`, `nvmlDeviceGetGspFirmwareMode`, `nvmlSystemGetConfComputeState` | the wrapper takes a number that it does not know for an error's, or for true |
//! | `nvmlDeviceGetCurrentClocksThrottleReasons` | the wrapper knows the new name alone, which older drivers lack |
//! | `nvmlDeviceGetFieldValues` | the wrapper renumbers fields and drops the scope |
//! | `nvmlDeviceGetMaxMigDeviceCount`, `nvmlDeviceGetMigDeviceHandleByIndex`, `nvmlDeviceGetGpuInstanceId`, `nvmlDeviceGetComputeInstanceId`, `nvmlDeviceGetAttributes_v2`, `nvmlDeviceGetGpuInstanceById`, `nvmlGpuInstanceGetInfo`, `nvmlDeviceGetGpuInstanceProfileInfo`, `nvmlDeviceGetGpuInstanceRemainingCapacity` | the wrapper hands MIG devices out as devices that know no GPU, and has nothing of GPU instances |
//! | `nvmlEventSetCreate`, `nvmlDeviceGetSupportedEventTypes`, `nvmlDeviceRegisterEvents`, `nvmlEventSetWait_v2`, `nvmlEventSetFree` | the wrapper frees the whole set when one GPU cannot be registered, and drops the instance ids |
#![expect(unsafe_code, reason = "the binding of a C library")]

mod abilities;
mod condition;
mod event_set;
mod fabric;
mod features;
mod gpu;
mod mig;
mod text;

use std::ffi::OsStr;
use std::mem::ManuallyDrop;

use gpu_model::{DriverVersions, Reading};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError as WrapperError;
use worker::{CallClass, Channel};

use self::text::Text;
use crate::Code;
use crate::protocol::Refusal;
use crate::reach::{Place, Reach};

pub(crate) use self::abilities::Abilities;
pub(crate) use self::event_set::{EventSet, RawEvent, RawKind};
pub(crate) use self::gpu::{Gpu, GpuKey, LinkEnd};
pub(crate) use self::mig::{InstanceKinds, MigHandle};

/// More GPUs than this in one machine is an answer that makes no sense.
const MAX_GPUS: u32 = 256;

/// What the wrapper does at once when it opens a library.
const START: &str = "dlopen, nvmlInit_v2, nvmlSystemGetDriverVersion";

/// Room for a version; NVML asks for 80.
const VERSION_SIZE: usize = 96;

/// `NVML_STRUCT_VERSION`: the version stands above the size.
const fn version_word(size: usize, version: u32) -> u32 {
    size as u32 | version << 24
}

/// Who makes a call: the library as a whole, or one GPU of it.
pub(crate) trait Caller {
    fn driver(&self) -> &Driver<'_>;
    /// The index of the GPU.
    fn gpu_index(&self) -> Option<u32>;
}

/// Calls a raw function of the library through the choke point.
macro_rules! raw {
    ($caller:expr, Query, $name:ident($($argument:expr),* $(,)?)) => {
        raw!($caller, worker::CallClass::Query, $name($($argument),*))
    };
    ($caller:expr, $class:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let (driver, gpu) = ($crate::binding::Caller::driver($caller), $crate::binding::Caller::gpu_index($caller));
        match driver.library().$name.as_ref() {
            Ok(function) => driver.enter(stringify!($name), $class, gpu, || {
                // SAFETY: the function has the type that nvml-wrapper-sys declares for its symbol, and
                // each place where this is used gives handles of this library that are still valid and
                // pointers to values that live through the call, with their true sizes.
                $crate::binding::check(unsafe { function($($argument),*) })
            }),
            Err(_) => Err($crate::binding::Failure { call: stringify!($name), code: $crate::Code::FunctionNotFound }),
        }
    }};
}
use raw;

/// The library, initialised.
pub(crate) struct Driver<'c> {
    /// Never dropped: that would call `nvmlShutdown`, which may hang. The kernel cleans up.
    nvml: ManuallyDrop<Nvml>,
    channel: &'c Channel,
    pub abilities: Abilities,
}

/// A foreign call that did not succeed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub call: &'static str,
    pub code: Code,
}

impl<'c> Driver<'c> {
    /// Loads and initialises the library at `path`.
    pub fn open(channel: &'c Channel, path: &OsStr) -> Result<Driver<'c>, Refusal> {
        const CALL: &str = "nvmlInit_v2";
        channel.entering(START, CallClass::Init, None);
        let nvml = Nvml::builder().lib_path(path).init().map_err(|error| match error {
            WrapperError::LibloadingError(error) => {
                Refusal::NoDriver { reason: format!("cannot load {}: {error}", path.display()) }
            }
            other => Failure { call: CALL, code: code_of(&other) }.at_start(),
        })?;
        let nvml = ManuallyDrop::new(nvml);
        let abilities = Abilities::probe(nvml.lib());
        Ok(Driver { nvml, channel, abilities })
    }

    /// The choke point.
    fn enter<T>(
        &self,
        call: &'static str,
        class: CallClass,
        gpu: Option<u32>,
        body: impl FnOnce() -> Result<T, WrapperError>,
    ) -> Result<T, Failure> {
        self.channel.entering(call, class, gpu);
        body().map_err(|error| Failure { call, code: code_of(&error) })
    }

    /// A query of nvml-wrapper.
    fn query<'s, T>(
        &'s self,
        call: &'static str,
        gpu: Option<u32>,
        body: impl FnOnce(&'s Nvml) -> Result<T, WrapperError>,
    ) -> Result<T, Failure> {
        self.enter(call, CallClass::Query, gpu, || body(&self.nvml))
    }

    fn library(&self) -> &nvml_wrapper_sys::bindings::NvmlLib {
        self.nvml.lib()
    }

    /// The GPUs that may be touched.
    pub fn places(&self, reach: &Reach) -> Result<Vec<Place>, Refusal> {
        match reach {
            Some(gpus) => Ok(gpus.iter().copied().map(Place::from).collect()),
            None => Ok((0..self.gpu_count()?).map(Place::of_index).collect()),
        }
    }

    /// Number of GPUs that the driver counts.
    fn gpu_count(&self) -> Result<u32, Refusal> {
        let count = self.query("nvmlDeviceGetCount_v2", None, Nvml::device_count)?;
        if count > MAX_GPUS {
            return Err(Refusal::Garbage { reason: format!("nvmlDeviceGetCount_v2 counts {count} GPUs") });
        }
        Ok(count)
    }

    /// The GPU at this place of the enumeration, or of the machine. No other GPU is touched.
    pub fn gpu(&self, Place { index, pci }: Place) -> Result<Gpu<'_>, Failure> {
        let device = match pci {
            None => {
                self.query("nvmlDeviceGetHandleByIndex_v2", Some(index), |nvml| nvml.device_by_index(index))
            }
            Some(pci) => self.query("nvmlDeviceGetHandleByPciBusId_v2", Some(index), |nvml| {
                nvml.device_by_pci_bus_id(pci.to_string())
            }),
        };
        // The wrapper's device borrows what the closure was given: take the bare handle out of it.
        // SAFETY: the handle is only used with this library, which stays loaded.
        device.map(|device| Gpu::new(self, index, unsafe { device.handle() }))
    }

    pub fn versions(&self) -> Result<DriverVersions, Refusal> {
        let mut driver = Text::<VERSION_SIZE>::new();
        raw!(self, Query, nvmlSystemGetDriverVersion(driver.pointer(), driver.size()))?;
        let mut library = Text::<VERSION_SIZE>::new();
        raw!(self, Query, nvmlSystemGetNVMLVersion(library.pointer(), library.size()))?;
        let cuda = self.query("nvmlSystemGetCudaDriverVersion_v2", None, Nvml::sys_cuda_driver_version);
        let part = |number: i32| u32::try_from(number).unwrap_or(0);
        let cuda = reading(cuda)?.map(|cuda| (part(cuda / 1000), part(cuda % 1000 / 10)));
        Ok(DriverVersions { driver: driver.read(), nvml: library.read(), cuda })
    }
}

impl Caller for Driver<'_> {
    fn driver(&self) -> &Driver<'_> {
        self
    }

    fn gpu_index(&self) -> Option<u32> {
        None
    }
}

impl Failure {
    /// An answer that came without an error and makes no sense.
    pub fn senseless(call: &'static str) -> Failure {
        Failure { call, code: Code::Senseless }
    }

    /// What a failed initialisation means.
    fn at_start(self) -> Refusal {
        match self.code {
            Code::LibraryNotFound | Code::FunctionNotFound => {
                Refusal::NoDriver { reason: format!("{} failed: {}", self.call, self.code) }
            }
            Code::NoPermission => Refusal::NoPermission { call: self.call.to_owned() },
            _ => self.into(),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        match failure.code {
            Code::DriverNotLoaded => {
                Refusal::NoDriver { reason: format!("{} failed: {}", failure.call, failure.code) }
            }
            Code::LibRmVersionMismatch => Refusal::VersionMismatch { call: failure.call.to_owned() },
            code => Refusal::Call { call: failure.call.to_owned(), code },
        }
    }
}

/// One GPU's answer as a reading; an error only when the whole library is of no use any more.
pub(crate) fn reading<T>(answer: Result<T, Failure>) -> Result<Reading<T>, Refusal> {
    match answer {
        Ok(value) => Ok(Reading::Value(value)),
        Err(Failure { code: Code::NotSupported | Code::FunctionNotFound, .. }) => Ok(Reading::NotSupported),
        Err(failure) if failure.code.needs_fresh_library() => Err(failure.into()),
        Err(Failure { call, code }) => Ok(Reading::Failed { call: call.to_owned(), code: code.into() }),
    }
}

/// A raw return code as the wrapper's error, which keeps codes that it does not know.
fn check(code: nvml_wrapper_sys::bindings::nvmlReturn_t) -> Result<(), WrapperError> {
    nvml_wrapper::error::nvml_try(code)
}

/// The C code behind an error of the wrapper.
fn code_of(error: &WrapperError) -> Code {
    match error {
        WrapperError::FailedToLoadSymbol(_) => Code::FunctionNotFound,
        WrapperError::UnexpectedVariant(code) => Code::from(*code),
        WrapperError::Uninitialized => Code::Uninitialized,
        WrapperError::InvalidArg => Code::InvalidArgument,
        WrapperError::NotSupported => Code::NotSupported,
        WrapperError::NoPermission => Code::NoPermission,
        WrapperError::NotFound => Code::NotFound,
        WrapperError::InsufficientSize(_) => Code::InsufficientSize,
        WrapperError::InsufficientPower => Code::InsufficientPower,
        WrapperError::DriverNotLoaded => Code::DriverNotLoaded,
        WrapperError::Timeout => Code::Timeout,
        WrapperError::IrqIssue => Code::IrqIssue,
        WrapperError::LibraryNotFound => Code::LibraryNotFound,
        WrapperError::FunctionNotFound => Code::FunctionNotFound,
        WrapperError::CorruptedInfoROM => Code::CorruptedInforom,
        WrapperError::GpuLost => Code::GpuIsLost,
        WrapperError::ResetRequired => Code::ResetRequired,
        WrapperError::OperatingSystem => Code::OperatingSystem,
        WrapperError::LibRmVersionMismatch => Code::LibRmVersionMismatch,
        WrapperError::InUse => Code::InUse,
        WrapperError::InsufficientMemory => Code::Memory,
        WrapperError::NoData => Code::NoData,
        WrapperError::VgpuEccNotSupported => Code::VgpuEccNotSupported,
        WrapperError::Unknown => Code::Unknown,
        // The wrapper's own troubles with what the library wrote.
        _ => Code::Senseless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_code_through_the_wrapper_keeps_its_number() {
        for number in (1..=31).chain([999]) {
            let Err(error) = check(number) else { panic!("{number} is a success") };
            if number == 5 {
                // The wrapper deprecates it, and no driver since 2014 returns it.
                continue;
            }
            assert_eq!(u32::from(code_of(&error)), number);
        }
        assert!(check(0).is_ok());
    }

    #[test]
    fn failure_of_one_gpu_is_a_reading_and_of_the_library_an_error() {
        let lost = Failure { call: "nvmlDeviceGetName", code: Code::GpuIsLost };
        assert_eq!(
            reading::<u32>(Err(lost)).unwrap(),
            Reading::Failed { call: "nvmlDeviceGetName".into(), code: 15 }
        );
        assert_eq!(
            reading::<u32>(Err(Failure { code: Code::NotSupported, ..lost })).unwrap(),
            Reading::NotSupported
        );
        assert!(reading::<u32>(Err(Failure { code: Code::Uninitialized, ..lost })).is_err());
    }
}
