//! Which files of a library folder are an NVIDIA driver's. Data and rules over names; no files.
//!
//! The names are those of the driver's own file list (the `.manifest` of NVIDIA's installer, R470 to R580,
//! and the `libnvidia-*`, `libcuda*` packages of Debian and RHEL).

use std::collections::BTreeSet;

/// The stem of the library by which a driver is found.
pub(super) const NVML_STEM: &str = "libnvidia-ml";

/// Libraries whose file names tell the driver's version, in the order in which they are asked.
pub(super) const VERSION_TELLERS: [&str; 2] = [NVML_STEM, "libcuda"];

/// Folders below a library folder that hold driver libraries. The first is the folder itself.
pub(super) const SUBFOLDERS: [&str; 2] = ["", "vdpau"];

/// Programs of a driver that a container may use.
pub(super) const BINARIES: [&str; 7] = [
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
    "nvidia-debugdump",
    "nvidia-imex",
    "nvidia-imex-ctl",
    "nvidia-persistenced",
    "nvidia-smi",
];

/// Libraries whose files end in the driver's version. A `*` at the end stands for anything.
const OF_DRIVER_VERSION: [&str; 10] = [
    "libcuda",
    "libcudadebugger",
    "libnvcuvid",
    "libnvoptix",
    "libnvidia-*",
    "libGLX_nvidia",
    "libEGL_nvidia",
    "libGLESv1_CM_nvidia",
    "libGLESv2_nvidia",
    "libvdpau_nvidia",
];

/// Libraries that come with the driver and count their own versions.
const OF_OWN_VERSION: [&str; 6] = [
    "libnvidia-api",
    "libnvidia-egl-gbm",
    "libnvidia-egl-wayland",
    "libnvidia-egl-xcb",
    "libnvidia-egl-xlib",
    "libnvidia-nvvm70",
];

/// Libraries that programs open by another name than file and SONAME, whether the host has that link or not: the plain
/// one, without a version; or that of the library which stands in where no vendor's is found for a screen.
const OPENED_AS: [(&str, &str); 5] = [
    ("libcuda", "libcuda.so"),
    ("libnvidia-ml", "libnvidia-ml.so"),
    ("libnvidia-opticalflow", "libnvidia-opticalflow.so"),
    ("libnvidia-vulkan-producer", "libnvidia-vulkan-producer.so"),
    ("libGLX_nvidia", "libGLX_indirect.so.0"),
];

/// Whether a name can be a driver library's, file or link.
pub(super) fn is_driver_library(name: &str) -> bool {
    stem(name).is_some_and(|stem| matches(&OF_DRIVER_VERSION, stem) || matches(&OF_OWN_VERSION, stem))
}

/// Whether a file, with its links resolved, belongs to the driver of this version; `beside` are the names in its
/// folder. This keeps out an older driver's leftovers, and strangers such as the container toolkit's
/// `libnvidia-container.so.1.17.8`.
///
/// A plain file may bear the SONAME itself, as where each name of a library is mounted into a container: it
/// counts beside the versioned file, and by its name alone where no pattern had to guess.
pub(super) fn belongs_to(file_name: &str, driver_version: &str, beside: &BTreeSet<String>) -> bool {
    let Some((stem, version)) = file_name.split_once(".so.") else { return false };
    if matches(&OF_OWN_VERSION, stem) {
        return true;
    }
    let is_plain_soname = || {
        is_number(version)
            && (OF_DRIVER_VERSION.contains(&stem)
                || stem == NVML_STEM
                || beside.contains(&format!("{stem}.so.{driver_version}")))
    };
    matches(&OF_DRIVER_VERSION, stem) && (version == driver_version || is_plain_soname())
}

/// The driver's version in the name of a library whose files end in it: two numbers or more.
pub(super) fn driver_version<'a>(name: &'a str, stem: &str) -> Option<&'a str> {
    let version = name.strip_prefix(stem)?.strip_prefix(".so.")?;
    (version.contains('.') && version.split('.').all(is_number)).then_some(version)
}

/// Whether a name that leads to a library is one that a loader or program asks for: the file's own, a
/// SONAME (`.so.N`).
pub(super) fn is_asked_for(name: &str, driver_version: &str) -> bool {
    let version = name.split_once(".so.").map(|(_, version)| version);
    version.is_some_and(|version| version == driver_version || is_number(version))
}

/// The further name by which programs open this library, if there is one.
pub(super) fn also_asked_for(file_name: &str) -> Option<String> {
    let stem = stem(file_name)?;
    OPENED_AS.iter().find(|(known, _)| *known == stem).map(|(_, name)| (*name).to_owned())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The part before `.so`, where the name ends with it or goes on with a version.
fn stem(name: &str) -> Option<&str> {
    name.strip_suffix(".so").or_else(|| name.split_once(".so.").map(|(stem, _)| stem))
}

fn matches(patterns: &[&str], stem: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => stem.starts_with(prefix),
        None => stem == *pattern,
    })
}
