//! The host as a daemon in a container sees it: its paths, driver root, device nodes, boot id, product name and
//! PCI bus, and files written so that no reader ever sees half of one.
//!
//! A [`HostPath`] is what a CDI spec or a manifest names; a [`LocalPath`] is what this process opens.
//! Only this crate converts between them, through a [`HostRoot`]. It knows no NVML, no kubelet, no CDI,
//! and asks the files anew each time: it keeps no state.

pub mod atomic;
pub mod capability;
mod companion;
pub mod device;
mod driver_root;
mod file_identity;
mod kernel;
mod machine;
mod path;
pub mod pci;
mod root;
pub mod stage;
pub mod vgpu;

pub use companion::{Companions, display_nodes};
pub use driver_root::{
    DriverBinary, DriverFile, DriverFiles, DriverLibrary, DriverRoot, FilesError, ListError, NoDriver,
    NoVersion, daemon_sockets, multiarch,
};
pub use file_identity::FileIdentity;
pub use kernel::{BootId, ReadError, boot_id, numa_node};
pub use machine::{DriverFlavour, driver_flavour, machine_product};
pub use path::{HostPath, LocalPath, NotAHostPath};
pub use root::{HostRoot, ResolveError, Root};
