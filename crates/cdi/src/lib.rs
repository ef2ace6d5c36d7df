//! Container Device Interface specs: the model, the spec of a node's whole GPUs, its check against the
//! host, and its file.
//!
//! It injects nothing: a container runtime reads the file. It knows no kubelet and no NVML, and opens files
//! only through `node-host`. Facts of the format: `SPEC.md` and `specs-go` of
//! cncf-tags/container-device-interface; what we put in and leave out is told in `docs/cdi.md`.

pub mod builder;
mod check;
mod file;
mod spec;
mod validate;
mod version;

pub use check::Nonsense;
pub use file::{WriteError, file_name, write};
pub use spec::{
    ContainerEdits, Device, DeviceNode, Hook, IntelRdt, Kind, Mount, ParseError, ParseKindError, Spec,
    qualified_name,
};
pub use validate::{Problem, ProblemKind, validate};
pub use version::{ParseVersionError, Version};
