//! The names of NVML's return codes. It knows numbers and names, not who returns them when.

use std::fmt;

use nvml_wrapper_sys::bindings as c;

/// What a function of NVML returned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u32);

macro_rules! codes {
    ($($name:ident = $constant:ident;)*) => {
        impl Code {
            $(#[doc = concat!("`", stringify!($constant), "`.")]
            pub const $name: Code = Code(c::$constant);)*

            fn name(self) -> Option<&'static str> {
                match self {
                    $(Code::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    SUCCESS = nvmlReturn_enum_NVML_SUCCESS;
    UNINITIALIZED = nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
    INVALID_ARGUMENT = nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
    NOT_SUPPORTED = nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
    NO_PERMISSION = nvmlReturn_enum_NVML_ERROR_NO_PERMISSION;
    ALREADY_INITIALIZED = nvmlReturn_enum_NVML_ERROR_ALREADY_INITIALIZED;
    NOT_FOUND = nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
    INSUFFICIENT_SIZE = nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
    INSUFFICIENT_POWER = nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_POWER;
    DRIVER_NOT_LOADED = nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED;
    TIMEOUT = nvmlReturn_enum_NVML_ERROR_TIMEOUT;
    IRQ_ISSUE = nvmlReturn_enum_NVML_ERROR_IRQ_ISSUE;
    LIBRARY_NOT_FOUND = nvmlReturn_enum_NVML_ERROR_LIBRARY_NOT_FOUND;
    FUNCTION_NOT_FOUND = nvmlReturn_enum_NVML_ERROR_FUNCTION_NOT_FOUND;
    CORRUPTED_INFOROM = nvmlReturn_enum_NVML_ERROR_CORRUPTED_INFOROM;
    GPU_IS_LOST = nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;
    RESET_REQUIRED = nvmlReturn_enum_NVML_ERROR_RESET_REQUIRED;
    OPERATING_SYSTEM = nvmlReturn_enum_NVML_ERROR_OPERATING_SYSTEM;
    LIB_RM_VERSION_MISMATCH = nvmlReturn_enum_NVML_ERROR_LIB_RM_VERSION_MISMATCH;
    IN_USE = nvmlReturn_enum_NVML_ERROR_IN_USE;
    MEMORY = nvmlReturn_enum_NVML_ERROR_MEMORY;
    NO_DATA = nvmlReturn_enum_NVML_ERROR_NO_DATA;
    VGPU_ECC_NOT_SUPPORTED = nvmlReturn_enum_NVML_ERROR_VGPU_ECC_NOT_SUPPORTED;
    INSUFFICIENT_RESOURCES = nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_RESOURCES;
    FREQ_NOT_SUPPORTED = nvmlReturn_enum_NVML_ERROR_FREQ_NOT_SUPPORTED;
    ARGUMENT_VERSION_MISMATCH = nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    DEPRECATED = nvmlReturn_enum_NVML_ERROR_DEPRECATED;
    NOT_READY = nvmlReturn_enum_NVML_ERROR_NOT_READY;
    GPU_NOT_FOUND = nvmlReturn_enum_NVML_ERROR_GPU_NOT_FOUND;
    INVALID_STATE = nvmlReturn_enum_NVML_ERROR_INVALID_STATE;
    UNKNOWN = nvmlReturn_enum_NVML_ERROR_UNKNOWN;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
