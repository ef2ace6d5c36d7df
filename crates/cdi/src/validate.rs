//! A spec held against the host that it is for. It looks, and changes nothing.

use std::fmt;

use node_host::device::{self, NodeKind};
use node_host::{HostPath, HostRoot};

use crate::spec::{ContainerEdits, DeviceNode, Spec};

/// One thing that a container which asks for a device of the spec would fail over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON path in the spec, such as `devices[0].containerEdits.deviceNodes[0]`.
    pub at: String,
    /// The path on the host that it is about.
    pub host_path: String,
    /// What is wrong there.
    pub kind: ProblemKind,
}

/// What is wrong at a path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Nothing is there.
    Missing,
    /// The spec has a device node where the host has none of that type.
    NotADevice {
        /// What the spec has there, such as `character device`.
        expected: &'static str,
    },
    /// The host's device has other numbers: the spec is of another boot, or another driver.
    OtherNumbers {
        /// Major and minor number in the spec.
        stated: (i64, i64),
        /// Major and minor number on the host.
        found: (u32, u32),
    },
    /// It cannot be looked at.
    Unreadable {
        /// What the system said.
        error: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { at, host_path, kind } = self;
        match kind {
            ProblemKind::Missing => write!(f, "{at}: {host_path} does not exist on the host"),
            ProblemKind::NotADevice { expected } => {
                write!(f, "{at}: {host_path} is no {expected} on the host")
            }
            ProblemKind::OtherNumbers { stated, found } => write!(
                f,
                "{at}: {host_path} is device {}:{} on the host, the spec says {}:{}",
                found.0, found.1, stated.0, stated.1
            ),
            ProblemKind::Unreadable { error } => write!(f, "{at}: {host_path} cannot be looked at: {error}"),
        }
    }
}

/// Everything in `spec` that the host lacks or has otherwise, in the order of the spec.
pub fn validate(spec: &Spec, host: &HostRoot) -> Vec<Problem> {
    let mut problems = Vec::new();
    edits("containerEdits", &spec.container_edits, host, &mut problems);
    for (number, device) in spec.devices.iter().enumerate() {
        edits(&format!("devices[{number}].containerEdits"), &device.container_edits, host, &mut problems);
    }
    problems
}

fn edits(at: &str, edits: &ContainerEdits, host: &HostRoot, problems: &mut Vec<Problem>) {
    let mut report = |at: String, host_path: &str, kind: Option<ProblemKind>| {
        problems.extend(kind.map(|kind| Problem { at, host_path: host_path.to_owned(), kind }));
    };
    for (number, node) in edits.device_nodes.iter().enumerate() {
        report(format!("{at}.deviceNodes[{number}]"), node.on_host(), device_problem(node, host));
    }
    for (number, hook) in edits.hooks.iter().enumerate() {
        report(format!("{at}.hooks[{number}]"), hook.path.as_str(), file_problem(&hook.path, host));
    }
    for (number, mount) in edits.mounts.iter().enumerate() {
        report(
            format!("{at}.mounts[{number}]"),
            mount.host_path.as_str(),
            file_problem(&mount.host_path, host),
        );
    }
}

fn device_problem(node: &DeviceNode, host: &HostRoot) -> Option<ProblemKind> {
    let unreadable = |error: &dyn fmt::Display| Some(ProblemKind::Unreadable { error: error.to_string() });
    let path = match HostPath::new(node.on_host()) {
        Ok(path) => path,
        Err(error) => return unreadable(&error),
    };
    let found = match device::kind_at(host, &path) {
        Err(error) => return unreadable(&error),
        Ok(None) => return Some(ProblemKind::Missing),
        Ok(Some(found)) => found,
    };
    match (found, node.node_type.as_str()) {
        (NodeKind::Character { major, minor }, "c" | "u" | "")
        | (NodeKind::Block { major, minor }, "b" | "") => {
            let stated = (node.major?, node.minor?);
            let same = stated == (i64::from(major), i64::from(minor));
            (!same).then_some(ProblemKind::OtherNumbers { stated, found: (major, minor) })
        }
        (NodeKind::Pipe, "p" | "") => None,
        (_, node_type) => Some(ProblemKind::NotADevice { expected: type_in_words(node_type) }),
    }
}

/// What a device node's `type` stands for; without one the runtime takes what it finds.
fn type_in_words(node_type: &str) -> &'static str {
    match node_type {
        "b" => "block device",
        "p" => "pipe",
        "" => "device",
        _ => "character device",
    }
}

fn file_problem(path: &HostPath, host: &HostRoot) -> Option<ProblemKind> {
    match host.as_root().resolve(path.as_str()) {
        Ok(_) => None,
        Err(error) if error.is_missing() => Some(ProblemKind::Missing),
        Err(error) => Some(ProblemKind::Unreadable { error: error.to_string() }),
    }
}
