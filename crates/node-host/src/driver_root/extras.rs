//! What a driver installs beside libraries and programs: firmware, and files that tell the loaders of graphics where
//! the driver's libraries are. And the sockets of its daemons.
//!
//! The names are those of the driver's own file list, and what NVIDIA's container toolkit 1.18 gives to containers.

use std::collections::BTreeMap;
use std::path::Path;

use crate::kernel;
use crate::path::{HostPath, LocalPath};
use crate::root::{HostRoot, Root};

use super::{DriverRoot, FilesError, LIBRARY_FOLDERS};

/// A file of a driver, or a socket of one of its daemons, and where a container has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriverFile {
    /// Where a container has it.
    pub container: String,
    /// Where the host has the file, links resolved.
    pub host: HostPath,
    /// Where this process has it.
    pub local: LocalPath,
}

/// Folders of configuration, in search order.
const CONFIG_FOLDERS: [&str; 2] = ["/etc", "/usr/share"];

/// Files below them that a container has where the host has them.
const CONFIGS: [&str; 9] = [
    "OpenCL/vendors/nvidia.icd",
    "X11/xorg.conf.d/10-nvidia.conf",
    "X11/xorg.conf.d/nvidia-drm-outputclass.conf",
    "egl/egl_external_platform.d/10_nvidia_wayland.json",
    "egl/egl_external_platform.d/15_nvidia_gbm.json",
    "egl/egl_external_platform.d/20_nvidia_xcb.json",
    "egl/egl_external_platform.d/20_nvidia_xlib.json",
    "glvnd/egl_vendor.d/10_nvidia.json",
    "nvidia/nvoptix.bin",
];

/// Files below them, or below the driver's root itself, that a container has in `/etc`, where Vulkan's loader looks in
/// every image. The last names are those of packages for RHEL.
const VULKAN: [&str; 5] = [
    "vulkan/icd.d/nvidia_icd.json",
    "vulkan/icd.d/nvidia_layers.json",
    "vulkan/implicit_layer.d/nvidia_layers.json",
    "vulkan/icd.d/nvidia_icd.x86_64.json",
    "vulkan/icd.d/nvidia_icd.aarch64.json",
];

/// Folders of modules for an X server, below a library folder and elsewhere.
const X_FOLDERS: [&str; 5] = [
    "nvidia/xorg",
    "xorg/modules/drivers",
    "xorg/modules/extensions",
    "/usr/lib/xorg/modules/drivers",
    "/usr/lib/xorg/modules/extensions",
];

/// Daemons whose sockets programs of the driver use. The multi-process service is not offered, and its socket stays out.
const SOCKETS: [&str; 2] = ["nvidia-persistenced/socket", "nvidia-fabricmanager/socket"];

impl DriverFile {
    /// The file at `inside` a root, if it is there.
    pub(crate) fn at(root: &Root, inside: &str, container: &str) -> Option<DriverFile> {
        let resolved = root.resolve(inside).ok()?;
        let host = root.host_path(&resolved)?;
        Some(DriverFile { container: container.to_owned(), host, local: root.local_path(&resolved) })
    }
}

impl DriverRoot {
    /// Firmware, configuration and X modules of the driver of this version, sorted by where a container has them.
    pub(super) fn extras(&self, version: &str) -> Result<Vec<DriverFile>, FilesError> {
        let mut found: BTreeMap<String, DriverFile> = BTreeMap::new();
        let mut add = |file: DriverFile| {
            // The first in search order, as for libraries.
            found.entry(file.container.clone()).or_insert(file);
        };
        self.firmware(version)?.into_iter().for_each(&mut add);
        for name in CONFIGS {
            let mut files = CONFIG_FOLDERS.iter().filter_map(|folder| {
                let path = format!("{folder}/{name}");
                self.file(&path, &path)
            });
            files.next().into_iter().for_each(&mut add);
        }
        for name in VULKAN {
            let container = format!("/etc/{name}");
            let mut files = CONFIG_FOLDERS
                .iter()
                .chain(&[""])
                .filter_map(|folder| self.file(&format!("{folder}/{name}"), &container));
            files.next().into_iter().for_each(&mut add);
        }
        for name in ["nvidia_drv.so".to_owned(), format!("libglxserver_nvidia.so.{version}")] {
            self.x_module(&name).into_iter().for_each(&mut add);
        }
        Ok(found.into_values().collect())
    }

    fn file(&self, inside: &str, container: &str) -> Option<DriverFile> {
        DriverFile::at(self.root(), inside, container).filter(|file| file.local.as_path().is_file())
    }

    /// As the host has it, and where that is a versioned name, under the plain one too, which the X server asks for.
    fn x_module(&self, name: &str) -> Vec<DriverFile> {
        let folders = X_FOLDERS.iter().flat_map(|folder| match folder.strip_prefix('/') {
            Some(absolute) => vec![absolute.to_owned()],
            None => LIBRARY_FOLDERS.iter().map(|library| format!("{library}/{folder}")).collect(),
        });
        let mut found = folders.filter_map(|folder| {
            let path = format!("/{folder}/{name}");
            let file = self.file(&path, &path)?;
            let plain = name.split_once(".so.").map(|(stem, _)| format!("/{folder}/{stem}.so"));
            let plain = plain.map(|container| DriverFile { container, ..file.clone() });
            Some(std::iter::once(file).chain(plain).collect())
        });
        found.next().unwrap_or_default()
    }

    /// The firmware of this version, which the kernel searches for in several folders.
    fn firmware(&self, version: &str) -> Result<Vec<DriverFile>, FilesError> {
        let release = kernel::release()?;
        let mut found: BTreeMap<String, DriverFile> = BTreeMap::new();
        for folder in [format!("updates/{release}"), "updates".to_owned(), release, String::new()] {
            let inside = format!("lib/firmware/{folder}/nvidia/{version}");
            let Some(listed) = self.resolve(Path::new(&inside))? else { continue };
            for name in self.list(&listed)? {
                let container = format!("/lib/firmware/nvidia/{version}/{name}");
                let is_gsp = name.starts_with("gsp") && name.ends_with(".bin");
                let file = is_gsp.then(|| self.file(&format!("{inside}/{name}"), &container)).flatten();
                if let Some(file) = file {
                    found.entry(container).or_insert(file);
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// The sockets of the driver's daemons that run now: in a driver container, or on the host.
pub fn daemon_sockets(driver: &DriverRoot, host: &HostRoot) -> Vec<DriverFile> {
    let socket = |name: &&str| {
        let container = format!("/run/{name}");
        [driver.root(), host.as_root()].into_iter().find_map(|root| {
            ["run", "var/run"]
                .iter()
                .find_map(|folder| DriverFile::at(root, &format!("{folder}/{name}"), &container))
        })
    };
    SOCKETS.iter().filter_map(socket).collect()
}
