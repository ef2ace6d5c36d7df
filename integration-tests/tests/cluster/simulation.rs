//! The simulated driver on the node: a DGX A100 whose device nodes are real character devices.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::node::{Node, program, text};

/// The folder that the overlay `simulated` mounts.
pub const FOLDER: &str = "/run/gantry-sim";

/// The root of its driver's files.
pub const ROOT: &str = "/run/gantry-sim/root";

/// Its state, for `NVML_SIM_DIR`.
pub const STATE: &str = "/run/gantry-sim/node";

/// The device numbers of the simulated GPUs: those that a container's default device list denies.
pub fn gpu_numbers() -> Vec<String> {
    (44..52).map(|minor| format!("4:{minor}")).collect()
}

/// The device numbers of its control nodes, denied in the same way.
pub fn control_numbers() -> Vec<String> {
    (40..44).map(|minor| format!("4:{minor}")).collect()
}

/// The device numbers of the capabilities of MIG instances, by name.
pub fn capabilities(node: &Node) -> Result<BTreeMap<String, String>> {
    let folder = folder(node).join("root/dev/nvidia-caps");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let number = entry.metadata()?.rdev();
        let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        found.insert(format!("nvidia-caps/{}", entry.file_name().to_string_lossy()), number);
    }
    Ok(found)
}

/// Installs the driver.
pub fn lay(node: &Node) -> Result<()> {
    let folder = folder(node);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    run(&["init", "--preset=dgx-a100", &state(node).to_string_lossy()])?;
    tell(node, &["root", &folder.join("root").to_string_lossy()])?;
    Ok(())
}

/// Removes the driver. The folder itself stays: it is mounted into a running plugin.
pub fn clear(node: &Node) -> Result<()> {
    for part in ["root", "node"] {
        let path = folder(node).join(part);
        if path.exists() {
            // By another name first: a running plugin may be about to write into it.
            let gone = path.with_extension("gone");
            fs::rename(&path, &gone).with_context(|| format!("rename {}", path.display()))?;
            fs::remove_dir_all(&gone).with_context(|| format!("remove {}", gone.display()))?;
        }
    }
    Ok(())
}

/// Runs `nvml-sim` on the simulated node, such as `lose --gpu 3`.
pub fn tell(node: &Node, args: &[&str]) -> Result<String> {
    let state = state(node);
    run(&[&["--dir", &*state.to_string_lossy()], args].concat())
}

/// Each GPU's UUID and the number in its device node's name.
pub fn minors(node: &Node) -> Result<BTreeMap<String, u64>> {
    gpus(node)?
        .iter()
        .map(|gpu| Ok((text(&gpu["uuid"]), gpu["minor"].as_u64().context("a GPU without a minor number")?)))
        .collect()
}

/// The GPUs as `nvml-sim show` tells them.
pub fn gpus(node: &Node) -> Result<Vec<Value>> {
    let shown: Value = serde_json::from_str(&tell(node, &["show", "--output=json"])?)?;
    shown["gpus"].as_array().cloned().context("nvml-sim show: no GPUs")
}

fn folder(node: &Node) -> PathBuf {
    node.cluster().host_path(FOLDER)
}

fn state(node: &Node) -> PathBuf {
    node.cluster().host_path(STATE)
}

fn run(args: &[&str]) -> Result<String> {
    let output = Command::new(program("nvml-sim")).args(args).output().context("start nvml-sim")?;
    if !output.status.success() {
        bail!("nvml-sim {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
