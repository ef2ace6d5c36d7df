//! The implemented functions of NVML, one file for each of its subjects. This file knows how a C function is
//! made from a few safe lines; the files know what each function answers.

mod accounting;
mod board;
mod clocks;
mod compute_instances;
mod confidential;
mod desktop;
mod devices;
mod drain;
mod ecc;
mod events;
mod fabric;
mod fans;
mod fields;
mod gpm;
mod gpu_instances;
mod identity;
mod licensing;
mod media;
mod memory_health;
mod mig;
mod modes;
mod nvlink;
mod performance;
mod placement;
mod power;
mod power_profiles;
mod processes;
mod system;
mod system_events;
mod telemetry;
mod throttle;
mod units;

use nvml_sim::{Call, Code, DeviceView, GpuView};
use nvml_wrapper_sys::bindings::nvmlDevice_st;

use crate::from_c::Out;

/// Makes exported C functions. The body sees its parameters through `Parameter`, and the call as the name before
/// the arrow. Each function is checked at compile time against the field of its name in `NvmlLib`, unless it says by `in`
/// which later header declares it.
macro_rules! exports {
    ($(
        fn $name:ident($($parameter:ident: $type:ty),*) $(in $header:literal)? => |$call:pat_param| $body:expr;
    )*) => {
        $(
            #[doc = concat!("NVML's `", stringify!($name), "`.")]
            ///
            /// # Safety
            /// Pointers are null, handles that this library gave, or valid as NVML's documentation says.
            #[expect(unsafe_code, reason = "an exported C function")]
            // SAFETY: no other library exports this name.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($parameter: $type),*) -> nvml_wrapper_sys::bindings::nvmlReturn_t {
                let device = $crate::from_c::first_device(&[$($crate::from_c::Parameter::device(&$parameter)),*]);
                $crate::spoil::begin($crate::from_c::has_counts(&[$($crate::from_c::Parameter::is_answer(&$parameter)),*]));
                // SAFETY: what the caller promises by this function's own contract.
                $(let $parameter = unsafe { $crate::from_c::Parameter::take($parameter) };)*
                $crate::library().call(stringify!($name), device, |$call| $body)
            }

            $crate::exports::checked!($name $($header)?);
        )*

        /// The functions of this file.
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}
use exports;

/// Compares a function with the field of its name, where there is one.
macro_rules! checked {
    ($name:ident) => {
        const _: fn(&mut nvml_wrapper_sys::bindings::NvmlLib) = |library| library.$name = Ok($name);
    };
    ($name:ident $header:literal) => {};
}
use checked;

/// The names of the functions that the simulation implements, by file.
pub const IMPLEMENTED: &[&[&str]] = &[
    accounting::NAMES,
    clocks::NAMES,
    board::NAMES,
    compute_instances::NAMES,
    confidential::NAMES,
    desktop::NAMES,
    devices::NAMES,
    drain::NAMES,
    ecc::NAMES,
    events::NAMES,
    fans::NAMES,
    fabric::NAMES,
    fields::NAMES,
    gpm::NAMES,
    gpu_instances::NAMES,
    identity::NAMES,
    media::NAMES,
    licensing::NAMES,
    memory_health::NAMES,
    mig::NAMES,
    modes::NAMES,
    nvlink::NAMES,
    performance::NAMES,
    placement::NAMES,
    power::NAMES,
    power_profiles::NAMES,
    processes::NAMES,
    system::NAMES,
    system_events::NAMES,
    telemetry::NAMES,
    throttle::NAMES,
    units::NAMES,
    &["nvmlErrorString"],
];

/// The GPU of a handle, if it answers.
fn gpu<'a>(call: &'a Call<'_>, device: &Out<nvmlDevice_st>) -> Result<GpuView<'a>, Code> {
    call.gpu(device.number())
}

/// The GPU or MIG device of a handle, if it answers. Functions that take MIG devices too say so by this.
fn device<'a>(call: &'a Call<'_>, device: &Out<nvmlDevice_st>) -> Result<DeviceView<'a>, Code> {
    call.device(device.number())
}
