//! The rules of the format that types alone do not hold. Pure; the rules are those of `pkg/cdi` and `pkg/parser`
//! of cncf-tags/container-device-interface, which runtimes apply.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::spec::{ContainerEdits, DeviceNode, Hook, IntelRdt, Mount, Spec};

const HOOK_NAMES: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A spec that a runtime would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{at} is {value:?}: {rule}")]
pub struct Nonsense {
    /// JSON path of the value, such as `devices[2].name`.
    pub at: String,
    /// The value.
    pub value: String,
    /// What would be right.
    pub rule: String,
}

/// The first rule that `spec` breaks.
pub(crate) fn check(spec: &Spec) -> Result<(), Nonsense> {
    let lowest = spec.lowest_version();
    if spec.cdi_version < lowest {
        return refuse(
            "cdiVersion",
            &spec.cdi_version.to_string(),
            format!("this spec uses what came with {lowest}"),
        );
    }
    if spec.devices.is_empty() {
        return refuse("devices", "[]", "expected at least one device");
    }
    let mut names = BTreeSet::new();
    for (number, device) in spec.devices.iter().enumerate() {
        let at = format!("devices[{number}]");
        if !is_device_name(&device.name) {
            let rule = "expected letters, digits, '_', '-', '.' and ':', with a letter or digit at both ends";
            return refuse(&format!("{at}.name"), &device.name, rule);
        }
        if !names.insert(&device.name) {
            return refuse(&format!("{at}.name"), &device.name, "another device has this name");
        }
        if device.container_edits.is_empty() {
            return refuse(&format!("{at}.containerEdits"), "{}", "expected at least one edit");
        }
        edits(&format!("{at}.containerEdits"), &device.container_edits)?;
    }
    edits("containerEdits", &spec.container_edits)
}

/// The first rule that `text` breaks as a kind.
pub(crate) fn broken_kind_rule(text: &str) -> Option<&'static str> {
    let Some((vendor, class)) = text.split_once('/') else {
        return Some("expected VENDOR/CLASS, such as gantry.dev/gpu");
    };
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_name = |part: &str| {
        part.len() <= 253
            && part.bytes().all(inner)
            && part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    if !is_name(vendor) {
        return Some("the vendor must be a domain that begins with a letter");
    }
    if !is_name(class) || class.len() > 63 {
        return Some(
            "the class must be at most 63 letters, digits, '_', '-' and '.', beginning with a letter",
        );
    }
    None
}

fn is_device_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    name.bytes().all(inner)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn edits(at: &str, edits: &ContainerEdits) -> Result<(), Nonsense> {
    variables(&format!("{at}.env"), &edits.env)?;
    each(at, "deviceNodes", &edits.device_nodes, node)?;
    each(at, "hooks", &edits.hooks, hook)?;
    each(at, "mounts", &edits.mounts, mount)?;
    edits.intel_rdt.as_ref().map_or(Ok(()), |rdt| intel_rdt(&format!("{at}.intelRdt"), rdt))
}

fn each<T>(
    at: &str,
    list: &str,
    items: &[T],
    rule: fn(&str, &T) -> Result<(), Nonsense>,
) -> Result<(), Nonsense> {
    items.iter().enumerate().try_for_each(|(number, item)| rule(&format!("{at}.{list}[{number}]"), item))
}

fn variables(at: &str, variables: &[String]) -> Result<(), Nonsense> {
    for (number, variable) in variables.iter().enumerate() {
        if variable.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
            return refuse(&format!("{at}[{number}]"), variable, "expected NAME=VALUE");
        }
    }
    Ok(())
}

fn node(at: &str, node: &DeviceNode) -> Result<(), Nonsense> {
    if !node.path.starts_with('/') {
        return refuse(&format!("{at}.path"), &node.path, "expected an absolute path");
    }
    if !matches!(node.node_type.as_str(), "" | "b" | "c" | "u" | "p") {
        return refuse(&format!("{at}.type"), &node.node_type, "expected b, c, u or p");
    }
    for (name, number) in [("major", node.major), ("minor", node.minor)] {
        if number.is_some_and(|number| number < 0) {
            return refuse(
                &format!("{at}.{name}"),
                &number.unwrap_or_default().to_string(),
                "expected 0 or more",
            );
        }
    }
    if node.permissions != "none" && !node.permissions.bytes().all(|byte| b"rwm".contains(&byte)) {
        return refuse(&format!("{at}.permissions"), &node.permissions, "expected some of r, w and m");
    }
    Ok(())
}

fn hook(at: &str, hook: &Hook) -> Result<(), Nonsense> {
    if !HOOK_NAMES.contains(&hook.hook_name.as_str()) {
        return refuse(
            &format!("{at}.hookName"),
            &hook.hook_name,
            format!("expected one of {}", HOOK_NAMES.join(", ")),
        );
    }
    if hook.timeout.is_some_and(|seconds| seconds <= 0) {
        return refuse(
            &format!("{at}.timeout"),
            &hook.timeout.unwrap_or_default().to_string(),
            "expected more than 0",
        );
    }
    variables(&format!("{at}.env"), &hook.env)
}

fn mount(at: &str, mount: &Mount) -> Result<(), Nonsense> {
    if mount.container_path.starts_with('/') {
        return Ok(());
    }
    refuse(&format!("{at}.containerPath"), &mount.container_path, "expected an absolute path")
}

fn intel_rdt(at: &str, rdt: &IntelRdt) -> Result<(), Nonsense> {
    let id = rdt.clos_id.as_str();
    if id == "/" || !(id.len() >= 4096 || id == "." || id == ".." || id.contains(['/', '\n'])) {
        return Ok(());
    }
    refuse(&format!("{at}.closID"), id, "expected a file name, or /")
}

fn refuse(at: &str, value: &str, rule: impl Into<String>) -> Result<(), Nonsense> {
    Err(Nonsense { at: at.to_owned(), value: value.to_owned(), rule: rule.into() })
}
