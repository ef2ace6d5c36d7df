//! NVML's getters as data: what each one takes and gives. Walking, recording and misuse all come from this table; it
//! calls nothing itself.

mod devices;
mod layouts;
mod mig;
mod misused;
mod system;

use nvml_wrapper_sys::bindings::{NvmlLib, nvmlReturn_t};

use crate::layout::{Kind, Layout};

/// A function that changes nothing.
#[derive(Debug)]
pub struct Getter {
    /// Its symbol.
    pub name: &'static str,
    /// Whether its answer differs from one moment to the next.
    pub steadiness: Steadiness,
    /// What it takes, in order.
    pub arguments: &'static [Argument],
}

/// Whether the same node gives the same answer again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steadiness {
    /// Until someone changes a setting.
    Steady,
    /// A reading.
    Volatile,
}

/// One or two parameters of a function.
#[derive(Debug)]
pub enum Argument {
    /// The handle of the GPU or MIG device that is asked about.
    Gpu,
    /// The handle of another GPU of the node.
    OtherGpu,
    /// The handle of a GPU instance.
    GpuInstance,
    /// The handle of a compute instance.
    ComputeInstance,
    /// A number of the caller's choice: first, end, step.
    Choice(u32, u32, u32),
    /// The number of a process that runs on a GPU.
    Pid,
    /// A number that is always the same.
    Given(u64),
    /// A text by which the GPU is known.
    Known(Identity),
    /// Memory for one value.
    Out(&'static str, &'static Kind),
    /// Memory for a struct with a version word, and the versions that the function may know, the newest first.
    Versioned(&'static str, &'static [(&'static Layout, u32)]),
    /// Memory for text, and behind it its length in bytes.
    Text(&'static str, u32),
    /// Memory for text whose length the function knows.
    UnsizedText(&'static str, usize),
    /// A length in words, and behind it memory for a mask.
    Mask(&'static str),
    /// A count in and out, and behind it memory for so many values.
    List(&'static str, &'static Kind, u32),
    /// Memory for so many values, and behind it a count in and out.
    ListBefore(&'static str, &'static Kind, u32),
    /// Memory for so many values, and behind it its length in bytes.
    Sized(&'static str, &'static Kind, u32),
    /// A count, and behind it field values.
    Fields,
}

/// By what a GPU is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Its UUID.
    Uuid,
    /// Its board's serial number.
    Serial,
    /// Its PCI address.
    Pci,
}

/// What a function is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The node.
    System,
    /// A GPU or MIG device.
    Device,
    /// A GPU instance.
    GpuInstance,
    /// A compute instance.
    ComputeInstance,
}

/// Functions that work before initialisation: for their answer NVML's header asks for none.
const EARLY: &[&str] = &["nvmlSystemGetNVMLVersion", "nvmlSystemGetCudaDriverVersion"];

impl Getter {
    /// Whether it works before initialisation.
    pub fn is_early(&self) -> bool {
        EARLY.iter().any(|early| self.name.starts_with(early))
    }

    /// What it is asked about.
    pub fn scope(&self) -> Scope {
        let scope_of = |argument: &Argument| match argument {
            Argument::Gpu | Argument::OtherGpu | Argument::Known(_) => Some(Scope::Device),
            Argument::GpuInstance => Some(Scope::GpuInstance),
            Argument::ComputeInstance => Some(Scope::ComputeInstance),
            _ => None,
        };
        self.arguments.iter().find_map(scope_of).unwrap_or(Scope::System)
    }
}

impl Argument {
    /// The numbers that it leaves to its caller: first, end, step. Processes are numbered from 1.
    pub fn range(&self) -> Option<(u32, u32, u32)> {
        match self {
            Argument::Choice(first, end, step) => Some((*first, *end, *step)),
            Argument::Pid => Some((1, 17, 1)),
            _ => None,
        }
    }

    /// How many parameters of the prototype it stands for.
    pub const fn words(&self) -> usize {
        match self {
            Argument::Text(..)
            | Argument::Mask(_)
            | Argument::List(..)
            | Argument::ListBefore(..)
            | Argument::Sized(..)
            | Argument::Fields => 2,
            _ => 1,
        }
    }
}

/// All getters of the table.
pub fn all() -> impl Iterator<Item = &'static Getter> {
    system::GETTERS.iter().chain(devices::GETTERS).chain(devices::NEWER).chain(mig::GETTERS)
}

/// What can be misused where it does no harm: the getters, and functions that change something.
pub fn misused() -> impl Iterator<Item = &'static Getter> {
    all().chain(misused::FUNCTIONS).chain(misused::NEWER)
}

/// The getter of a name.
pub fn find(name: &str) -> Option<&'static Getter> {
    all().find(|getter| getter.name == name)
}

/// A C function's type.
trait Prototype {
    const PARAMETERS: usize;
}

macro_rules! prototypes {
    ($(($($parameter:ident)*) $count:literal)*) => {$(
        impl<$($parameter),*> Prototype for unsafe extern "C" fn($($parameter),*) -> nvmlReturn_t {
            const PARAMETERS: usize = $count;
        }
    )*};
}

prototypes! { (A) 1 (A B) 2 (A B C) 3 (A B C D) 4 (A B C D E) 5 (A B C D E F) 6 }

/// The number of parameters of a function, as the bindings have it.
const fn parameters<F: Prototype, E>(_: fn(&NvmlLib) -> &Result<F, E>) -> usize {
    F::PARAMETERS
}

/// The number of parameters that arguments stand for.
const fn words(arguments: &[Argument]) -> usize {
    match arguments {
        [] => 0,
        [first, rest @ ..] => first.words() + words(rest),
    }
}

/// Whether a function's name says that it only asks: all that this table may hold, so that nothing which goes by it can
/// change a setting of a real GPU.
const fn asks(name: &str) -> bool {
    let name = name.as_bytes();
    let mut found = false;
    let mut word = 0;
    while word < ASKING.len() {
        found |= begins(name, ASKING[word].as_bytes());
        word += 1;
    }
    found
}

/// How names of functions begin that ask.
const ASKING: &[&str] = &[
    "nvmlComputeInstanceGet",
    "nvmlDeviceGet",
    "nvmlDeviceIsMigDeviceHandle",
    "nvmlDeviceOnSameBoard",
    "nvmlDeviceWorkloadPowerProfileGet",
    "nvmlGetExcludedDevice",
    "nvmlGpmQuery",
    "nvmlGpuInstanceGet",
    "nvmlSystemGet",
    "nvmlUnitGet",
];

const fn begins(text: &[u8], beginning: &[u8]) -> bool {
    let mut at = 0;
    while at < beginning.len() {
        if at >= text.len() || text[at] != beginning[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Functions that the bindings know. One whose arguments are not as many as its prototype's does not compile.
macro_rules! functions {
    ($name:ident: $($steadiness:ident $function:ident($($argument:expr),* $(,)?);)*) => {
        /// Functions of this file's subject.
        pub static $name: &[Getter] = &[$(Getter {
            name: stringify!($function),
            steadiness: $steadiness,
            arguments: {
                const ARGUMENTS: &[Argument] = &[$($argument),*];
                const PARAMETERS: usize = $crate::table::parameters(|library| &library.$function);
                const _: () = assert!($crate::table::words(ARGUMENTS) == PARAMETERS);
                ARGUMENTS
            },
        }),*];
    };
}
use functions;

/// The same, and one that does not ask does not compile.
macro_rules! getters {
    ($name:ident: $($steadiness:ident $function:ident $arguments:tt;)*) => {
        $(const _: () = assert!($crate::table::asks(stringify!($function)));)*
        $crate::table::functions! { $name: $($steadiness $function $arguments;)* }
    };
}
use getters;
