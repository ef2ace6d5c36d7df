//! The return codes of NVML's C interface. It knows their numbers and texts, not who returns them.

use std::fmt;

/// A return code other than success. Numbers are those of `nvmlReturn_t` in NVML's header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u32);

macro_rules! codes {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Code {
            $(#[doc = concat!("`NVML_ERROR_", stringify!($name), "`: ", $text, ".")]
            pub const $name: Code = Code($number);)*

            /// Every code that NVML's header defines, success apart.
            pub const ALL: &'static [(Code, &'static str)] = &[$((Code($number), stringify!($name)),)*];

            /// What `nvmlErrorString` says of a return value, success included.
            pub fn text(value: u32) -> &'static str {
                match value {
                    0 => "Success",
                    $($number => $text,)*
                    _ => "Unknown return value",
                }
            }
        }
    };
}

codes! {
    UNINITIALIZED = 1, "Uninitialized";
    INVALID_ARGUMENT = 2, "Invalid Argument";
    NOT_SUPPORTED = 3, "Not Supported";
    NO_PERMISSION = 4, "Insufficient Permissions";
    ALREADY_INITIALIZED = 5, "Already Initialized";
    NOT_FOUND = 6, "Not Found";
    INSUFFICIENT_SIZE = 7, "Insufficient Size";
    INSUFFICIENT_POWER = 8, "Insufficient External Power";
    DRIVER_NOT_LOADED = 9, "Driver Not Loaded";
    TIMEOUT = 10, "Timeout";
    IRQ_ISSUE = 11, "Interrupt Request Issue";
    LIBRARY_NOT_FOUND = 12, "NVML Shared Library Not Found";
    FUNCTION_NOT_FOUND = 13, "Function Not Found";
    CORRUPTED_INFOROM = 14, "Corrupted infoROM";
    GPU_IS_LOST = 15, "GPU is lost";
    RESET_REQUIRED = 16, "GPU requires reset";
    OPERATING_SYSTEM = 17, "GPU access blocked by the operating system";
    LIB_RM_VERSION_MISMATCH = 18, "Driver/library version mismatch";
    IN_USE = 19, "In use by another client";
    MEMORY = 20, "Insufficient Memory";
    NO_DATA = 21, "No data";
    VGPU_ECC_NOT_SUPPORTED = 22, "vGPU ECC not supported";
    INSUFFICIENT_RESOURCES = 23, "Insufficient resources";
    FREQ_NOT_SUPPORTED = 24, "Frequency not supported";
    ARGUMENT_VERSION_MISMATCH = 25, "Argument version mismatch";
    DEPRECATED = 26, "Deprecated";
    NOT_READY = 27, "Not ready";
    GPU_NOT_FOUND = 28, "GPU not found";
    INVALID_STATE = 29, "Invalid state";
    RESET_TYPE_NOT_SUPPORTED = 30, "Reset type not supported";
    UNKNOWN = 999, "Unknown Error";
}

impl Code {
    /// The code of a name such as `GPU_IS_LOST` (any case, `-` for `_`, `NVML_ERROR_` allowed), or of a number.
    pub fn parse(text: &str) -> Option<Code> {
        if let Ok(number) = text.parse() {
            return (number != 0).then_some(Code(number));
        }
        let name = text.to_uppercase().replace('-', "_");
        let name = name.strip_prefix("NVML_ERROR_").unwrap_or(&name);
        Code::ALL.iter().find(|(_, known)| *known == name).map(|(code, _)| *code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Code::ALL.iter().find(|(code, _)| code == self) {
            Some((_, name)) => write!(f, "{name} ({})", self.0),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The one of `all` that NVML gives a number; `INVALID_ARGUMENT` where none has it.
pub fn numbered<T: Copy>(all: &[T], number: u32, of: impl Fn(T) -> u32) -> Result<T, Code> {
    all.iter().copied().find(|one| of(*one) == number).ok_or(Code::INVALID_ARGUMENT)
}
