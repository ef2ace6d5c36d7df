//! The return codes of NVML, `nvmlReturn_t` of header 13.3, and those that stand for what NVML itself did
//! not say ([`gpu_model::failure`]).

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $meaning:literal;)+) => {
        /// A return code other than success. The numbers are NVML's, so that logs can be looked up; those
        /// beyond a million are ours.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "u32", into = "u32")]
        pub enum Code {
            $(#[doc = concat!("`", stringify!($code), "`: ", $meaning, ".")] $name,)+
            /// A number that header 13.3 does not list.
            Other(u32),
        }

        impl From<u32> for Code {
            fn from(code: u32) -> Code {
                match code {
                    $($code => Code::$name,)+
                    other => Code::Other(other),
                }
            }
        }

        impl From<Code> for u32 {
            fn from(code: Code) -> u32 {
                match code {
                    $(Code::$name => $code,)+
                    Code::Other(other) => other,
                }
            }
        }

        impl Code {
            /// What the code means, in a few words.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Code::$name => $meaning,)+
                    Code::Other(_) => "a code that is not listed",
                }
            }
        }
    };
}

codes! {
    Uninitialized = 1, "NVML is not initialised";
    InvalidArgument = 2, "an argument is invalid";
    NotSupported = 3, "not supported here";
    NoPermission = 4, "no permission";
    AlreadyInitialized = 5, "NVML is already initialised";
    NotFound = 6, "not found";
    InsufficientSize = 7, "a buffer is too small";
    InsufficientPower = 8, "a power cable is missing";
    DriverNotLoaded = 9, "the NVIDIA kernel driver is not loaded";
    Timeout = 10, "the driver timed out";
    IrqIssue = 11, "the kernel found an interrupt problem with a GPU";
    LibraryNotFound = 12, "a library of the driver was not found";
    FunctionNotFound = 13, "this driver has no such function";
    CorruptedInforom = 14, "the infoROM is corrupted";
    GpuIsLost = 15, "the GPU is lost: it has fallen off the bus or cannot be reached";
    ResetRequired = 16, "the GPU must be reset first";
    OperatingSystem = 17, "the operating system blocks the GPU";
    LibRmVersionMismatch = 18, "library and kernel driver have different versions";
    InUse = 19, "in use";
    Memory = 20, "out of memory";
    NoData = 21, "no data";
    VgpuEccNotSupported = 22, "not possible on a vGPU while ECC is on";
    InsufficientResources = 23, "a resource that is needed has run out";
    FreqNotSupported = 24, "the frequency is not supported";
    ArgumentVersionMismatch = 25, "this driver does not know the structure's version";
    Deprecated = 26, "the function is deprecated";
    NotReady = 27, "the system is not ready";
    GpuNotFound = 28, "no GPU was found";
    InvalidState = 29, "the resource is in the wrong state";
    ResetTypeNotSupported = 30, "this kind of reset is not supported";
    Unknown = 999, "an internal error of the driver";
    Senseless = 1_000_001, "the answer makes no sense";
    NoReturn = 1_000_002, "the call did not return in time";
    Crash = 1_000_003, "the process died in the call";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Code::Senseless | Code::NoReturn | Code::Crash => f.write_str(self.meaning()),
            _ => write!(f, "{} (code {})", self.meaning(), u32::from(*self)),
        }
    }
}

impl Code {
    /// Whether NVML itself is of no use any more, whichever GPU was asked: only a fresh process that
    /// loads the library anew can help.
    pub(crate) fn needs_fresh_library(self) -> bool {
        matches!(self, Code::Uninitialized | Code::DriverNotLoaded | Code::LibRmVersionMismatch)
    }
}

#[cfg(test)]
mod tests {
    use gpu_model::failure;

    use super::*;

    #[test]
    fn code_of_any_number_keeps_its_number() {
        for number in (0..40).chain([999, u32::MAX]) {
            assert_eq!(u32::from(Code::from(number)), number);
        }
        assert_eq!(Code::from(30), Code::ResetTypeNotSupported);
        assert_eq!(Code::from(31), Code::Other(31));
    }

    #[test]
    fn codes_of_our_own_are_those_of_the_model_and_print_without_a_number() {
        assert_eq!(Code::from(failure::SENSELESS), Code::Senseless);
        assert_eq!(Code::from(failure::NO_RETURN), Code::NoReturn);
        assert_eq!(Code::from(failure::CRASH), Code::Crash);
        assert_eq!(Code::NoReturn.to_string(), "the call did not return in time");
    }
}
