//! The driver's libraries and programs, as a Debian package lays them. It knows names and links; apart from NVML
//! all are stand-ins that can be loaded or run but do nothing.

use std::path::{Path, PathBuf};

use super::elf;
use super::plan::Plan;
use crate::install::SONAME;
use crate::kernel_log;
use crate::node::Node;

/// Where Debian puts libraries, below the root.
pub const LIBRARY_DIR: &str = "usr/lib/x86_64-linux-gnu";
/// The library's way to its state folder.
pub const NODE_LINK: &str = "node.link";
/// Where the kernel's log is found.
const LOG_DIR: &str = "var/log";
const PROGRAM_DIR: &str = "usr/bin";

/// Libraries with the number in their SONAME; none where the SONAME carries the driver's version.
const LIBRARIES: &[(&str, Option<u32>)] = &[
    ("libcuda", Some(1)),
    ("libcudadebugger", Some(1)),
    ("libnvcuvid", Some(1)),
    ("libnvidia-allocator", Some(1)),
    ("libnvidia-cfg", Some(1)),
    ("libnvidia-encode", Some(1)),
    ("libnvidia-gpucomp", None),
    ("libnvidia-nvvm", Some(4)),
    ("libnvidia-opencl", Some(1)),
    ("libnvidia-opticalflow", Some(1)),
    ("libnvidia-ptxjitcompiler", Some(1)),
];

const PROGRAMS: &[&str] = &[
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-modprobe",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
];

/// Libraries under their versioned names with SONAME links, programs, and the way from NVML to the state folder.
pub fn plan(plan: &mut Plan, node: &Node, nvml: &Path, state: &Path) {
    let version = &node.driver_version;
    let nvml_file = format!("libnvidia-ml.so.{version}");
    // First: a library without it beside itself is taken for a real driver's.
    plan.link(format!("{LIBRARY_DIR}/{NODE_LINK}"), way_to_state(plan.root(), LIBRARY_DIR, state));
    // Not as dev/kmsg: a root whose dev/ is mounted somewhere must not take the machine's own log away.
    let log = way_to_state(plan.root(), LOG_DIR, state).join(kernel_log::FILE);
    plan.link(format!("{LOG_DIR}/{}", kernel_log::FILE), log);
    plan.library(format!("{LIBRARY_DIR}/{nvml_file}"), nvml);
    plan.link(format!("{LIBRARY_DIR}/{SONAME}"), nvml_file);
    for (name, number) in LIBRARIES {
        let file = format!("{name}.so.{version}");
        let soname = number.map_or(file.clone(), |number| format!("{name}.so.{number}"));
        plan.file(format!("{LIBRARY_DIR}/{file}"), elf::shared_object(&soname));
        if soname != file {
            plan.link(format!("{LIBRARY_DIR}/{soname}"), file);
        }
    }
    plan.link(format!("{LIBRARY_DIR}/libcuda.so"), "libcuda.so.1");
    for name in PROGRAMS {
        let text = format!("{name} of driver {version}, simulated by nvml-sim: it does nothing\n");
        plan.program(format!("{PROGRAM_DIR}/{name}"), elf::program(&text));
    }
}

/// The state folder as seen from a folder of the root: relative where it lies in the root, so that the root can be
/// mounted elsewhere; else absolute.
fn way_to_state(root: &Path, from: &str, state: &Path) -> PathBuf {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (root, state) = (absolute(root), absolute(state));
    match state.strip_prefix(&root) {
        Ok(below) => {
            let up = Path::new(from).components().map(|_| "..").collect::<PathBuf>();
            up.join(below)
        }
        Err(_) => state,
    }
}
